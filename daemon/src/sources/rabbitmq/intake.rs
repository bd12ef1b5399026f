//! One channel at work: messages in, batches out, verdicts back to the broker.
//!
//! What is waiting becomes a batch and goes to the pipeline; the oldest batch in flight is settled
//! first. Events that the pipeline could not take are held and published again before anything
//! new, so that order holds; while they are, the broker sends no more than the prefetch.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::{Channel, Consumer as Deliveries};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::consumer::{Consumer, Plan};
use super::message::offset;
use super::settle::{Messages, Stats, Verdicts, Voice};
use crate::ack::{AckMode, Code, Receipt, Refusal};
use crate::amqp::{LinkStatus, jitter, words};
use crate::component::Health;
use crate::edge::{MERGE, Outlet};
use crate::event::Batch;
use crate::tasks::Stop;

/// The first pause before events are published again; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(50);

const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long messages are held before they are given back: brokers close a channel that owes
/// acknowledgements for half an hour.
const HOLD_MAX: Duration = Duration::from_secs(20 * 60);

/// How long events in flight may take to settle once the source shall stop. A pipeline drains
/// within 30 s; the messages of what takes longer are delivered again.
const LEAVE_MAX: Duration = Duration::from_secs(25);

/// How long the broker may take to end the channel.
const GOODBYE: Duration = Duration::from_secs(2);

/// Far enough away to mean never.
const NEVER: Duration = Duration::from_secs(86_400);

/// Why consuming on a channel ended.
pub(super) enum Over {
    /// The source was asked to stop; the next generation goes on with the channel.
    HandedOn(Box<Open>),
    /// Nothing is in flight, and the channel is closed.
    Left,
    /// The channel is of no use any more.
    Broken(String),
}

/// What the work on a channel came to.
enum Step {
    /// The source shall stop.
    Stop,
    Left,
    Broken(String),
}

/// A batch in flight.
#[derive(Debug)]
struct Flight {
    receipt: Receipt,
    messages: Messages,
}

/// Events that the pipeline could not take.
#[derive(Debug)]
struct Held {
    messages: Messages,
    retry_at: Instant,
}

/// A channel and everything that was taken on it.
#[derive(Debug)]
pub(super) struct Open {
    /// The connection that it is on.
    pub(super) epoch: u64,
    /// What it was opened for.
    plan: Arc<Plan>,
    amqp_channel: Channel,
    deliveries: Deliveries,
    voice: Voice,
    /// Oldest first.
    in_flight: VecDeque<Flight>,
    held: Option<Held>,
    /// Since when the pipeline has not taken everything.
    held_since: Option<Instant>,
    pause: Duration,
    /// Why no more messages come.
    ended: Option<String>,
}

impl Open {
    /// A channel on the connection `epoch` that was opened as `plan` says.
    pub(super) fn new(
        plan: Arc<Plan>,
        stats: Stats,
        (epoch, amqp_channel, deliveries): (u64, Channel, Deliveries),
    ) -> Self {
        Self {
            epoch,
            plan,
            voice: Voice::new(amqp_channel.clone(), stats),
            amqp_channel,
            deliveries,
            in_flight: VecDeque::new(),
            held: None,
            held_since: None,
            pause: RETRY_MIN,
            ended: None,
        }
    }

    /// Messages without a verdict.
    fn outstanding(&self) -> u64 {
        let in_flight: usize = self.in_flight.iter().map(|flight| flight.messages.len()).sum();
        let held = self.held.as_ref().map_or(0, |held| held.messages.len());
        (in_flight + held) as u64
    }
}

