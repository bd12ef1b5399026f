//! The tables of a pipeline file that say what to declare: their shape and defaults.

use std::collections::BTreeMap;
use std::fmt;

use lapin::types::AMQPValue;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// An exchange: a name, or a table that may declare it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExchangeTable {
    /// Its name.
    pub(crate) name: String,
    /// `topic`, `direct`, `fanout`, `headers` or a type that a plugin of the broker brings.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Whether the component declares it; else it must exist.
    pub(crate) declare: bool,
    /// Whether it survives a restart of the broker.
    pub(crate) durable: bool,
    /// More arguments, such as `alternate-exchange`.
    pub(crate) arguments: BTreeMap<String, Argument>,
}

impl Default for ExchangeTable {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: "topic".to_owned(),
            declare: false,
            durable: true,
            arguments: BTreeMap::new(),
        }
    }
}

/// A queue that the component may declare.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueTable {
    /// Its name.
    pub(crate) name: String,
    /// How the broker keeps it. A quorum queue by default: it confirms what is on disk.
    #[serde(rename = "type")]
    pub(crate) kind: QueueKind,
    /// Whether the component declares it; else it must exist.
    pub(crate) declare: bool,
    /// Binding keys to the component's exchange; by default everything.
    pub(crate) bind: Option<Vec<String>>,
    /// More arguments, such as `x-max-length`.
    pub(crate) arguments: BTreeMap<String, Argument>,
}

impl Default for QueueTable {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: QueueKind::Quorum,
            declare: true,
            bind: None,
            arguments: BTreeMap::new(),
        }
    }
}

/// How the broker keeps a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueueKind {
    /// Replicated, on disk before it is confirmed.
    Quorum,
    /// On one node.
    Classic,
    /// A log that many may read again.
    Stream,
}

impl QueueKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

/// `exchange = "name"` or `exchange = { name = "…", … }`.
#[derive(Debug, Clone)]
pub(crate) struct Exchange(pub(crate) ExchangeTable);

impl<'de> Deserialize<'de> for Exchange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Exchange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an exchange, or a table")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Exchange, E> {
                Ok(Exchange(ExchangeTable { name: name.to_owned(), ..ExchangeTable::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Exchange, A::Error> {
                ExchangeTable::deserialize(MapAccessDeserializer::new(map)).map(Exchange)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// `queue = "name"` or `queue = { name = "…", … }`.
#[derive(Debug, Clone)]
pub(crate) struct Queue(pub(crate) QueueTable);

impl<'de> Deserialize<'de> for Queue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Queue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a queue, or a table")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Queue, E> {
                let name = name.to_owned();
                Ok(Queue(QueueTable { name, declare: false, ..QueueTable::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Queue, A::Error> {
                QueueTable::deserialize(MapAccessDeserializer::new(map)).map(Queue)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// An argument of a declaration: a text, a whole number, a fraction or a truth value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Argument(pub(crate) AMQPValue);

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Argument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, `true` or `false`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Argument, E> {
                Ok(Argument(AMQPValue::LongString(text.into())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Argument, E> {
                Ok(Argument(AMQPValue::LongLongInt(number)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Argument, E> {
                Ok(Argument(AMQPValue::Double(number)))
            }

            fn visit_bool<E: Error>(self, truth: bool) -> Result<Argument, E> {
                Ok(Argument(AMQPValue::Boolean(truth)))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}
