//! Keeps a source consuming: waits for the connection, opens a channel on it, and opens the next
//! one when that broke.
//!
//! A channel that breaks takes every message back that was not acknowledged; the broker delivers
//! those again, in order. A reload hands the channel on to the next generation, so it breaks none.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Seat;
use super::config::Offset;
use super::intake::{Intake, Open, Over};
use super::message::Reader;
use super::settle::Stats;
use crate::amqp::{LinkStatus, OpenError, Session, Topology, jitter, prepare};
use crate::component::Health;
use crate::edge::Outlet;
use crate::tasks::Stop;

/// How long a broker may take to open a channel and declare things on it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a broken channel is opened again.
const REOPEN: Duration = Duration::from_millis(100);

/// The pause after the broker refused something: somebody may just be declaring it.
const RECHECK: Duration = Duration::from_secs(1);

/// The pause before a queue is consumed anew with other settings. The broker takes back what was
/// under way to the last consumer only after its channel has ended, and does not say when.
const RESEAT: Duration = Duration::from_millis(250);

/// What never changes while a source runs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) queue: ShortString,
    /// What the broker lists the consumer as.
    pub(super) tag: ShortString,
    pub(super) topology: Topology,
    pub(super) offset: Option<Offset>,
    pub(super) prefetch: u16,
    pub(super) reader: Reader,
}

/// A source at work.
pub(super) struct Consumer {
    pub(super) plan: Arc<Plan>,
    /// The link's supervisor holds the other end.
    pub(super) link: watch::Receiver<LinkStatus>,
    pub(super) outlet: Outlet,
    pub(super) health: Arc<Health>,
    pub(super) stats: Stats,
    /// The runtime holds the other end.
    pub(super) stop: Stop,
}

impl Plan {
    /// Whether the broker is asked for the same in the same way.
    pub(super) fn consumes_like(&self, other: &Self) -> bool {
        self.prefetch == other.prefetch && self.topology == other.topology
    }
}

impl Consumer {
    /// Consumes until it is asked to stop. Then the channel stays for the next generation if the
    /// source `has_successor`; else everything that was taken has settled.
    pub(super) async fn run(mut self, seat: &mut Seat, has_successor: &(impl Fn() -> bool + Sync)) {
        while let Some(session) = self.session().await {
            let left_open = seat.open.take().filter(|open| open.epoch == session.epoch);
            let mut stop = self.stop.clone();
            let next = *seat.next.borrow();
            let opened = match left_open {
                Some(open) => Ok(Ok(open)),
                None => select! {
                    opened = timeout(OPEN_TIMEOUT, self.open(&session, next)) => opened,
                    () = stop.asked() => return,
                },
            };
            let pause = match opened {
                Ok(Ok(open)) => {
                    self.health.set_running();
                    match Intake::new(&self, &seat.next, open).run(has_successor).await {
                        Over::HandedOn(open) => {
                            seat.open = Some(*open);
                            return;
                        }
                        Over::Left => RESEAT,
                        Over::Broken(reason) => {
                            warn!(queue = %self.plan.queue, reason, "consumer lost");
                            self.health.set_degraded(reason);
                            REOPEN
                        }
                    }
                }
                Ok(Err(error)) => self.not_opened(error),
                Err(_) => {
                    session.kill();
                    self.health.set_degraded("the broker does not open a channel");
                    REOPEN
                }
            };
            if timeout(jitter(pause), self.stop.asked()).await.is_ok() {
                return;
            }
        }
    }

    /// A session to consume on, or `None` once the source shall stop.
    async fn session(&mut self) -> Option<Arc<Session>> {
        loop {
            let status = self.link.borrow_and_update().clone();
            self.stats.reconnects.set(status.reconnects);
            // A broker that blocks publishers still delivers.
            if let Some(session) = status.session() {
                return Some(Arc::clone(session));
            }
            if let Some(trouble) = status.trouble() {
                self.health.set_degraded(trouble);
            }
            select! {
                changed = self.link.changed() => if changed.is_err() {
                    // The supervisor outlives every source that holds its link.
                    sleep(REOPEN).await;
                },
                () = self.stop.asked() => return None,
            }
        }
    }

    async fn open(&self, session: &Session, next: Option<i64>) -> Result<Open, OpenError> {
        let Plan { queue, tag, topology, prefetch, .. } = &*self.plan;
        prepare(&session.connection, topology).await?;
        let amqp_channel = session.connection.create_channel().await?;
        // lapin buffers whatever the broker sends, so this is the only bound.
        amqp_channel.basic_qos(*prefetch, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        let offset = next.map(Offset::At).or(self.plan.offset);
        if let Some(offset) = offset {
            arguments.insert("x-stream-offset".into(), offset.to_argument());
        }
        let options = BasicConsumeOptions::default();
        let consuming = amqp_channel.basic_consume(queue.clone(), tag.clone(), options, arguments);
        let deliveries = consuming.await?;
        let plan = Arc::clone(&self.plan);
        let stats = self.stats.clone();
        Ok(Open::new(plan, stats, (session.epoch, amqp_channel, deliveries)))
    }

    /// Notes why there is no channel; answers how long to wait before the next try.
    fn not_opened(&self, error: OpenError) -> Duration {
        let (reason, pause) = match error {
            OpenError::NoExchange => {
                (format!("no exchange `{}`", self.plan.topology.exchange), RECHECK)
            }
            OpenError::Refused(reason) => (format!("misconfigured: {reason}"), RECHECK),
            OpenError::Broken(reason) => (reason, REOPEN),
        };
        self.health.set_degraded(reason);
        pause
    }
}
