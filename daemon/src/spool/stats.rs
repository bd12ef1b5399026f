//! A spool's books: what it took, what became of it, what it holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

use crate::store::{JournalState, JournalStats};
use crate::units::now_micros;

/// Counters of one spool; they begin at 0 with the daemon.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) replayed: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Whether what was to be kept last was refused.
    pub(super) is_refusing: AtomicBool,
}

/// A spool at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpoolBalance {
    /// Events on disk that the sink has not confirmed.
    pub events: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// How long the oldest has been there, in milliseconds; 0 if there is none.
    pub oldest_ms: u64,
    /// Events written since the daemon started.
    pub appended: u64,
    /// Events read again for the sink, repeats included.
    pub replayed: u64,
    /// Written events that the sink confirmed.
    pub delivered: u64,
    /// Written events that the sink refused for good; they are kept in a file beside the spool.
    pub rejected: u64,
    /// Events that could not be written, so that publishers were told to try again.
    pub refused: u64,
    /// Events dropped for newer ones.
    pub dropped_full: u64,
    /// Events dropped because they were too old.
    pub dropped_age: u64,
    /// Events whose bytes on disk were damaged.
    pub dropped_damaged: u64,
    /// Why nothing can be written, if so.
    pub trouble: Option<String>,
}

impl Stats {
    pub(super) fn balance(&self, journal: &JournalStats) -> SpoolBalance {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let age = now_micros().saturating_sub(journal.oldest_at);
        SpoolBalance {
            events: journal.events,
            bytes: journal.bytes,
            oldest_ms: if journal.events > 0 { age / 1_000 } else { 0 },
            appended: journal.appended,
            replayed: read(&self.replayed),
            delivered: read(&self.delivered),
            rejected: read(&self.rejected),
            refused: read(&self.refused),
            dropped_full: journal.dropped.full,
            dropped_age: journal.dropped.age,
            dropped_damaged: journal.dropped.damaged,
            trouble: self.trouble(journal),
        }
    }

    pub(super) fn trouble(&self, journal: &JournalStats) -> Option<String> {
        match &journal.state {
            JournalState::Failed(reason) => Some(reason.clone()),
            _ if self.is_refusing.load(Ordering::Relaxed) => Some("it is full".to_owned()),
            _ => None,
        }
    }
}
