//! Publishes what no queue takes to the sink's dead-letter exchange.
//!
//! On a channel of its own, so that an exchange that is missing, or messages that nothing takes
//! there either, never hold up the others. A letter that cannot be posted is refused with what was
//! wrong with it in the first place; the pipeline file says what becomes of it then.

use std::sync::Arc;
use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::confirms::{Confirms, Verdict};
use super::message::{Outgoing, Target, send};
use super::publisher::Plan;
use crate::ack::{Ack, Outcome, Refusal};
use crate::amqp::{LinkStatus, OpenError, Topology, open, words};
use crate::component::{Counter, Health};
use crate::event::Batch;
use crate::tasks::Tasks;

/// Letters that may wait; the next one is refused.
const WAITING_MAX: usize = 1_024;

/// Letters published before their confirmations are awaited.
const ROUND_MAX: usize = 256;

/// How long the broker may take for a round of letters.
const ROUND_LIMIT: Duration = Duration::from_secs(5);

/// The headers that say why a message is a dead letter.
const CODE_HEADER: &str = "x-weir-code";
const ERROR_HEADER: &str = "x-weir-error";

/// An event that its queue does not take.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) batch: Arc<Batch>,
    pub(super) row: usize,
    pub(super) ack: Ack,
    /// What is wrong with it.
    pub(super) refusal: Refusal,
}

/// Where a publisher puts letters.
#[derive(Debug)]
pub(super) struct Letterbox {
    waiting: mpsc::Sender<Letter>,
    posting: JoinHandle<()>,
}

impl Letterbox {
    /// Posts letters through `link` to the exchange of `topology`.
    pub(super) fn start(
        plan: Arc<Plan>,
        topology: Topology,
        link: watch::Receiver<LinkStatus>,
        health: &Health,
        tasks: &Tasks,
    ) -> Self {
        let (waiting, letters) = mpsc::channel(WAITING_MAX);
        let posted = health.counter("dead_lettered");
        let postman = Postman { plan, topology, link, posted, amqp_channel: None, seq: 0 };
        Self { waiting, posting: tasks.spawn(postman.run(letters)) }
    }

    /// Takes a letter, or refuses it if too many wait.
    pub(super) fn put(&self, letter: Letter) {
        if let Err(error) = self.waiting.try_send(letter) {
            let Letter { ack, refusal, .. } = error.into_inner();
            ack.refuse(refusal);
        }
    }

    /// Ends once every letter has its verdict.
    pub(super) async fn finish(self) {
        drop(self.waiting);
        self.posting.await.ok();
    }
}

/// The task behind a letterbox.
struct Postman {
    plan: Arc<Plan>,
    topology: Topology,
    link: watch::Receiver<LinkStatus>,
    posted: Counter,
    /// Open since the last round, with the connection that it belongs to.
    amqp_channel: Option<(u64, Channel)>,
    seq: u64,
}

impl Postman {
    async fn run(mut self, mut letters: mpsc::Receiver<Letter>) {
        let mut round = Vec::with_capacity(ROUND_MAX);
        while letters.recv_many(&mut round, ROUND_MAX).await > 0 {
            let posted = timeout(ROUND_LIMIT, self.post(&round)).await;
            let verdicts = posted.unwrap_or_else(|_| Err("the broker does not answer".to_owned()));
            let verdicts = verdicts.unwrap_or_else(|reason| {
                let exchange = self.topology.exchange.as_str();
                warn!(exchange, reason, letters = round.len(), "dead letters cannot be posted");
                self.amqp_channel = None;
                vec![false; round.len()]
            });
            for (Letter { ack, refusal, .. }, is_posted) in round.drain(..).zip(verdicts) {
                if is_posted {
                    self.posted.add(1);
                    ack.settle(Outcome::DeadLettered);
                } else {
                    ack.refuse(refusal);
                }
            }
        }
    }

    /// Publishes letters; answers for each whether a queue has it.
    async fn post(&mut self, round: &[Letter]) -> Result<Vec<bool>, String> {
        let amqp_channel = self.amqp_channel().await?;
        let mut confirms = Confirms::new();
        let mut posted = vec![false; round.len()];
        let base = self.seq;
        for letter in round {
            let seq = self.seq;
            self.seq += 1;
            let Ok((routing_key, properties)) =
                self.plan.recipe.render(&letter.batch.event(letter.row), seq)
            else {
                continue;
            };
            let properties = explained(properties, &letter.refusal);
            let exchange = self.topology.exchange.clone();
            let target = Target { exchange, routing_key, is_mandatory: true };
            let (batch, row) = (Arc::clone(&letter.batch), letter.row);
            confirms.push(send(&amqp_channel, Outgoing { seq, batch, row, target, properties }));
        }
        while !confirms.is_empty() {
            for (seq, verdict) in confirms.ready(&amqp_channel).await {
                match verdict {
                    Verdict::Confirmed => posted[(seq - base) as usize] = true,
                    Verdict::Returned | Verdict::Nacked => {}
                    // Of the others nobody knows; what was confirmed may come twice.
                    Verdict::Unknown(error) => return Err(words(&error)),
                }
            }
        }
        Ok(posted)
    }

    /// The channel to post on, opened anew if its connection is another one now.
    async fn amqp_channel(&mut self) -> Result<Channel, String> {
        let status = self.link.borrow().clone();
        let Some(session) = status.session().filter(|_| status.trouble().is_none()) else {
            return Err(status.trouble().unwrap_or_default());
        };
        if let Some((epoch, amqp_channel)) = &self.amqp_channel
            && *epoch == session.epoch
        {
            return Ok(amqp_channel.clone());
        }
        let amqp_channel =
            open(&session.connection, &self.topology).await.map_err(|error| match error {
                OpenError::NoExchange => "no such exchange".to_owned(),
                OpenError::Refused(reason) | OpenError::Broken(reason) => reason,
            })?;
        self.amqp_channel = Some((session.epoch, amqp_channel.clone()));
        Ok(amqp_channel)
    }
}

/// `properties` with headers that say what is wrong.
fn explained(properties: BasicProperties, refusal: &Refusal) -> BasicProperties {
    let mut headers: FieldTable = properties.headers().clone().unwrap_or_default();
    let mut set = |name: &str, value: &str| {
        headers.insert(ShortString::from(name), AMQPValue::LongString(value.into()));
    };
    set(CODE_HEADER, refusal.code.name());
    set(ERROR_HEADER, &refusal.message);
    properties.with_headers(headers)
}
