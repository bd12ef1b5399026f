//! From the settings in a pipeline file to an [`Address`] and a [`Topology`], doing no I/O.

use std::collections::BTreeMap;

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use toml::Spanned;

use super::address::{Address, BrokerUrl, Tls};
use super::tables::{Argument, Exchange, Queue};
use super::topology::{ExchangeDeclaration, QueueDeclaration, Topology};
use crate::component::{BuildError, ComponentId};
use crate::units::Time;

/// The settings that say where the broker is and how to talk to it.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) url: &'a Option<Spanned<BrokerUrl>>,
    pub(crate) hosts: &'a [Spanned<BrokerUrl>],
    pub(crate) heartbeat: &'a Spanned<Time>,
    pub(crate) tls: &'a Spanned<Tls>,
}

impl Settings<'_> {
    /// Where the component `id` connects to.
    pub(crate) fn address(&self, id: &ComponentId) -> Result<Address, BuildError> {
        self.address_of(&id.to_string())
    }

    /// Where what is called `name` connects to.
    pub(crate) fn address_of(&self, name: &str) -> Result<Address, BuildError> {
        let urls: Vec<_> = self.url.iter().chain(self.hosts).collect();
        if self.url.is_some() && !self.hosts.is_empty() {
            let message = "both `url` and `hosts` say where the broker is";
            return Err(BuildError::new("W0313", message).help("keep one of them"));
        }
        if urls.is_empty() {
            let help = "add `url = \"amqp://user:password@host:5672\"`";
            return Err(BuildError::new("W0313", "nothing says where the broker is").help(help));
        }
        let seconds = self.heartbeat.get_ref().0.as_secs();
        let heartbeat =
            u16::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
                let message = "a heartbeat is between one second and 18 hours";
                BuildError::new("W0314", message).at(self.heartbeat.span())
            })?;
        let mut brokers = Vec::with_capacity(urls.len());
        for url in urls {
            let mut broker = url.get_ref().parse().map_err(|error| error.at(url.span()))?;
            broker.uri.query.heartbeat.get_or_insert(heartbeat);
            brokers.push(broker);
        }
        let tls = self.tls.get_ref();
        if tls.cert.is_some() != tls.key.is_some() {
            let message = "a certificate and its key belong together";
            let help = "give both `cert` and `key`, or neither";
            return Err(BuildError::new("W0315", message).help(help).at(self.tls.span()));
        }
        Ok(Address { brokers, tls: tls.clone(), name: format!("weir/{name}") })
    }
}

impl Topology {
    /// What the tables of a pipeline file ask for.
    pub(crate) fn new(
        exchange: Option<&Spanned<Exchange>>,
        queue: Option<&Spanned<Queue>>,
    ) -> Result<Self, BuildError> {
        let Some(exchange) = exchange else {
            let Some(queue) = queue else {
                let help =
                    "add `exchange = \"name\"`, or `queue = \"name\"` to publish straight to one";
                return Err(
                    BuildError::new("W0316", "the sink has no exchange and no queue").help(help)
                );
            };
            let queue = declaration(queue, false)?;
            return Ok(Self { exchange: ShortString::default(), declare_exchange: None, queue });
        };
        let span = exchange.span();
        let Exchange(table) = exchange.get_ref();
        let name = name("exchange", &table.name).map_err(|error| error.at(span))?;
        let declare_exchange = table.declare.then(|| ExchangeDeclaration {
            kind: match table.kind.as_str() {
                "topic" => ExchangeKind::Topic,
                "direct" => ExchangeKind::Direct,
                "fanout" => ExchangeKind::Fanout,
                "headers" => ExchangeKind::Headers,
                other => ExchangeKind::Custom(other.to_owned()),
            },
            is_durable: table.durable,
            arguments: arguments(&table.arguments),
        });
        let queue = queue.map(|queue| declaration(queue, true)).transpose()?.flatten();
        Ok(Self { exchange: name, declare_exchange, queue })
    }
}

/// The declaration of a queue, if that is ours to do.
fn declaration(
    queue: &Spanned<Queue>,
    has_exchange: bool,
) -> Result<Option<QueueDeclaration>, BuildError> {
    let Queue(table) = queue.get_ref();
    let at = |error: BuildError| error.at(queue.span());
    let queue_name = name("queue", &table.name).map_err(at)?;
    if table.bind.is_some() && !(has_exchange && table.declare) {
        let message = "a queue is bound to an exchange while it is declared";
        let help = "name an `exchange` and leave out `declare = false`, or drop `bind`";
        return Err(at(BuildError::new("W0317", message).help(help)));
    }
    if !table.declare {
        return Ok(None);
    }
    let everything = || vec!["#".to_owned()];
    let keys = table.bind.clone().unwrap_or_else(everything);
    let keys = if has_exchange { keys } else { Vec::new() };
    let bindings = keys.iter().map(|key| short("binding key", key)).collect::<Result<_, _>>();
    let mut arguments = arguments(&table.arguments);
    let kind = AMQPValue::LongString(table.kind.name().into());
    arguments.insert("x-queue-type".into(), kind);
    Ok(Some(QueueDeclaration { name: queue_name, arguments, bindings: bindings.map_err(at)? }))
}

/// The name of an exchange or queue.
fn name(what: &str, name: &str) -> Result<ShortString, BuildError> {
    if name.is_empty() {
        return Err(BuildError::new("W0318", format!("the {what} has no name")));
    }
    if name.contains("{{") {
        let message = format!("the name of an {what} is fixed, it cannot come from an event");
        return Err(
            BuildError::new("W0318", message).help("use `routing_key` to tell events apart")
        );
    }
    short(what, name)
}

/// `text` as the short string that AMQP has for names and keys.
pub(crate) fn short(what: &str, text: &str) -> Result<ShortString, BuildError> {
    let too_long =
        || BuildError::new("W0318", format!("the {what} is longer than AMQP's 255 bytes"));
    ShortString::try_new(text).ok().ok_or_else(too_long)
}

fn arguments(given: &BTreeMap<String, Argument>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, Argument(value)) in given {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, value.clone());
        }
    }
    table
}
