//! The `rabbitmq` source: messages of a queue in, each acknowledged once its event has settled.
//!
//! The connection ([`Link`]) outlives reloads and is shared by sources with the same brokers.
//! [`consumer`] keeps a channel open on it, [`intake`] works on one channel, [`message`] reads.

mod bookmark;
mod config;
mod consumer;
mod intake;
mod message;
mod settle;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::select;
use tokio::sync::{Mutex, watch};
use toml::Spanned;

use self::bookmark::{Bookmark, Place};
use self::config::{Config, Offset};
use self::consumer::{Consumer, Plan};
use self::intake::Open;
use self::message::Reader;
use self::settle::Stats;
use crate::amqp::{Link, Queue, QueueKind, Settings, Topology, short};
use crate::component::{BuildContext, BuildError, Health, RunError, Source};
use crate::edge::Outlet;
use crate::tasks::{Stop, Tasks};

/// The largest prefetch: all of it is in memory, and comes once more after a crash.
const PREFETCH_MAX: u16 = 8192;

/// What the generations of one source hand on. Whoever holds the lock consumes, so that a new
/// generation begins where the old one stopped.
#[derive(Debug, Default)]
struct Seat {
    /// The offset to go on with in a stream, once one is known.
    next: watch::Sender<Option<i64>>,
    /// Whether the bookmark was looked at.
    is_recalled: bool,
    /// The channel that the last generation left open, with what is in flight.
    open: Option<Open>,
}

/// Consumes a queue of a RabbitMQ broker.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    plan: Arc<Plan>,
    link: Arc<Link>,
    seat: Arc<Mutex<Seat>>,
    bookmark: Bookmark,
    outlet: Outlet,
    health: Arc<Health>,
    /// Where the link's supervisor runs.
    tasks: Tasks,
}

impl Source for RabbitMq {
    const TYPE: &'static str = "rabbitmq";
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        let Config { url, hosts, heartbeat, tls, .. } = &config;
        let address = Settings { url, hosts, heartbeat, tls }.address(cx.id)?;
        let Some(queue) = &config.queue else {
            let help = "add the queue to consume, as in `queue = \"orders\"`";
            return Err(BuildError::new("W0203", "the source has no `queue`").help(help));
        };
        let Queue(table) = queue.get_ref();
        let topology = Topology::new(config.exchange.as_ref(), Some(queue))?;
        if let Some(exchange) = config.exchange.as_ref().filter(|_| topology.queue.is_none()) {
            let message = "the exchange is bound to nothing, because the queue is not declared";
            let help = "declare it with `queue = { name = \"…\" }`, or drop `exchange`";
            return Err(BuildError::new("W0317", message).help(help).at(exchange.span()));
        }
        let offset = offset(&config, queue)?;
        let identity = address.identity();
        let key = format!("{}/{identity}/{}/{offset:?}", cx.id, table.name);
        let place = Place {
            brokers: address.places(),
            queue: table.name.clone(),
            offset: format!("{offset:?}"),
            next: -1,
        };
        let source = config.source.clone().unwrap_or_else(|| format!("/queues/{}", table.name));
        let plan = Plan {
            queue: short("queue", &table.name)?,
            tag: short("consumer", &cx.id.to_string())?,
            topology,
            offset,
            prefetch: prefetch(&config.prefetch)?,
            reader: Reader { source, size_max: config.max_message.0 },
        };
        Ok(Self {
            plan: Arc::new(plan),
            // Apart from the sinks' connection, which the broker blocks when it is short of memory.
            link: cx.host.lent.borrow(&format!("{identity}/consume"), || Link::new(address)),
            seat: cx.host.lent.borrow(&key, Mutex::default),
            bookmark: Bookmark::new(&cx.host.data_dir, cx.id, place),
            outlet: cx.outlet(),
            health: cx.health(),
            tasks: cx.host.tasks.clone(),
        })
    }

    async fn run(self, stop: Stop) -> Result<(), RunError> {
        let Self { plan, link, seat, bookmark, outlet, health, tasks } = self;
        // Also when a stop is asked already: what the last generation left has to settle.
        let mut taken = seat.lock().await;
        if !std::mem::replace(&mut taken.is_recalled, true) {
            let recalled = bookmark.open().await;
            taken.next.send_replace(recalled);
        }
        // The next generation has borrowed the seat before this one is asked to stop.
        let has_successor = || Arc::strong_count(&seat) > 1;
        let stats = Stats::new(&health);
        let status = link.start(&tasks);
        let consumer = Consumer { plan, link: status, outlet, health, stats, stop };
        let next = taken.next.subscribe();
        select! {
            () = consumer.run(&mut taken, &has_successor) => {}
            // Never: the seat holds the other end.
            () = bookmark.follow(next) => {}
        }
        let next = *taken.next.borrow();
        if let Some(next) = next {
            bookmark.keep(next).await;
        }
        Ok(())
    }
}

fn offset(config: &Config, queue: &Spanned<Queue>) -> Result<Option<Offset>, BuildError> {
    let Queue(table) = queue.get_ref();
    let is_stream = table.kind == QueueKind::Stream;
    match &config.offset {
        None if is_stream && table.declare => {
            let message = "it is not said where to start in the stream";
            let help = "add `offset = \"first\"`, or \"next\" to leave out what is there already";
            Err(BuildError::new("W0203", message).help(help).at(queue.span()))
        }
        Some(offset) if table.declare && !is_stream => {
            let message = "only a stream has offsets";
            let help = "drop `offset`, or give the queue `type = \"stream\"`";
            Err(BuildError::new("W0114", message).help(help).at(offset.span()))
        }
        offset => Ok(offset.as_ref().map(|offset| *offset.get_ref())),
    }
}

fn prefetch(prefetch: &Spanned<u16>) -> Result<u16, BuildError> {
    let size = *prefetch.get_ref();
    if (1..=PREFETCH_MAX).contains(&size) {
        return Ok(size);
    }
    let message = format!("a prefetch is 1 to {PREFETCH_MAX} messages, not {size}");
    Err(BuildError::new("W0314", message).at(prefetch.span()))
}
