//! Steps are told the time, and what they emit then are new events.
//!
//! These enter the pipeline's books as those of a source do. Nobody publishes them again, so the
//! chain does: it holds what a tick emitted until it is settled, offers again what came back to be
//! tried again, and tells the step the time only when it holds nothing of it any more.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Chain, Step, panicked};
use crate::ack::{AckMode, Answer, Outcome, Receipt};
use crate::component::{ComponentId, Rows};
use crate::edge::Delivery;
use crate::event::id::{IdBuffer, ulid};
use crate::event::{Batch, Draft, NONE};
use crate::units::now_micros;

/// When one step is told the time, and what it emitted last.
pub(super) struct Ticker {
    /// The index of the step.
    pub(super) step: usize,
    every: Duration,
    due: Instant,
    /// What is not settled for good.
    pub(super) held: Vec<Held>,
}

/// Events that a tick emitted and that take one route.
#[derive(Debug)]
pub(super) struct Held {
    route: Option<String>,
    batch: Arc<Batch>,
    /// Absent while the books have no room for them.
    receipt: Option<Receipt>,
}

impl Ticker {
    /// One for each of `steps` that is told the time, for the first time after its interval.
    pub(super) fn all(steps: &[Step]) -> Vec<Self> {
        let now = Instant::now();
        let ticker = |(step, every)| Self { step, every, due: now + every, held: Vec::new() };
        let steps = steps.iter().enumerate();
        steps.filter_map(|(step, it)| Some((step, it.tick?))).map(ticker).collect()
    }

    /// Whether the step is to be told the time; the next time is set then. What was missed is not
    /// made up for.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.due <= now;
        if is_due {
            self.due += self.every;
            if self.due <= now {
                self.due = now + self.every;
            }
        }
        is_due
    }
}

impl Held {
    /// Whether it is not settled for good. What came back is offered once more.
    pub(super) fn is_owed(&mut self) -> bool {
        let Some(receipt) = &self.receipt else { return true };
        let answers = receipt.answers();
        if answers.contains(&Answer::Pending) {
            return true;
        }
        let is_back = |answer: &Answer| matches!(answer, Answer::Settled(Outcome::Unavailable, _));
        let back = (0..).zip(&answers).filter(|(_, answer)| is_back(answer));
        let back: Vec<u32> = back.map(|(row, _)| row).collect();
        if back.is_empty() {
            return false;
        }
        self.batch = Arc::new(self.batch.select(&back));
        self.receipt = None;
        true
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }
}

impl Chain {
    /// When the next step is to be told the time.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.tickers.iter().map(|ticker| ticker.due).min()
    }

    /// Tells the time to the steps whose turn it is.
    pub(super) fn tick_due(&mut self) {
        if self.tickers.is_empty() {
            return;
        }
        let now = Instant::now();
        for index in 0..self.tickers.len() {
            let ticker = &mut self.tickers[index];
            if !ticker.is_due(now) {
                continue;
            }
            let step = ticker.step;
            let mut held = mem::take(&mut ticker.held);
            held.retain_mut(Held::is_owed);
            if held.is_empty() {
                held = self.tick(step);
            }
            self.offer(step, &mut held);
            let events: usize = held.iter().map(Held::len).sum();
            self.steps[step].stats.tick_held.store(events as u64, Ordering::Relaxed);
            self.tickers[index].held = held;
        }
    }

    /// Tells the time to one step, unless it is quarantined.
    fn tick(&mut self, index: usize) -> Vec<Held> {
        let Step { id, transform, stats, .. } = &mut self.steps[index];
        if !stats.lets_through() {
            return Vec::new();
        }
        let (since, now) = (Instant::now(), now_micros());
        let ticked = catch_unwind(AssertUnwindSafe(|| transform.tick(now)));
        let ticked = ticked.unwrap_or_else(|_| Err(panicked()));
        stats.ticked(since);
        if let Err(error) = &ticked {
            stats.run_failed(error.reason);
            warn!(step = %id, reason = error.reason, %error, "tick failed");
        }
        if let Some(pause) = stats.record_tick(ticked.is_err()) {
            let pause_ms = pause.as_millis();
            warn!(step = %id, pause_ms, "plugin keeps failing; quarantined");
        }
        let emitted = ticked.map(|rows| fresh(id, &rows, now)).unwrap_or_default();
        let events: usize = emitted.iter().map(Held::len).sum();
        stats.tick_events.fetch_add(events as u64, Ordering::Relaxed);
        emitted
    }

    /// Sends on what is held and not under way, as far as the books have room, in order.
    fn offer(&mut self, step: usize, held: &mut [Held]) {
        for held in held.iter_mut().filter(|held| held.receipt.is_none()) {
            let sizes = (0..held.len()).map(|row| held.batch.data.get(row).len());
            let (receipt, acks) = match self.account.admit(sizes, AckMode::Settled) {
                Ok(admitted) => admitted,
                Err(refusal) => {
                    let (step, why) = (&self.steps[step].id, &*refusal.message);
                    debug!(%step, why, "events of a tick wait for the next one");
                    return;
                }
            };
            held.receipt = Some(receipt);
            let delivery = Delivery { batch: Arc::clone(&held.batch), acks, entry: 0 };
            let targets = self.targets(step, held.route.as_deref());
            self.flow(&targets, delivery.into(), &mut 0);
        }
    }
}

/// The new events that `rows` of a tick are, by route.
fn fresh(id: &ComponentId, rows: &Rows, now: u64) -> Vec<Held> {
    let source = format!("/pipelines/{}/{}", id.pipeline, id.name);
    let text = |column: &[u32], row: usize| {
        let index = column.get(row).copied().unwrap_or(NONE);
        (index != NONE).then(|| rows.dictionary.get(index as usize))
    };
    let mut by_route: Vec<(Option<&str>, Batch)> = Vec::new();
    let mut buffer = IdBuffer::default();
    for row in 0..rows.types.len() {
        let route = text(&rows.routes, row);
        let known = by_route.iter().position(|(known, _)| *known == route);
        let known = known.unwrap_or_else(|| {
            by_route.push((route, Batch::default()));
            by_route.len() - 1
        });
        let extensions: Vec<_> =
            rows.extensions.iter().flat_map(|extensions| extensions.row(row)).collect();
        by_route[known].1.push(&Draft {
            id: ulid(now, &mut buffer),
            source: &source,
            event_type: text(&rows.types, row).expect("a row of a tick has a type"),
            subject: text(&rows.subjects, row),
            content_type: text(&rows.content_types, row),
            time: now,
            arrival: now,
            data: if rows.data.ends.is_empty() { &[] } else { rows.data.get(row) },
            extensions: &extensions,
        });
    }
    let held = |(route, batch): (Option<&str>, _)| Held {
        route: route.map(str::to_owned),
        batch: Arc::new(batch),
        receipt: None,
    };
    by_route.into_iter().map(held).collect()
}
