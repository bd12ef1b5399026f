//! What is added to CEL: a null that answers, and `matches` on a small engine.

use std::any::Any;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use cel::common::functions::Function;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator};
use cel::common::types::{
    CelBool, CelInt, CelNull, CelString, DYN_TYPE, NULL_TYPE, STRING_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};
use regex_lite::Regex;

use crate::arithmetic;

/// How many patterns are kept compiled. Patterns are literals but for odd cases.
const PATTERNS_MAX: usize = 64;

/// The function that a field or an index becomes: null where there is nothing.
pub(crate) const GET: &str = "@get";
/// What `<` becomes: false where one side is null. The other comparisons likewise.
pub(crate) const LESS: &str = "@less";
/// What `<=` becomes.
pub(crate) const LESS_EQUALS: &str = "@less_equals";
/// What `>` becomes.
pub(crate) const GREATER: &str = "@greater";
/// What `>=` becomes.
pub(crate) const GREATER_EQUALS: &str = "@greater_equals";

/// The functions that an expression may call by name.
pub(crate) const NAMES: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "dyn",
    "optional",
    "of",
    "none",
    "ofNonZeroValue",
    "hasValue",
    "value",
    "or",
    "orValue",
];

/// What a CEL function answers.
pub(crate) type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

thread_local! {
    static PATTERNS: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default();
}

/// The standard library and what is added here, made once.
pub(crate) fn environment() -> Arc<Env> {
    thread_local! {
        static ENVIRONMENT: Arc<Env> = Arc::new(made());
    }
    ENVIRONMENT.with(Arc::clone)
}

fn made() -> Env {
    let mut env = Env::stdlib();
    let mut add = |name: &str, id: &str, types: Vec<Type>, op: Function, is_method: bool| {
        let added = if is_method {
            let (target, arguments) = types.split_first().expect("a method has a target");
            let arguments = arguments.iter().map(ToOwned::to_owned).collect();
            env.add_member_overload(name, id, target.to_owned(), arguments, op)
        } else {
            env.add_overload(name, id, types, op)
        };
        added.expect("the standard library has no such overload");
    };
    add(GET, "get", vec![DYN_TYPE, DYN_TYPE], get, false);
    add(LESS, "less", vec![DYN_TYPE, DYN_TYPE], less, false);
    add(LESS_EQUALS, "less_equals", vec![DYN_TYPE, DYN_TYPE], less_equals, false);
    add(GREATER, "greater", vec![DYN_TYPE, DYN_TYPE], greater, false);
    add(GREATER_EQUALS, "greater_equals", vec![DYN_TYPE, DYN_TYPE], greater_equals, false);
    add(arithmetic::ADD, "add", vec![DYN_TYPE, DYN_TYPE], arithmetic::add, false);
    add(arithmetic::SUBTRACT, "subtract", vec![DYN_TYPE, DYN_TYPE], arithmetic::subtract, false);
    add(arithmetic::MULTIPLY, "multiply", vec![DYN_TYPE, DYN_TYPE], arithmetic::multiply, false);
    add(arithmetic::DIVIDE, "divide", vec![DYN_TYPE, DYN_TYPE], arithmetic::divide, false);
    add(arithmetic::MODULO, "modulo", vec![DYN_TYPE, DYN_TYPE], arithmetic::modulo, false);
    add("matches", "matches_text", vec![STRING_TYPE, STRING_TYPE], matches, false);
    add("matches", "text_matches", vec![STRING_TYPE, STRING_TYPE], matches, true);
    add("matches", "matches_null", vec![NULL_TYPE, DYN_TYPE], never, false);
    add("matches", "null_matches", vec![NULL_TYPE, DYN_TYPE], never, true);
    add("startsWith", "null_starts_with", vec![NULL_TYPE, DYN_TYPE], never, true);
    add("endsWith", "null_ends_with", vec![NULL_TYPE, DYN_TYPE], never, true);
    add("contains", "null_contains", vec![NULL_TYPE, DYN_TYPE], never, true);
    add("size", "size_null", vec![NULL_TYPE], zero, false);
    add("size", "null_size", vec![NULL_TYPE], zero, true);
    env
}

