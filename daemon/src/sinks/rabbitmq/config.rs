//! The settings of a `rabbitmq` sink: their shape and defaults.
//!
//! Read from the pipeline file, checked by `RabbitMq::build`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lapin::types::AMQPValue;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::address::{BrokerUrl, Tls};
use crate::template::Template;
use crate::units::{Size, Time};

/// The settings of a `rabbitmq` sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The broker, `amqp://user:password@host:5672/vhost`; without a path the default virtual
    /// host, with `amqps` over TLS. Required unless `hosts` is given.
    pub(super) url: Option<Spanned<BrokerUrl>>,
    /// Several brokers of one cluster instead of `url`, tried in this order on every connection.
    pub(super) hosts: Vec<Spanned<BrokerUrl>>,
    /// Where messages are published: a name, or a table with `declare`. Without one they go
    /// straight to `queue`.
    pub(super) exchange: Option<Spanned<Exchange>>,
    /// A queue to declare and bind, as a table; as a name, one that exists.
    pub(super) queue: Option<Spanned<Queue>>,
    /// The routing key; by default the event's type, or the queue's name without an exchange.
    pub(super) routing_key: Option<Template>,
    /// Headers beside the event's attributes.
    pub(super) headers: BTreeMap<Spanned<String>, Template>,
    /// Whether the broker keeps messages on disk. On by default: a sink that confirms what a
    /// restart forgets would be no durable one.
    pub(super) persistent: bool,
    /// Whether the publisher is told when no queue took the message. On by default, because the
    /// broker confirms such a message all the same.
    pub(super) mandatory: bool,
    /// Properties that all messages share.
    pub(super) message: Message,
    /// Messages sent and not confirmed yet. More only adds latency and, after a broken
    /// connection, duplicates.
    pub(super) window: Spanned<usize>,
    /// How long messages wait for a broker that is away or blocked before publishers are told
    /// to try again.
    pub(super) patience: Time,
    /// How long the broker may owe a confirmation before the connection is given up; heartbeats
    /// do not notice a queue that is stuck.
    pub(super) stall_timeout: Time,
    /// How often both sides show that they are there; a dead one is noticed after twice that.
    pub(super) heartbeat: Spanned<Time>,
    /// Largest message; the broker's own default limit.
    pub(super) max_message: Size,
    /// Files for TLS; `amqps` works without any where the system trusts the broker.
    pub(super) tls: Spanned<Tls>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            hosts: Vec::new(),
            exchange: None,
            queue: None,
            routing_key: None,
            headers: BTreeMap::new(),
            persistent: true,
            mandatory: true,
            message: Message::default(),
            window: Spanned::new(0..0, 1024),
            patience: Time(Duration::from_secs(5)),
            stall_timeout: Time(Duration::from_secs(10)),
            heartbeat: Spanned::new(0..0, Time(Duration::from_secs(10))),
            max_message: Size(16 << 20),
            tls: Spanned::new(0..0, Tls::default()),
        }
    }
}

/// Properties that all messages of a sink share.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Message {
    /// Media type in place of the event's own; by default the event's, or none.
    pub(super) content_type: Option<String>,
    /// How long the broker keeps a message that nobody takes; by default for ever.
    pub(super) expiration: Option<Time>,
    /// Priority in queues that know it; by default none.
    pub(super) priority: Option<u8>,
    /// Who publishes.
    pub(super) app_id: String,
}

impl Default for Message {
    fn default() -> Self {
        Self { content_type: None, expiration: None, priority: None, app_id: "weir".to_owned() }
    }
}

/// An exchange: a name, or a table that may declare it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExchangeTable {
    /// Its name.
    pub(super) name: String,
    /// `topic`, `direct`, `fanout`, `headers` or a type that a plugin of the broker brings.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Whether the sink declares it; else it must exist.
    pub(super) declare: bool,
    /// Whether it survives a restart of the broker.
    pub(super) durable: bool,
    /// More arguments, such as `alternate-exchange`.
    pub(super) arguments: BTreeMap<String, Argument>,
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

/// A queue that the sink declares.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct QueueTable {
    /// Its name.
    pub(super) name: String,
    /// How the broker keeps it. A quorum queue by default: it confirms what is on disk.
    #[serde(rename = "type")]
    pub(super) kind: QueueKind,
    /// Whether the sink declares it; else it must exist.
    pub(super) declare: bool,
    /// Binding keys to the sink's exchange; by default everything.
    pub(super) bind: Option<Vec<String>>,
    /// More arguments, such as `x-max-length`.
    pub(super) arguments: BTreeMap<String, Argument>,
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
pub(super) enum QueueKind {
    /// Replicated, on disk before it is confirmed.
    Quorum,
    /// On one node.
    Classic,
    /// A log that many may read again.
    Stream,
}

impl QueueKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

/// `exchange = "name"` or `exchange = { name = "…", … }`.
#[derive(Debug, Clone)]
pub(super) struct Exchange(pub(super) ExchangeTable);

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
pub(super) struct Queue(pub(super) QueueTable);

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
pub(super) struct Argument(pub(super) AMQPValue);

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
