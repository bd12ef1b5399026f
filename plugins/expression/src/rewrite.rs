//! Rewrites the tree of an expression: paths become slots, what is missing becomes null.
//!
//! A tree as parsed comes in; the same tree, the paths that it reads and all mistakes go out.

use std::mem;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use cel::common::types::CelBool;

use crate::arithmetic;
use crate::functions::{self, GET};
use crate::reads::{Reads, Segment, Slot};

/// The variables that an expression may read.
const VARIABLES: &[&str] = &["id", "source", "type", "subject", "time", "data", "ext"];
/// The names of types, as in `type(data.x) == string`.
const TYPES: &[&str] =
    &["int", "uint", "double", "string", "bytes", "bool", "list", "map", "null_type", "optional"];

/// Something in an expression that can never work.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// The name that it is about.
    pub(crate) name: String,
    /// What is wrong.
    pub(crate) message: String,
}

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be true or not.
    Condition,
    /// To give a value.
    Value,
}

/// Rewrites the tree of an expression and tells what it reads.
///
/// # Errors
/// All that can never work, such as names that do not exist.
pub(crate) fn rewrite(tree: &mut IdedExpr, used_as: Use) -> Result<Reads, Vec<Mistake>> {
    let mut rewriter = Rewriter::default();
    match used_as {
        Use::Condition => rewriter.condition(tree),
        Use::Value => rewriter.value(tree),
    }
    if rewriter.mistakes.is_empty() { Ok(rewriter.reads) } else { Err(rewriter.mistakes) }
}

impl Mistake {
    fn new(name: &str, message: String) -> Self {
        Self { name: name.to_owned(), message }
    }
}

#[derive(Default)]
struct Rewriter {
    reads: Reads,
    /// Variables that an enclosing macro, such as `exists`, brings along.
    bound: Vec<String>,
    mistakes: Vec<Mistake>,
}

