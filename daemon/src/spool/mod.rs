//! Spools: a sink's events survive its outage on disk.
//!
//! A [`Front`] stands between a pipeline's chain and a sink. While the sink confirms, deliveries
//! pass through memory alone. What it gives back, or owes for too long, is written to the sink's
//! [`Spool`] first; from then on everything new is written too, and a reader replays the file in
//! order until it is empty. The spool belongs to the sink's name and outlives generations.

mod flight;
mod front;
mod journal;
mod record;
mod stats;
#[cfg(test)]
mod tests;

pub use front::Front;
pub use journal::{JournalStats, StoreError, WhenFull};
pub use stats::{SpoolBalance, Stats};

use std::path::Path;
use std::time::Duration;

use crate::component::ComponentId;
use crate::tasks::Tasks;
use journal::{Journal, JournalSettings};

/// The folder of the spools in the data directory.
const FOLDER: &str = "spool";

/// How a sink's events are spooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Most bytes on disk.
    pub bytes_max: u64,
    /// How long an event is kept for a sink that does not come back.
    pub age_max: Duration,
    /// What happens to events that do not fit.
    pub when_full: WhenFull,
    /// How long the sink may owe a verdict before an event is written down.
    pub after: Duration,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            age_max: Duration::from_secs(7 * 86_400),
            when_full: WhenFull::Reject,
            after: Duration::from_secs(1),
        }
    }
}

/// What one sink owes, on disk.
#[derive(Debug)]
pub struct Spool {
    /// What the sink has not confirmed.
    journal: Journal,
    /// What the sink refused for good after the publisher had been told that it is kept.
    rejected: Journal,
    stats: Stats,
}

impl Spool {
    /// The spool of the sink `id` below `data_dir`. No I/O happens before a front runs.
    pub fn new(id: &ComponentId, data_dir: &Path, settings: SpoolSettings) -> Self {
        let file = |suffix: &str| JournalSettings {
            path: data_dir.join(FOLDER).join(format!("{}.{}{suffix}.redb", id.pipeline, id.name)),
            bytes_max: settings.bytes_max,
            age_max: Some(settings.age_max),
            when_full: settings.when_full,
        };
        Self {
            journal: Journal::new(file("")),
            rejected: Journal::new(file(".rejected")),
            stats: Stats::default(),
        }
    }

    /// The books as they are now.
    pub fn balance(&self) -> SpoolBalance {
        self.stats.balance(&self.journal.stats())
    }

    fn start(&self, settings: &SpoolSettings, tasks: &Tasks) {
        self.journal.limit(settings.bytes_max, Some(settings.age_max), settings.when_full);
        self.journal.start(tasks);
    }
}