/// The compiled form of `pattern`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn pattern(pattern: &str) -> Result<Rc<Regex>, String> {
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(known) = patterns.get(pattern) {
            return Ok(Rc::clone(known));
        }
        let compiled = Rc::new(Regex::new(pattern).map_err(|error| error.to_string())?);
        if patterns.len() >= PATTERNS_MAX {
            patterns.clear();
        }
        patterns.insert(pattern.to_owned(), Rc::clone(&compiled));
        Ok(compiled)
    })
}

/// What is missing, or null in JSON: CEL's null, but without fields, elements and members
/// instead of an error where they are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nothing;

impl Val for Nothing {
    fn get_type(&self) -> &Type {
        &NULL_TYPE
    }

    fn cel_type() -> &'static Type {
        &NULL_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)> {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        is_null(other)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self)
    }

    /// Passes for CEL's own null, so that `null == x` holds as `x == null` does.
    fn as_any(&self) -> Option<&dyn Any> {
        Some(&CelNull)
    }
}

impl Container for Nothing {
    fn contains(&self, _: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(false)
    }
}

impl Indexer for Nothing {
    fn get<'b, 'v>(&'b self, _: &dyn Val) -> Answer<'b, 'v> {
        Err(ExecutionError::no_such_key("a field of null"))
    }

    fn steal<'v>(self: Box<Self>, _: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        Err(ExecutionError::no_such_key("a field of null"))
    }
}

impl Iterable for Nothing {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b> {
        Box::new(Self)
    }
}

impl<'b, 'v> CelIterator<'b, 'v> for Nothing {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        None
    }
}

/// Whether it is null, or missing.
pub(crate) fn is_null(value: &dyn Val) -> bool {
    value.downcast_ref::<CelNull>().is_some()
}

/// A truth value that is not allocated.
pub(crate) fn truth<'b, 'v>(is_true: bool) -> CowVal<'b, 'v> {
    CowVal::Borrowed(if is_true { &CelBool::TRUE } else { &CelBool::FALSE })
}

fn get<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [operand, key] = arguments.try_into().expect("two arguments");
    let found = match &operand {
        CowVal::Borrowed(operand) => operand.as_indexer().and_then(|it| it.get(&*key).ok()),
        CowVal::Owned(operand) => operand
            .as_indexer()
            .and_then(|it| it.get(&*key).ok())
            .map(|value| CowVal::Owned(value.into_owned())),
    };
    Ok(found.unwrap_or(CowVal::Borrowed(&Nothing)))
}

fn compare<'b, 'v>(
    arguments: &[CowVal<'b, 'v>],
    holds: impl FnOnce(Ordering) -> bool,
) -> Answer<'b, 'v> {
    let [left, right] = arguments else { unreachable!("a comparison has two sides") };
    if is_null(&**left) || is_null(&**right) {
        return Ok(truth(false));
    }
    let ordering = left.as_comparer().map(|left| left.compare(&**right));
    match ordering {
        Some(Ok(ordering)) => Ok(truth(holds(ordering))),
        _ => Err(ExecutionError::function_error(
            "compare",
            format!("cannot compare {} with {}", left.get_type().name(), right.get_type().name()),
        )),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn less<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    compare(&arguments, Ordering::is_lt)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn less_equals<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    compare(&arguments, Ordering::is_le)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn greater<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    compare(&arguments, Ordering::is_gt)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn greater_equals<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    compare(&arguments, Ordering::is_ge)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let text = |index: usize| {
        let text = arguments[index].downcast_ref::<CelString<'_>>();
        text.expect("the overload takes strings").inner()
    };
    let pattern =
        pattern(text(1)).map_err(|error| ExecutionError::function_error("matches", error))?;
    Ok(truth(pattern.is_match(text(0))))
}

fn never<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Ok(truth(false))
}

fn zero<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelInt::from(0)))
}
