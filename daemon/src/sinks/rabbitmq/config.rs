//! The settings of a `rabbitmq` sink: their shape and defaults.
//!
//! Read from the pipeline file, checked by `RabbitMq::build`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::amqp::{BrokerUrl, Exchange, Queue, Tls};
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
    /// Where messages go that no queue takes, or that a queue keeps refusing, with headers that
    /// say why: a name, or a table with `declare`. Without one their publishers are told.
    pub(super) dead_letter_exchange: Option<Spanned<Exchange>>,
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
    /// to try again; with a spool, where they wait better, at most a second.
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
            dead_letter_exchange: None,
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