impl Rewriter {
    /// Rewrites what is used as true or false: a field is true only if it is `true`.
    fn condition(&mut self, node: &mut IdedExpr) {
        match &mut node.expr {
            Expr::Call(call) if is_logic(call) => {
                call.args.iter_mut().for_each(|side| self.condition(side));
            }
            Expr::Select(SelectExpr { test: false, .. }) => self.truth(node),
            Expr::Call(call) if call.func_name == operators::INDEX => self.truth(node),
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                call.args.iter_mut().for_each(|branch| self.condition(branch));
            }
            _ => self.value(node),
        }
    }

    fn truth(&mut self, node: &mut IdedExpr) {
        self.value(node);
        let field = mem::take(node);
        let (id, truth) = (field.id, LiteralValue::Boolean(CelBool::TRUE));
        let truth = IdedExpr { id, expr: Expr::Literal(truth) };
        *node = IdedExpr { id, expr: call(operators::EQUALS, vec![field, truth]) };
    }

    /// Rewrites what is used as a value.
    fn value(&mut self, node: &mut IdedExpr) {
        if let Some((slot, is_presence)) = self.slot(&node.expr) {
            node.expr = Expr::Ident(self.reads.variable(&slot, is_presence));
            return;
        }
        let id = node.id;
        match &mut node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.check_variable(name),
            Expr::Select(select) => {
                self.value(&mut select.operand);
                if !select.test {
                    let SelectExpr { operand, field, .. } = mem::take(select);
                    let field = LiteralValue::String(field.into());
                    let field = IdedExpr { id, expr: Expr::Literal(field) };
                    node.expr = call(GET, vec![*operand, field]);
                }
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(it) => {
                self.value(&mut it.iter_range);
                self.value(&mut it.accu_init);
                let outer = self.bound.len();
                self.bound.extend([it.iter_var.clone(), it.accu_var.clone()]);
                self.bound.extend(it.iter_var2.clone());
                self.value(&mut it.loop_cond);
                self.value(&mut it.loop_step);
                self.value(&mut it.result);
                self.bound.truncate(outer);
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.value(element)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr)),
            Expr::Struct(message) => {
                let name = &message.type_name;
                self.mistakes.push(Mistake::new(name, format!("there is no type `{name}`")));
            }
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.value(&mut entry.key);
                self.value(&mut entry.value);
            }
            EntryExpr::StructField(field) => self.value(&mut field.value),
        }
    }

    fn call(&mut self, call: &mut CallExpr) {
        if is_logic(call) {
            call.args.iter_mut().for_each(|side| self.condition(side));
            return;
        }
        self.check_call(call);
        // `optional.of(x)`: the target is part of the function's name.
        let target = call.target.as_mut();
        if let Some(target) = target.filter(|it| it.expr != Expr::Ident("optional".to_owned())) {
            self.value(target);
        }
        let is_conditional = call.func_name == operators::CONDITIONAL;
        for (index, argument) in call.args.iter_mut().enumerate() {
            if is_conditional && index == 0 {
                self.condition(argument);
            } else {
                self.value(argument);
            }
        }
        // The steps of a macro, such as `map`, which the interpreter knows by their form.
        let is_step = matches!(call.args.first(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name.starts_with('@') && self.bound.contains(name));
        let renamed = match call.func_name.as_str() {
            _ if is_step => return,
            operators::ADD => arithmetic::ADD,
            operators::SUBSTRACT => arithmetic::SUBTRACT,
            operators::MULTIPLY => arithmetic::MULTIPLY,
            operators::DIVIDE => arithmetic::DIVIDE,
            operators::MODULO => arithmetic::MODULO,
            operators::INDEX => GET,
            operators::LESS => functions::LESS,
            operators::LESS_EQUALS => functions::LESS_EQUALS,
            operators::GREATER => functions::GREATER,
            operators::GREATER_EQUALS => functions::GREATER_EQUALS,
            _ => return,
        };
        renamed.clone_into(&mut call.func_name);
    }

    /// The slot that `expr` is a path to, and whether only its presence is asked for.
    fn slot(&self, expr: &Expr) -> Option<(Slot, bool)> {
        let is_presence = matches!(expr, Expr::Select(SelectExpr { test: true, .. }));
        let mut path = Vec::new();
        let root = path_of(expr, is_presence, &mut path)?;
        if self.bound.iter().any(|bound| bound == root) {
            return None;
        }
        let slot = match (root, path.as_slice()) {
            ("data", _) => Slot::Data(path),
            ("ext", []) => Slot::Extensions,
            ("ext", [Segment::Key(name)]) => Slot::Extension(name.clone()),
            _ => return None,
        };
        Some((slot, is_presence))
    }

    fn check_variable(&mut self, name: &str) {
        let is_bound = self.bound.iter().any(|bound| bound == name);
        if !is_bound && !VARIABLES.contains(&name) && !TYPES.contains(&name) {
            let known = VARIABLES.join(", ");
            let message = format!("there is no `{name}`; an event has {known}");
            self.mistakes.push(Mistake::new(name, message));
        }
    }

    fn check_call(&mut self, call: &CallExpr) {
        let name = call.func_name.as_str();
        // Operators have names like `_+_` or `@in`.
        if name.starts_with(|first: char| first.is_ascii_alphabetic())
            && !functions::NAMES.contains(&name)
        {
            self.mistakes.push(Mistake::new(name, format!("there is no function `{name}`")));
        }
        let literal = call.args.last().map(|argument| &argument.expr);
        if let ("matches", Some(Expr::Literal(LiteralValue::String(pattern)))) = (name, literal)
            && let Err(error) = functions::pattern(pattern.inner())
        {
            let message = format!("the pattern is no regular expression: {error}");
            self.mistakes.push(Mistake::new(name, message));
        }
    }
}

/// Collects the path that `expr` spells, as in `data.items[0].sku`, and returns its root.
fn path_of<'e>(expr: &'e Expr, is_presence: bool, path: &mut Vec<Segment>) -> Option<&'e str> {
    match expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) if select.test == is_presence => {
            let root = path_of(&select.operand.expr, false, path)?;
            path.push(Segment::Key(select.field.clone()));
            Some(root)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [operand, index] = call.args.as_slice() else { return None };
            let segment = match &index.expr {
                Expr::Literal(LiteralValue::String(key)) => Segment::Key(key.inner().to_owned()),
                Expr::Literal(LiteralValue::Int(at)) => {
                    Segment::Index(usize::try_from(*at.inner()).ok()?)
                }
                _ => return None,
            };
            let root = path_of(&operand.expr, false, path)?;
            path.push(segment);
            Some(root)
        }
        _ => None,
    }
}

fn is_logic(call: &CallExpr) -> bool {
    let name = call.func_name.as_str();
    [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::LOGICAL_NOT].contains(&name)
}

fn call(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args })
}
