//! Expressions in CEL, the Common Expression Language, over events; shared by the plugins that take some.
//!
//! An [`Expression`] is compiled from the text in a step's config, and tells the paths of JSON data
//! that it reads, so that the daemon finds them. It is a condition ([`Expression::is_true`]) or
//! gives a value ([`Expression::value`]).
//!
//! What is missing is null, and null answers instead of failing; numbers mix as they do in JSON.
//! The plugin `filter` describes the language for its users.

mod arithmetic;
mod functions;
mod json;
mod quick;
mod reads;
mod rewrite;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::common::value::Val;
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, Value};
use weir_plugin::{Event, Failure};

use crate::quick::{Operand, Quick};
use crate::reads::{Reads, Snapshot};
use crate::rewrite::{Mistake, Use, rewrite};

/// How deep brackets may nest; the parser itself does not count all of them, and a guest's stack
/// is small.
const DEPTH_MAX: usize = 64;
/// How many bytes an expression may have: what is written without nesting is nested in its tree.
const LEN_MAX: usize = 4 * 1024;

/// How many fields of the payload all expressions together may read; the daemon finds no more.
const FIELDS_MAX: usize = 64;
/// How long the path of one may be, as the daemon writes it.
const PATH_MAX: usize = 512;

/// A compiled expression.
pub struct Expression {
    /// What the config calls it.
    key: String,
    tree: IdedExpr,
    reads: Reads,
    env: Arc<Env>,
    /// The same, if it is a condition of a usual form.
    quick: Option<Quick>,
    /// The same, if it is a field or an attribute.
    plain: Option<Operand>,
}

impl Expression {
    /// Compiles a condition from the `text` that the config gives for `key`; the paths that it
    /// reads of JSON data are added to `fields`.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn condition(key: &str, text: &str, fields: &mut Vec<String>) -> Result<Self, String> {
        Self::compile(key, text, Use::Condition, fields)
    }

    /// Compiles an expression whose value is wanted, as [`condition`](Self::condition) does.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn computed(key: &str, text: &str, fields: &mut Vec<String>) -> Result<Self, String> {
        Self::compile(key, text, Use::Value, fields)
    }

    fn compile(
        key: &str,
        text: &str,
        used_as: Use,
        fields: &mut Vec<String>,
    ) -> Result<Self, String> {
        if text.len() > LEN_MAX {
            return Err(format!("`{key}`: the expression is longer than {LEN_MAX} bytes"));
        }
        if let Some(place) = too_deep(text) {
            let message = format!("brackets nest deeper than {DEPTH_MAX}");
            return Err(point(key, text, Some(place), &message));
        }
        let parser = PrattParser::new().enable_optional_syntax(true);
        let mut tree = parser.parse(text).map_err(|errors| {
            let lines = errors.errors.iter().map(|error| {
                let (line, column) = error.pos;
                // Both count from 1; 0 means no place.
                let place = usize::try_from(line - 1).ok().zip(usize::try_from(column - 1).ok());
                point(key, text, place, &error.msg)
            });
            lines.collect::<Vec<_>>().join("\n")
        })?;
        let mut reads = rewrite(&mut tree, used_as).map_err(|mistakes| {
            let lines = mistakes
                .iter()
                .map(|Mistake { name, message }| point(key, text, place(text, name), message));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        reads.place(fields);
        if fields.iter().any(|path| path.len() > PATH_MAX) {
            return Err(format!(
                "`{key}` reads a field whose path is longer than {PATH_MAX} bytes"
            ));
        }
        if fields.len() > FIELDS_MAX {
            return Err(format!("`{key}` reads more than {FIELDS_MAX} fields of `data`"));
        }
        let (quick, plain) = (Quick::of(&tree), Operand::of(&tree));
        let env = functions::environment();
        Ok(Self { key: key.to_owned(), tree, reads, env, quick, plain })
    }

    /// Whether it is true of `event`.
    ///
    /// # Errors
    /// If it makes no sense for this event.
    pub fn is_true(&self, event: &Event<'_>) -> Result<bool, Failure> {
        let quick = self.quick.as_ref().and_then(|quick| quick.decide(&self.reads, event));
        quick.map_or_else(|| self.is_true_in_full(event), Ok)
    }

    /// The same, always by the interpreter.
    fn is_true_in_full(&self, event: &Event<'_>) -> Result<bool, Failure> {
        self.evaluate(event, |verdict| match verdict.downcast_ref::<CelBool>() {
            Some(verdict) => Ok(*verdict.inner()),
            None => Err(format!(
                "gives a value of type {}, not true or false",
                verdict.get_type().name()
            )),
        })
    }

    /// Its value for `event`, as a patch takes it; nothing where it is `optional.none()`.
    ///
    /// # Errors
    /// If it makes no sense for this event, or gives what JSON cannot hold.
    pub fn value(&self, event: &Event<'_>) -> Result<Option<weir_plugin::Value>, Failure> {
        self.evaluate(event, value::patched)
    }

    /// Its value for `event` as text, if it is a string, a number or a truth value.
    ///
    /// # Errors
    /// If it makes no sense for this event.
    pub fn text(&self, event: &Event<'_>) -> Result<Option<String>, Failure> {
        if let Some(text) = self.plain.as_ref().and_then(|plain| plain.text(&self.reads, event)) {
            return Ok(Some(text.to_owned()));
        }
        self.evaluate(event, value::text)
    }

    fn evaluate<T>(
        &self,
        event: &Event<'_>,
        take: impl FnOnce(&dyn Val) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let snapshot = Snapshot::new(&self.reads, *event);
        let mut cx = Context::with_env(Arc::clone(&self.env));
        cx.set_variable_resolver(&snapshot);
        let value = Value::resolve_val(&self.tree, &cx)
            .map_err(|error| Failure::invalid(format!("`{}`: {}", self.key, explain(&error))))?;
        take(&*value).map_err(|what| Failure::invalid(format!("`{}` {what}", self.key)))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The place of the first bracket that is nested too deep; those in strings count as well.
fn too_deep(text: &str) -> Option<(usize, usize)> {
    let mut depth: usize = 0;
    let too_deep = text.char_indices().find(|(_, character)| {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEPTH_MAX
    });
    too_deep.map(|(at, _)| position(&text[..at]))
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
