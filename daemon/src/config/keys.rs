//! Takes the keys that every component has out of its table.

use std::ops::Range;

use toml::Spanned;

use crate::chain::OnError;
use crate::component::{BuildError, Entry, Node, Table, Value, did_you_mean};

/// Takes the string `key`.
pub(super) fn take_text(
    table: &mut Table,
    key: &str,
    faults: &mut Vec<BuildError>,
) -> Option<Spanned<String>> {
    let Entry { node, .. } = table.take(key)?;
    match node.value {
        Value::Text(text) => Some(Spanned::new(node.span, text)),
        _ => {
            faults.push(wrong_type(key, &node, "a string"));
            None
        }
    }
}

/// Takes the array of strings `key`.
pub(super) fn take_texts(
    table: &mut Table,
    key: &str,
    faults: &mut Vec<BuildError>,
) -> Option<Vec<Spanned<String>>> {
    let Entry { node, .. } = table.take(key)?;
    let Value::Array(nodes) = node.value else {
        faults.push(wrong_type(key, &node, "an array of strings"));
        return None;
    };
    let mut texts = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node.value {
            Value::Text(text) => texts.push(Spanned::new(node.span, text)),
            _ => faults.push(wrong_type(key, &node, "a string")),
        }
    }
    Some(texts)
}

/// Takes what a sink says about events that it refuses for good.
pub(super) fn take_on_error(table: &mut Table, faults: &mut Vec<BuildError>) -> OnError {
    const KNOWN: [&str; 2] = ["reject", "dead-letter"];
    let Some(text) = take_text(table, "on_error", faults) else { return OnError::default() };
    match text.get_ref().as_str() {
        "reject" => OnError::Reject,
        "dead-letter" => OnError::DeadLetter,
        other => {
            let fault = BuildError::new("W0204", format!("unknown value `{other}`"));
            let help = did_you_mean(other, &KNOWN, "values here");
            faults.push(fault.help(help).at(text.span()));
            OnError::default()
        }
    }
}

/// Takes the tables under `[[key]]`.
pub(super) fn take_tables(
    table: &mut Table,
    key: &str,
    faults: &mut Vec<BuildError>,
) -> Vec<Table> {
    let Some(Entry { node, .. }) = table.take(key) else { return Vec::new() };
    let Value::Array(nodes) = node.value else {
        let fault = wrong_type(key, &node, "an array of tables");
        faults.push(fault.help(format!("write `[[{key}]]`, with double brackets")));
        return Vec::new();
    };
    let mut tables = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node.value {
            Value::Table(table) => tables.push(table),
            _ => faults.push(wrong_type(key, &node, "a table")),
        }
    }
    tables
}

/// A fault for each key that is left in `table`, with the nearest of `known`.
pub(super) fn unknown_keys(table: &Table, known: &[&str], faults: &mut Vec<BuildError>) {
    for entry in &table.entries {
        let fault = BuildError::new("W0101", format!("unknown key `{}`", entry.key));
        let help = did_you_mean(&entry.key, known, "keys here");
        faults.push(fault.help(help).at(entry.key_span.clone()));
    }
}

/// Says that `what` is planned.
pub(super) fn not_offered(what: &str, span: Range<usize>) -> BuildError {
    BuildError::new("W0103", format!("{what} is not offered yet")).at(span)
}

/// Says that the value of `key` is of another type than `expected`.
pub(super) fn wrong_type(key: &str, node: &Node, expected: &str) -> BuildError {
    let message = format!("`{key}` is {}, expected {expected}", node.value.kind());
    BuildError::new("W0102", message).at(node.span.clone())
}
