//! An expression from its text to its verdict on an event.

use std::fmt;
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, Value};
use weir_plugin::{Event, Failure};

use crate::functions;
use crate::reads::{Reads, Snapshot};
use crate::rewrite::{Mistake, rewrite};

/// How deep an expression may nest; a multiple of it still fits into the stack of a guest.
const DEPTH_MAX: u16 = 64;
/// How many bytes an expression may have: what is written without nesting is nested in its tree.
const LEN_MAX: usize = 4 * 1024;

/// A compiled condition.
pub(crate) struct Expression {
    key: &'static str,
    tree: IdedExpr,
    reads: Reads,
    env: Arc<Env>,
}

impl Expression {
    /// Compiles the `text` that the config gives for `key`.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub(crate) fn compile(key: &'static str, text: &str) -> Result<Self, String> {
        if text.len() > LEN_MAX {
            return Err(format!("`{key}`: the expression is longer than {LEN_MAX} bytes"));
        }
        let parser = PrattParser::new().max_recursion_depth(DEPTH_MAX).enable_optional_syntax(true);
        let mut tree = parser.parse(text).map_err(|errors| {
            let lines = errors.errors.iter().map(|error| {
                let (line, column) = error.pos;
                // Both count from 1; 0 means no place.
                let place = usize::try_from(line - 1).ok().zip(usize::try_from(column - 1).ok());
                point(key, text, place, &error.msg)
            });
            lines.collect::<Vec<_>>().join("\n")
        })?;
        let reads = rewrite(&mut tree).map_err(|mistakes| {
            let lines = mistakes
                .iter()
                .map(|Mistake { name, message }| point(key, text, place(text, name), message));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        Ok(Self { key, tree, reads, env: Arc::new(functions::environment()) })
    }

    /// Whether it reads the payload.
    pub(crate) fn reads_data(&self) -> bool {
        self.reads.reads_data()
    }

    /// Whether it is true of `event`.
    ///
    /// # Errors
    /// If it makes no sense for this event.
    pub(crate) fn is_true(&self, event: &Event<'_>) -> Result<bool, Failure> {
        let snapshot = Snapshot::new(&self.reads, *event);
        let mut cx = Context::with_env(Arc::clone(&self.env));
        cx.set_variable_resolver(&snapshot);
        let verdict = Value::resolve_val(&self.tree, &cx)
            .map_err(|error| Failure::invalid(format!("`{}`: {}", self.key, explain(&error))))?;
        match verdict.downcast_ref::<CelBool>() {
            Some(verdict) => Ok(*verdict.inner()),
            None => Err(Failure::invalid(format!(
                "`{}` gives a value of type {}, not true or false",
                self.key,
                verdict.get_type().name()
            ))),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Line and column, both from 0, where `name` stands as a word of its own outside of strings.
fn place(text: &str, name: &str) -> Option<(usize, usize)> {
    let mut quote = None;
    let mut before = ' ';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_start = quote.is_none() && !is_word(before);
        if is_start && starts_with_word(rest, name) {
            return Some(position(&text[..text.len() - rest.len()]));
        }
        match quote {
            Some(open) if first == open && before != '\\' => quote = None,
            None if first == '\'' || first == '"' => quote = Some(first),
            _ => {}
        }
        before = first;
        rest = &rest[first.len_utf8()..];
    }
    None
}

fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { message, .. } => message.clone(),
        error => error.to_string(),
    }
}

/// A message with a finger on the place.
fn point(key: &str, text: &str, at: Option<(usize, usize)>, message: &str) -> String {
    let Some((line, column)) = at else {
        return format!("`{key}`: {message}");
    };
    let source = text.lines().nth(line).unwrap_or_default();
    format!(
        "`{key}`, line {}, column {}: {message}\n  {source}\n  {:>width$}",
        line + 1,
        column + 1,
        '^',
        width = column + 1
    )
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_word))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn position(before: &str) -> (usize, usize) {
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count(), last.chars().count())
}
