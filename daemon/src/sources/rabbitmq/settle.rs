//! From the pipeline's answers to what the broker is told about each message.
//!
//! Accepted messages are acknowledged, as many at once as possible; rejected ones go to the dead
//! letter exchange of their queue; what the pipeline could not take gets no verdict.

use std::sync::Arc;

use futures_util::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use tracing::{debug, warn};

use crate::ack::{Answer, Code, Outcome, Refusal};
use crate::amqp::words;
use crate::component::{Counter, Health};
use crate::event::Batch;

/// The messages of a batch, one per event.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) batch: Arc<Batch>,
    /// What the broker knows them by on this channel, ascending, and whether they name their id.
    tags: Vec<(u64, bool)>,
    /// Where in a stream the last one is.
    pub(super) offset: Option<i64>,
}

impl Messages {
    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    /// The rows whose id came with the message.
    pub(super) fn named(&self) -> Vec<u32> {
        let named = (0..).zip(&self.tags).filter(|(_, (_, is_named))| *is_named);
        named.map(|(row, _)| row).collect()
    }

    pub(super) fn push(&mut self, tag: u64, is_named: bool, offset: Option<i64>) {
        self.tags.push((tag, is_named));
        self.offset = offset;
    }

    /// The messages at `rows`.
    pub(super) fn select(self, rows: &[u32]) -> Self {
        if rows.len() == self.len() {
            return self;
        }
        let tags = rows.iter().map(|row| self.tags[*row as usize]).collect();
        Self { batch: Arc::new(self.batch.select(rows)), tags, offset: self.offset }
    }

    /// Appends messages that came later.
    pub(super) fn append(&mut self, later: Self) {
        Arc::make_mut(&mut self.batch).append(&later.batch);
        self.tags.extend(later.tags);
        self.offset = later.offset;
    }
}

/// What the broker is told about the messages of a batch, by their rows.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) accepted: Vec<u32>,
    pub(super) rejected: Vec<(u32, Refusal)>,
    /// No verdict: to be published again.
    pub(super) again: Vec<u32>,
    /// Why, for the first of these.
    pub(super) why_again: Option<Refusal>,
}

impl Verdicts {
    pub(super) fn of(answers: &[Answer]) -> Self {
        let mut verdicts = Self::default();
        for (row, answer) in (0..).zip(answers) {
            match answer {
                Answer::Settled(Outcome::Rejected, refusal) => {
                    let plain = || Refusal::new(Code::Rejected, "the pipeline rejects it");
                    verdicts.rejected.push((row, refusal.clone().unwrap_or_else(plain)));
                }
                Answer::Settled(Outcome::Unavailable | Outcome::Lost, refusal) => {
                    verdicts.again.push(row);
                    verdicts.why_again.get_or_insert_with(|| {
                        let plain = || Refusal::new(Code::Unavailable, "a sink cannot take events");
                        refusal.clone().unwrap_or_else(plain)
                    });
                }
                Answer::Settled(..) | Answer::Accepted => verdicts.accepted.push(row),
                Answer::Pending => {
                    verdicts.again.push(row);
                    let late = || Refusal::new(Code::Timeout, "no verdict");
                    verdicts.why_again.get_or_insert_with(late);
                }
            }
        }
        verdicts
    }
}

/// Tells the broker verdicts, without waiting for the socket.
#[derive(Debug)]
pub(super) struct Voice {
    amqp_channel: Channel,
    stats: Stats,
    has_rejected: bool,
    failure: Option<String>,
}

impl Voice {
    pub(super) fn new(amqp_channel: Channel, stats: Stats) -> Self {
        Self { amqp_channel, stats, has_rejected: false, failure: None }
    }

    /// Why the broker cannot be told anything any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Tells what became of `messages`. They are the oldest without a verdict if `are_oldest`.
    pub(super) fn tell(&mut self, messages: &Messages, verdicts: &Verdicts, are_oldest: bool) {
        let tag = |row: u32| messages.tags[row as usize].0;
        for (row, refusal) in &verdicts.rejected {
            self.reject(tag(*row), refusal);
        }
        if are_oldest && verdicts.again.is_empty() {
            // All that came before has its verdict, so one word does for the rest.
            if let Some(last) = verdicts.accepted.last() {
                self.stats.acknowledged.add(verdicts.accepted.len() as u64);
                self.ack(tag(*last), true);
            }
            return;
        }
        for row in &verdicts.accepted {
            self.accept(tag(*row));
        }
    }

    /// The broker may forget the message.
    pub(super) fn accept(&mut self, tag: u64) {
        self.stats.acknowledged.add(1);
        self.ack(tag, false);
    }

    /// The broker shall move the message to the dead letters.
    pub(super) fn reject(&mut self, tag: u64, refusal: &Refusal) {
        let reason = &*refusal.message;
        if std::mem::replace(&mut self.has_rejected, true) {
            debug!(reason, "message rejected");
        } else {
            warn!(reason, "message rejected; kept only if its queue has a dead letter exchange");
        }
        self.stats.rejected.add(1);
        let options = BasicRejectOptions { requeue: false };
        let said = self.amqp_channel.basic_reject(tag, options).now_or_never();
        self.note(said);
    }

    fn ack(&mut self, tag: u64, multiple: bool) {
        let said = self.amqp_channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never();
        self.note(said);
    }

    /// `None` is still on its way; if that fails, the channel does, and its consumer hears of it.
    fn note(&mut self, said: Option<lapin::Result<()>>) {
        if let Some(Err(error)) = said {
            self.failure.get_or_insert_with(|| words(&error));
        }
    }
}

/// What a source counts, shown through its health.
#[derive(Debug, Clone)]
pub(super) struct Stats {
    /// Messages that the broker delivered, repeats included.
    pub(super) consumed: Counter,
    pub(super) acknowledged: Counter,
    /// Messages that the pipeline, or a limit, refused for good.
    pub(super) rejected: Counter,
    /// Events that the pipeline could not take, and that were published again.
    pub(super) retried: Counter,
    /// Messages without a verdict now.
    pub(super) unacknowledged: Counter,
    pub(super) reconnects: Counter,
}

impl Stats {
    /// The counters that `health` shows.
    pub(super) fn new(health: &Health) -> Self {
        let counter = |name| health.counter(name);
        Self {
            consumed: counter("consumed"),
            acknowledged: counter("acknowledged"),
            rejected: counter("rejected"),
            retried: counter("retried"),
            unacknowledged: counter("unacknowledged"),
            reconnects: counter("reconnects"),
        }
    }
}
