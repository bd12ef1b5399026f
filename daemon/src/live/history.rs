//! The newest events of a hub, bounded in number, bytes and age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Piece;

/// How much of the past a hub keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Events; 0 keeps none.
    pub events_max: usize,
    /// Bytes of encoded events.
    pub bytes_max: usize,
    /// Time since an event was published.
    pub age_max: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events_max: 1_000, bytes_max: 16 << 20, age_max: Duration::from_secs(600) }
    }
}

/// One event of the past.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) channel: Arc<str>,
    pub(super) piece: Piece,
    pub(super) at: Instant,
}

/// The newest events, in the order of their numbers.
#[derive(Debug)]
pub(super) struct History {
    limits: HistoryLimits,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// All events from this number on that there ever were are kept.
    first: u64,
    /// The number that the next event gets.
    next: u64,
}

impl History {
    pub(super) fn new(limits: HistoryLimits) -> Self {
        Self { limits, entries: VecDeque::new(), bytes: 0, first: 1, next: 1 }
    }

    /// Appends the event with the number [`next`](Self::next).
    pub(super) fn push(&mut self, entry: Entry) {
        self.next += 1;
        self.bytes += entry.piece.text.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.limits.events_max || self.bytes > self.limits.bytes_max {
            self.forget_oldest();
        }
    }

    /// Gives the next event the number `next`. If that leaves a hole, all before it is forgotten:
    /// who resumes from there is told.
    pub(super) fn skip_to(&mut self, next: u64) {
        if next > self.next {
            self.entries.clear();
            self.bytes = 0;
            self.first = next;
            self.next = next;
        }
    }

    /// Gives the next event the number `next`; no event has one of the numbers between.
    pub(super) fn pass_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_old = |entry: &Entry| now.duration_since(entry.at) > self.limits.age_max;
        let mut old = self.entries.iter().take_while(|entry| is_old(entry)).count();
        while old > 0 {
            self.forget_oldest();
            old -= 1;
        }
    }

    /// The number that the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number from which on all events are kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The events from number `from` on, as far as they are kept, and before `until`.
    pub(super) fn range(&self, from: u64, until: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        let place = |seq: u64| self.entries.partition_point(|entry| entry.piece.first < seq);
        let end = place(until);
        self.entries.range(place(from).min(end)..end)
    }

    fn forget_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.piece.text.len();
            self.first = entry.piece.last() + 1;
        }
    }
}
