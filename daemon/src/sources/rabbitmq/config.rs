//! The settings of a `rabbitmq` source: their shape and defaults.
//!
//! Read from the pipeline file, checked by `RabbitMq::build`.

use std::fmt;
use std::time::Duration;

use lapin::types::AMQPValue;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;

use crate::amqp::{BrokerUrl, Exchange, Queue, Tls};
use crate::units::{Size, Time, parse_time};

/// The settings of a `rabbitmq` source.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The broker, `amqp://user:password@host:5672/vhost`; without a path the default virtual
    /// host, with `amqps` over TLS. Required unless `hosts` is given.
    pub(super) url: Option<Spanned<BrokerUrl>>,
    /// Several brokers of one cluster instead of `url`, tried in this order on every connection.
    pub(super) hosts: Vec<Spanned<BrokerUrl>>,
    /// The queue to consume: a name, or a table to declare and bind it. Must be given.
    pub(super) queue: Option<Spanned<Queue>>,
    /// What a queue that is declared here is bound to: a name, or a table with `declare`. Absent
    /// means that others bind it.
    pub(super) exchange: Option<Spanned<Exchange>>,
    /// Where to start in a stream: `"first"`, `"last"`, `"next"`, an offset, or a time such as
    /// `"2025-11-24T16:00:00Z"`. Must be given for a stream that is declared here; absent means
    /// `"next"` for one that is not.
    pub(super) offset: Option<Spanned<Offset>>,
    /// Messages taken and not acknowledged yet. 256 by default: enough to keep a pipeline busy,
    /// and what is delivered once more after a crash at most.
    pub(super) prefetch: Spanned<u16>,
    /// The `source` of events whose messages name none. Absent means `/queues/` and the queue.
    pub(super) source: Option<String>,
    /// Largest message; a larger one is rejected. 16 MiB by default, as for the sink.
    pub(super) max_message: Size,
    /// How often both sides show that they are there; a dead one is noticed after twice that.
    pub(super) heartbeat: Spanned<Time>,
    /// Files for TLS; `amqps` works without any where the system trusts the broker.
    pub(super) tls: Spanned<Tls>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            hosts: Vec::new(),
            queue: None,
            exchange: None,
            offset: None,
            prefetch: Spanned::new(0..0, 256),
            source: None,
            max_message: Size(16 << 20),
            heartbeat: Spanned::new(0..0, Time(Duration::from_secs(10))),
            tls: Spanned::new(0..0, Tls::default()),
        }
    }
}

/// Where to start in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    /// At the oldest message there is.
    First,
    /// At the newest chunk of messages.
    Last,
    /// At what is published from now on.
    Next,
    /// At the message with this number.
    At(i64),
    /// At this time, in seconds since the Unix epoch.
    Since(u64),
}

impl Offset {
    /// The same as the broker takes it.
    pub(super) fn to_argument(self) -> AMQPValue {
        let word = |word: &str| AMQPValue::LongString(word.into());
        match self {
            Self::First => word("first"),
            Self::Last => word("last"),
            Self::Next => word("next"),
            Self::At(offset) => AMQPValue::LongLongInt(offset),
            Self::Since(seconds) => AMQPValue::Timestamp(seconds),
        }
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Offset;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"first\", \"last\", \"next\", an offset, or a time in quotes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Offset, E> {
                match text {
                    "first" => Ok(Offset::First),
                    "last" => Ok(Offset::Last),
                    "next" => Ok(Offset::Next),
                    time => match parse_time(time) {
                        Some(micros) => Ok(Offset::Since(micros / 1_000_000)),
                        None => Err(E::invalid_value(serde::de::Unexpected::Str(time), &self)),
                    },
                }
            }

            fn visit_i64<E: Error>(self, offset: i64) -> Result<Offset, E> {
                if offset < 0 {
                    return Err(E::invalid_value(serde::de::Unexpected::Signed(offset), &self));
                }
                Ok(Offset::At(offset))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}
