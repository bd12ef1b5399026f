//! The way between the hubs that several daemons share and their streams at a RabbitMQ broker.
//!
//! What goes there and what comes back is decided by a hub's relay; here are the connection, the
//! stream and the task that moves bytes between the two.

mod carrier;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lapin::types::ShortString;
use serde::Deserialize;
use toml::Spanned;

use carrier::Carrier;
use stream::Stream;

use crate::amqp::{Address, BrokerUrl, Link, Settings as Connection, Tls, short};
use crate::component::BuildError;
use crate::live::{HistoryLimits, Hubs};
use crate::tasks::{Stop, Tasks};
use crate::units::Time;

/// What `backplane` of a hub says.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Keys {
    /// The broker, such as `amqp://user:password@host:5672/vhost`.
    url: Option<Spanned<BrokerUrl>>,
    /// Several brokers of a cluster instead, tried in this order.
    hosts: Vec<Spanned<BrokerUrl>>,
    /// How often both sides show that they are there. 10 seconds by default.
    heartbeat: Spanned<Time>,
    tls: Spanned<Tls>,
    /// The stream's name; `weir.hub.` and the hub's name by default. It is declared if it is not
    /// there.
    stream: Option<Spanned<String>>,
}

/// One hub's way to other daemons.
#[derive(Debug, Clone)]
pub struct Backplane {
    address: Address,
    stream: ShortString,
    history: HistoryLimits,
}

impl Default for Keys {
    fn default() -> Self {
        let heartbeat = Spanned::new(0..0, Time(Duration::from_secs(10)));
        let tls = Spanned::new(0..0, Tls::default());
        Self { url: None, hosts: Vec::new(), heartbeat, tls, stream: None }
    }
}

impl Keys {
    /// The backplane of the hub `name`, which keeps what `history` says.
    pub(crate) fn take(self, name: &str, history: HistoryLimits) -> Result<Backplane, BuildError> {
        let connection = Connection {
            url: &self.url,
            hosts: &self.hosts,
            heartbeat: &self.heartbeat,
            tls: &self.tls,
        };
        let address = connection.address_of(&format!("hub.{name}"))?;
        let stream = match &self.stream {
            Some(given) => short("stream", given.get_ref()).map_err(|error| error.at(given.span())),
            None => short("stream", &format!("weir.hub.{name}")),
        };
        Ok(Backplane { address, stream: stream?, history })
    }
}

/// Connects the hubs that have a backplane. What works for them is a member of `tasks` and ends
/// after `stop` is asked.
pub(crate) fn start(
    hubs: &Hubs,
    backplanes: &BTreeMap<String, Backplane>,
    tasks: &Tasks,
    stop: &Stop,
) {
    for (name, backplane) in backplanes {
        let Some((relay, outbox)) = hubs.get(name).and_then(|hub| hub.relay()) else { continue };
        let link = Arc::new(Link::new(backplane.address.clone()));
        let status = link.start(tasks);
        let stream = Arc::new(Stream::new(backplane.stream.clone(), backplane.history));
        let carrier = Carrier::new((relay, outbox), (link, status), stream, stop.clone());
        drop(tasks.spawn(carrier.run()));
    }
}
