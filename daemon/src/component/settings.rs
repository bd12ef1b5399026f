//! The settings of one component, with their place in the file.
//!
//! Reading stops at the first fault in serde, but an operator wants all of them: so the table is
//! mended where a fault was found and read again, until it reads or nothing more can be mended.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};

use super::mend::Mender;
use super::suggest::did_you_mean;
use super::table::{Node, Table, Value};
use crate::component::BuildError;

/// How many faults of one table are told at most.
const FAULTS_MAX: usize = 32;

/// How often one table is read at most; a missing key may take several tries to fill.
const READS_MAX: usize = 128;

/// A component's table, without the keys that every component has (`type`, `name`, `inputs`).
#[derive(Clone)]
pub struct Settings {
    table: Table,
}

impl Settings {
    /// Settings from a table whose spans are byte ranges of its file.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Where the value of `key` is in the file, if it is given.
    pub fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(|entry| entry.node.span.clone())
    }

    /// Reads the settings as `C`.
    ///
    /// # Errors
    /// Every fault of the table, each with its place.
    pub fn read<C: DeserializeOwned>(&self) -> Result<C, Vec<BuildError>> {
        let mut mender = Mender::new(self.table.clone());
        let mut faults = Vec::new();
        for _ in 0..READS_MAX {
            let error = match C::deserialize(mender.table().to_toml().into_deserializer()) {
                Ok(config) if faults.is_empty() => return Ok(config),
                Ok(_) => break,
                Err(error) => error,
            };
            let error: toml::de::Error = error;
            if mender.is_news(&error) {
                faults.push(self.fault(&error));
            }
            if faults.len() >= FAULTS_MAX || !mender.mend(&error) {
                break;
            }
        }
        Err(faults)
    }

    /// The fault that `error` tells an operator.
    fn fault(&self, error: &toml::de::Error) -> BuildError {
        let span = error.span();
        let is_hidden = span.as_ref().is_some_and(|span| is_hidden(&self.table, span));
        let mut fault = fault(error.message(), is_hidden);
        fault.span = span;
        fault
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_set().entries(self.table.entries.iter().map(|entry| &entry.key)).finish()
    }
}

/// Translates what serde says.
fn fault(message: &str, is_hidden: bool) -> BuildError {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    if is_hidden {
        let fault = BuildError::new("W0202", "the interpolated value is not valid here");
        return match expected {
            Some(expected) => fault.help(format!("expected {expected}; the value is not shown")),
            None => fault.help("the value is not shown, it may be a secret"),
        };
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (word, rest) = rest.split_once('`').unwrap_or((rest, ""));
        let help = did_you_mean(word, &in_backticks(rest), "keys here");
        return BuildError::new("W0201", format!("unknown key `{word}`")).help(help);
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let (word, rest) = rest.split_once('`').unwrap_or((rest, ""));
        let help = did_you_mean(word, &in_backticks(rest), "values here");
        return BuildError::new("W0204", format!("unknown value `{word}`")).help(help);
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        let word = rest.trim_end_matches('`');
        return BuildError::new("W0203", format!("the key `{word}` is missing"));
    }
    BuildError::new("W0202", message.to_owned())
}

/// What stands in backticks in `text`.
pub(super) fn in_backticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether an interpolated value is at `span` or within it.
fn is_hidden(table: &Table, span: &Range<usize>) -> bool {
    fn in_node(node: &Node, span: &Range<usize>) -> bool {
        match &node.value {
            Value::Table(table) => is_hidden(table, span),
            Value::Array(nodes) => nodes.iter().any(|node| in_node(node, span)),
            _ => node.is_hidden && span.start <= node.span.start && node.span.end <= span.end,
        }
    }
    table.entries.iter().any(|entry| in_node(&entry.node, span))
}
