//! Takes a fault out of a table, so that the next read finds the next fault.

use std::ops::Range;

use super::settings::in_backticks;
use super::table::{Entry, Node, Table, Value};

/// Where values are that no operator wrote.
const NOWHERE: Range<usize> = usize::MAX - 1..usize::MAX;

/// A table being mended.
pub(super) struct Mender {
    table: Table,
    /// What was taken out: the span of its table and its key.
    removed: Vec<(Range<usize>, String)>,
    /// The missing key being filled.
    filling: Option<Filling>,
}

/// A missing key and the values not tried yet.
struct Filling {
    table: Range<usize>,
    key: String,
    tries: Vec<Value>,
}

impl Mender {
    pub(super) fn new(table: Table) -> Self {
        Self { table, removed: Vec::new(), filling: None }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether an operator should hear of `error`: not if mending caused it.
    pub(super) fn is_news(&self, error: &toml::de::Error) -> bool {
        if error.span() == Some(NOWHERE) {
            return false;
        }
        let Some(key) = missing(error) else { return true };
        let place = (error.span().unwrap_or_default(), key.to_owned());
        !self.removed.contains(&place)
    }

    /// Takes out what `error` is about; answers whether it could.
    pub(super) fn mend(&mut self, error: &toml::de::Error) -> bool {
        let Some(span) = error.span() else { return false };
        if span == NOWHERE {
            return self.try_next(error);
        }
        if let Some(key) = missing(error) {
            let key = key.to_owned();
            self.filling = Some(Filling { table: span, key, tries: candidates() });
            return self.try_next(error);
        }
        match remove(&mut self.table, &span) {
            Some(removed) => {
                self.removed.push(removed);
                true
            }
            None => false,
        }
    }

    /// Fills the missing key with another value.
    fn try_next(&mut self, error: &toml::de::Error) -> bool {
        let Some(filling) = &mut self.filling else { return false };
        if error.message().starts_with("unknown variant") {
            let variant = in_backticks(error.message()).get(1).map(|variant| (*variant).to_owned());
            filling.tries.extend(variant.map(Value::Text));
        }
        let Some(value) = filling.tries.pop() else { return false };
        let Some(table) = find(&mut self.table, &filling.table) else { return false };
        drop(table.take(&filling.key));
        let node = Node { span: NOWHERE, is_hidden: false, value };
        table.entries.push(Entry { key: filling.key.clone(), key_span: NOWHERE, node });
        true
    }
}

/// What a missing key may be filled with, the likeliest last.
fn candidates() -> Vec<Value> {
    vec![
        Value::Table(Table { span: NOWHERE, entries: Vec::new() }),
        Value::Array(Vec::new()),
        Value::Boolean(true),
        Value::Text("127.0.0.1:1".to_owned()),
        Value::Text("1B".to_owned()),
        Value::Number("1".to_owned()),
        Value::Text("1s".to_owned()),
    ]
}

fn missing(error: &toml::de::Error) -> Option<&str> {
    error.message().strip_prefix("missing field `")?.strip_suffix('`')
}

/// The table at `span`.
fn find<'t>(table: &'t mut Table, span: &Range<usize>) -> Option<&'t mut Table> {
    fn in_node<'t>(node: &'t mut Node, span: &Range<usize>) -> Option<&'t mut Table> {
        match &mut node.value {
            Value::Table(table) => find(table, span),
            Value::Array(nodes) => nodes.iter_mut().find_map(|node| in_node(node, span)),
            _ => None,
        }
    }
    if table.span == *span {
        return Some(table);
    }
    table.entries.iter_mut().find_map(|entry| in_node(&mut entry.node, span))
}

/// Takes out the entry whose key or value is at `span`, the innermost one that is.
fn remove(table: &mut Table, span: &Range<usize>) -> Option<(Range<usize>, String)> {
    for entry in &mut table.entries {
        let removed = match &mut entry.node.value {
            Value::Table(inner) => remove(inner, span),
            Value::Array(nodes) => remove_element(nodes, span),
            _ => None,
        };
        if removed.is_some() {
            return removed;
        }
    }
    let is_it = |entry: &Entry| entry.key_span == *span || entry.node.span == *span;
    let at = table.entries.iter().position(is_it)?;
    Some((table.span.clone(), table.entries.remove(at).key))
}

fn remove_element(nodes: &mut Vec<Node>, span: &Range<usize>) -> Option<(Range<usize>, String)> {
    for node in nodes.iter_mut() {
        let removed = match &mut node.value {
            Value::Table(table) => remove(table, span),
            Value::Array(nodes) => remove_element(nodes, span),
            _ => None,
        };
        if removed.is_some() {
            return removed;
        }
    }
    let at = nodes.iter().position(|node| node.span == *span)?;
    nodes.remove(at);
    Some((span.clone(), String::new()))
}
