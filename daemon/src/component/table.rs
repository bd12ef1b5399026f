//! A TOML table that owns its text and knows where each part of it was written.
//!
//! A file is parsed once into a [`Table`]; values are interpolated in place; each component gets
//! its own table, which it reads through [`Settings`](super::Settings).

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::component::BuildError;

/// A table. Spans are byte ranges of the file.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The header, or the braces of an inline table.
    pub span: Range<usize>,
    /// What it holds, by key.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is; the header for a table with one.
    pub span: Range<usize>,
    /// Whether it came in by interpolation, so that it must never be shown.
    pub is_hidden: bool,
    /// The value itself.
    pub value: Value,
}

/// A value.
#[derive(Clone)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number or a float, as TOML writes it.
    Number(String),
    /// A boolean.
    Boolean(bool),
    /// A date, a time or both.
    Datetime(toml::value::Datetime),
    /// An array; also the tables under one `[[header]]`.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

impl Table {
    /// Reads `text` as far as it is TOML; answers every syntax fault too.
    pub fn parse(text: &str) -> (Self, Vec<BuildError>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let faults = errors.into_iter().map(|error| {
            let mut fault = BuildError::new("W0100", error.message().to_owned());
            fault.span = error.span();
            fault
        });
        let span = table.span();
        (Self::of(span, table.into_inner()), faults.collect())
    }

    /// The entry `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Takes the entry `key` out.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// The same as the `toml` crate has it, for its deserializer.
    pub(super) fn to_toml(&self) -> Spanned<DeTable<'_>> {
        Spanned::new(self.span.clone(), self.to_de_table())
    }

    fn of(span: Range<usize>, table: DeTable<'_>) -> Self {
        let entries = table.into_iter().map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            node: Node::of(value),
        });
        Self { span, entries: entries.collect() }
    }

    fn to_de_table(&self) -> DeTable<'_> {
        let mut table = DeTable::new();
        for Entry { key, key_span, node } in &self.entries {
            table.insert(Spanned::new(key_span.clone(), key.as_str().into()), node.to_toml());
        }
        table
    }
}

impl Value {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a secret.
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Array(nodes) => nodes.fmt(f),
            _ => f.write_str(self.kind()),
        }
    }
}

impl Node {
    fn of(value: Spanned<DeValue<'_>>) -> Self {
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => Value::Number(number.to_string()),
            DeValue::Float(number) => Value::Number(number.to_string()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(value) => Value::Datetime(value),
            DeValue::Array(nodes) => Value::Array(nodes.into_iter().map(Self::of).collect()),
            DeValue::Table(table) => Value::Table(Table::of(span.clone(), table)),
        };
        Self { span, is_hidden: false, value }
    }

    fn to_toml(&self) -> Spanned<DeValue<'_>> {
        let value = match &self.value {
            Value::Text(text) => DeValue::String(text.as_str().into()),
            // The text came from a parsed number, so it parses as one again.
            Value::Number(text) => DeValue::parse(text)
                .map_or_else(|_| DeValue::String(text.as_str().into()), Spanned::into_inner),
            Value::Boolean(value) => DeValue::Boolean(*value),
            Value::Datetime(value) => DeValue::Datetime(*value),
            Value::Array(nodes) => DeValue::Array(nodes.iter().map(Self::to_toml).collect()),
            Value::Table(table) => DeValue::Table(table.to_de_table()),
        };
        Spanned::new(self.span.clone(), value)
    }
}