/// One channel at work.
pub(super) struct Intake<'a> {
    plan: &'a Plan,
    outlet: &'a Outlet,
    health: &'a Health,
    stats: &'a Stats,
    /// The offset to go on with in a stream.
    next: &'a watch::Sender<Option<i64>>,
    /// The runtime holds the other end.
    stop: Stop,
    /// The link's supervisor holds the other end.
    link: watch::Receiver<LinkStatus>,
    open: Open,
    /// When the source began to leave the channel, taking nothing new.
    leaving_since: Option<Instant>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        consumer: &'a Consumer,
        next: &'a watch::Sender<Option<i64>>,
        open: Open,
    ) -> Self {
        Self {
            plan: &consumer.plan,
            outlet: &consumer.outlet,
            health: &consumer.health,
            stats: &consumer.stats,
            next,
            stop: consumer.stop.clone(),
            link: consumer.link.clone(),
            open,
            leaving_since: None,
        }
    }

    /// Consumes until the channel breaks, or a stop was asked and the source either
    /// `has_successor` or has settled what it took.
    pub(super) async fn run(mut self, has_successor: &(impl Fn() -> bool + Sync)) -> Over {
        if !self.open.plan.consumes_like(self.plan) {
            self.leaving_since = Some(Instant::now());
        }
        let reason = loop {
            match self.work().await {
                Step::Stop if has_successor() => return Over::HandedOn(Box::new(self.open)),
                Step::Stop => self.leaving_since = Some(Instant::now()),
                Step::Left => break None,
                Step::Broken(reason) => break Some(reason),
            }
        };
        self.stats.unacknowledged.set(0);
        // What was not acknowledged goes back to the broker with the channel. Its consumer is not
        // cancelled before: a quorum queue is slow to take back what was under way to it then.
        drop(timeout(GOODBYE, self.open.amqp_channel.close(200, "OK".into())).await);
        reason.map_or(Over::Left, Over::Broken)
    }

    /// Works until there is something to decide.
    async fn work(&mut self) -> Step {
        loop {
            let open = &mut self.open;
            let is_leaving = self.leaving_since.is_some();
            self.stats.unacknowledged.set(open.outstanding());
            let broken = open.voice.failure().or(open.ended.clone());
            if let Some(reason) = broken.filter(|_| !is_leaving) {
                return Step::Broken(reason);
            }
            if self.has_left() {
                return Step::Left;
            }
            let timer = self.timer();
            let open = &mut self.open;
            let takes = !is_leaving && open.held.is_none() && open.ended.is_none();
            select! {
                biased;
                () = settled(&open.in_flight) => self.settle(),
                () = self.stop.asked(), if !is_leaving => return Step::Stop,
                changed = self.link.changed() => {
                    let epoch = self.link.borrow_and_update().session().map(|now| now.epoch);
                    if changed.is_err() || epoch != Some(self.open.epoch) {
                        return Step::Broken("the connection is gone".to_owned());
                    }
                }
                () = sleep_until(timer) => if let Some(reason) = self.again() {
                    return Step::Broken(reason);
                },
                next = open.deliveries.next(), if takes => self.arrived(next),
            }
        }
    }

    /// Takes what is waiting, `first` of all, as one batch.
    fn arrived(&mut self, first: Option<lapin::Result<Delivery>>) {
        let mut batch = Batch::default();
        let mut messages = Messages::default();
        let mut next = Some(first);
        while let Some(delivery) = next.take() {
            match delivery {
                Some(Ok(delivery)) => self.read(&delivery, &mut batch, &mut messages),
                Some(Err(error)) => self.open.ended = Some(words(&error)),
                None => {
                    let reason = "the broker ended the consumer; is the queue gone?";
                    self.open.ended.get_or_insert_with(|| reason.to_owned());
                }
            }
            if self.open.ended.is_none()
                && batch.len() < MERGE.events
                && batch.bytes() < MERGE.bytes
            {
                next = self.open.deliveries.next().now_or_never();
            }
        }
        if !batch.is_empty() {
            messages.batch = Arc::new(batch);
            self.publish(messages);
        }
    }

    fn read(&mut self, delivery: &Delivery, batch: &mut Batch, messages: &mut Messages) {
        self.stats.consumed.add(1);
        let tag = delivery.delivery_tag;
        let offset = offset(delivery);
        if offset.zip(*self.next.borrow()).is_some_and(|(offset, next)| offset < next) {
            // The broker starts with the whole chunk that holds the offset asked for.
            self.open.voice.accept(tag);
            return;
        }
        match self.plan.reader.read(delivery, batch) {
            // Who reads a stream once more wants it once more.
            Ok(is_named) => messages.push(tag, is_named && offset.is_none(), offset),
            Err(refusal) => self.open.voice.reject(tag, &refusal),
        }
    }

    fn publish(&mut self, messages: Messages) {
        if self.outlet.is_refusing() {
            let words = "the daemon holds as much as it may";
            return self.hold(messages, &Refusal::new(Code::Overloaded, words));
        }
        let (batch, named) = (Arc::clone(&messages.batch), messages.named());
        match self.outlet.publish(batch, &named, Some(AckMode::Settled)) {
            Ok(receipt) => self.open.in_flight.push_back(Flight { receipt, messages }),
            Err(refusal) => self.hold(messages, &refusal),
        }
    }

    /// Keeps events for later.
    fn hold(&mut self, messages: Messages, refusal: &Refusal) {
        if refusal.code != Code::Overloaded && refusal.code != Code::Draining {
            if self.open.held_since.is_none() {
                let reason = &*refusal.message;
                warn!(queue = %self.plan.queue, reason, "events not taken; holding messages");
            }
            self.health.set_degraded(format!("messages are held: {refusal}"));
        }
        let now = Instant::now();
        self.open.held_since.get_or_insert(now);
        match &mut self.open.held {
            Some(held) => held.messages.append(messages),
            None => {
                let retry_at = now + jitter(self.open.pause);
                self.open.pause = (self.open.pause * 2).min(RETRY_MAX);
                self.open.held = Some(Held { messages, retry_at });
            }
        }
    }

    /// Tells the broker what became of the oldest batch.
    fn settle(&mut self) {
        let Some(Flight { receipt, messages }) = self.open.in_flight.pop_front() else { return };
        let verdicts = Verdicts::of(&receipt.answers());
        self.open.voice.tell(&messages, &verdicts, self.open.held.is_none());
        if let Some(refusal) = &verdicts.why_again {
            self.stats.retried.add(verdicts.again.len() as u64);
            self.hold(messages.select(&verdicts.again), refusal);
        } else if self.open.held.is_none() {
            if let Some(last) = messages.offset {
                self.next.send_replace(Some(last + 1));
            }
            self.taken();
        }
    }

    /// The pipeline takes everything, perhaps again.
    fn taken(&mut self) {
        self.open.pause = RETRY_MIN;
        if self.open.held_since.take().is_some() {
            info!(queue = %self.plan.queue, "events taken again");
        }
        self.health.set_running();
    }

    /// Publishes again what is held, if it is time; answers why the channel has to go, if so.
    fn again(&mut self) -> Option<String> {
        let is_due = |held: &mut Held| held.retry_at <= Instant::now();
        let Held { messages, .. } = self.open.held.take_if(is_due)?;
        if self.open.held_since.is_some_and(|since| since.elapsed() >= HOLD_MAX) {
            return Some("messages were held too long".to_owned());
        }
        self.publish(messages);
        None
    }

    /// Whether the source is leaving and nothing more will settle.
    fn has_left(&self) -> bool {
        let is_late = |since: Instant| since.elapsed() >= LEAVE_MAX;
        self.leaving_since.is_some_and(|since| self.open.in_flight.is_empty() || is_late(since))
    }

    /// When something has to be done at the latest.
    fn timer(&self) -> Instant {
        let leave = self.leaving_since.map(|since| since + LEAVE_MAX);
        // What is in flight is older than nothing that is held.
        let retry =
            self.open.held.as_ref().filter(|_| leave.is_none() && self.open.in_flight.is_empty());
        leave.or(retry.map(|held| held.retry_at)).unwrap_or_else(|| Instant::now() + NEVER)
    }
}

/// Resolves once the oldest batch has its verdicts; never while there is none.
async fn settled(in_flight: &VecDeque<Flight>) {
    match in_flight.front() {
        Some(flight) => flight.receipt.wait().await,
        None => pending().await,
    }
}
