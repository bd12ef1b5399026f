//! The books of one pipeline, and the bound on what it holds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{Ack, AckMode, Code, Ledger, Outcome, Receipt, Refusal, Slot};
use crate::budget::Budget;

/// So long and so many events tell how fast a busy pipeline settles.
const RATE_OVER: (Duration, u64) = (Duration::from_millis(500), 64);

/// How exactly the age of what is in flight is known.
const MARK_EVERY: Duration = Duration::from_millis(100);

/// Moments that are remembered for that.
const MARKS_MAX: usize = 1_024;

/// How much a pipeline may hold unsettled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events in flight.
    pub events_max: usize,
    /// Bytes in flight.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events_max: 65_536, bytes_max: 64 << 20 }
    }
}

/// A pipeline's books: what it received, what it holds, what became of the rest.
///
/// Lives as long as the daemon, whatever generation the pipeline is in.
#[derive(Debug, Default)]
pub struct Account {
    limits: Limits,
    received: AtomicU64,
    /// One counter per [`Outcome`], at its number minus one.
    settled: [AtomicU64; Outcome::ALL.len()],
    events: AtomicUsize,
    bytes: AtomicUsize,
    /// Locked for a few steps per batch, hence a std mutex.
    marks: Mutex<VecDeque<Mark>>,
    /// What all pipelines hold together.
    budget: Arc<Budget>,
}

/// A moment.
#[derive(Debug)]
struct Mark {
    at: Instant,
    /// How many events had been received before.
    received: u64,
    /// How many of them had been settled.
    settled: u64,
}

/// The books at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Events admitted so far.
    pub received: u64,
    /// Of these, dropped by a transform on purpose.
    pub filtered: u64,
    /// Of these, taken in before.
    pub duplicate: u64,
    /// Of these, delivered to every sink.
    pub delivered: u64,
    /// Of these, safe on disk for a sink that gets them later.
    pub spooled: u64,
    /// Of these, kept among the dead letters.
    pub dead_lettered: u64,
    /// Of these, refused for good.
    pub rejected: u64,
    /// Of these, given back to the publisher to try again.
    pub unavailable: u64,
    /// Of these, lost by a defect; anything but 0 is a bug.
    pub lost: u64,
    /// Of these, not settled yet.
    pub in_flight: u64,
}

impl Account {
    /// Books that admit events within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The same books, their bytes charged to `budget` while they are in flight.
    #[must_use]
    pub fn within(self, budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), ..self }
    }

    /// What its bytes are charged to.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Takes events of the given `sizes` in bytes into the books.
    ///
    /// # Errors
    /// [`Code::Overloaded`] while the pipeline, or all together, hold as much as they may; nothing
    /// was taken then.
    pub fn admit(
        self: &Arc<Self>,
        sizes: impl ExactSizeIterator<Item = usize>,
        mode: AckMode,
    ) -> Result<(Receipt, Vec<Ack>), Refusal> {
        let slots: Box<[Slot]> = sizes.map(Slot::new).collect();
        let bytes = slots.iter().map(|slot| slot.bytes as usize).sum();
        let held = self.events.fetch_add(slots.len(), Ordering::Relaxed);
        let held_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // An empty pipeline takes any batch that its source let through.
        let is_full = held + slots.len() > self.limits.events_max
            || held_bytes + bytes > self.limits.bytes_max;
        let refusal = if is_full && held > 0 {
            Some("the pipeline holds as much as it may")
        } else if !self.budget.take(bytes) {
            Some("the daemon holds as much as it may")
        } else {
            None
        };
        if let Some(words) = refusal {
            self.events.fetch_sub(slots.len(), Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refusal::new(Code::Overloaded, words));
        }
        let before = self.received.fetch_add(slots.len() as u64, Ordering::Relaxed);
        self.mark(before);
        Ok(Ledger::open(Arc::clone(self), mode, slots))
    }

    /// How long what came now would wait, as if events settled in their order: as long as the
    /// oldest of what is in flight has waited, or as it takes to settle all of that as fast as
    /// lately.
    pub fn wait(&self) -> Duration {
        let in_flight = self.events.load(Ordering::Relaxed) as u64;
        if in_flight == 0 {
            return Duration::ZERO;
        }
        let settled = self.received.load(Ordering::Relaxed).saturating_sub(in_flight);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut marks, settled);
        let Some(mark) = marks.front() else { return Duration::ZERO };
        // All that has settled since was there before: the pipeline was never idle.
        let (age, done) = (mark.at.elapsed(), settled.saturating_sub(mark.settled));
        let (over, least) = RATE_OVER;
        if age < over || done < least {
            return age;
        }
        age.max(age.mul_f64(in_flight as f64 / done as f64))
    }

    fn mark(&self, received: u64) {
        let in_flight = self.events.load(Ordering::Relaxed) as u64;
        let settled = self.received.load(Ordering::Relaxed).saturating_sub(in_flight);
        let at = Instant::now();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = marks.back().is_none_or(|last| at - last.at >= MARK_EVERY);
        if !is_due {
            return;
        }
        forget(&mut marks, settled);
        // Without room, what comes is taken for as old as the last moment.
        if marks.len() < MARKS_MAX {
            marks.push_back(Mark { at, received, settled });
        }
    }

    /// The books as they are now.
    pub fn balance(&self) -> Balance {
        let settled = |outcome: Outcome| self.settled[outcome as usize - 1].load(Ordering::Relaxed);
        Balance {
            received: self.received.load(Ordering::Relaxed),
            filtered: settled(Outcome::Filtered),
            duplicate: settled(Outcome::Duplicate),
            delivered: settled(Outcome::Delivered),
            spooled: settled(Outcome::Spooled),
            dead_lettered: settled(Outcome::DeadLettered),
            rejected: settled(Outcome::Rejected),
            unavailable: settled(Outcome::Unavailable),
            lost: settled(Outcome::Lost),
            in_flight: self.events.load(Ordering::Relaxed) as u64,
        }
    }

    pub(super) fn settle(&self, outcome: Outcome, bytes: usize) {
        self.settled[outcome as usize - 1].fetch_add(1, Ordering::Relaxed);
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.give_back(bytes);
    }
}

/// Forgets the moments before the oldest of what is in flight came.
fn forget(marks: &mut VecDeque<Mark>, settled: u64) {
    while marks.get(1).is_some_and(|mark| mark.received <= settled) {
        marks.pop_front();
    }
}
