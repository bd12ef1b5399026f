//! Spools: a sink's events survive its outage on disk.
//!
//! A [`Front`] stands between a pipeline's chain and a sink. While the sink confirms, deliveries
//! pass through memory alone. What it gives back, or owes for too long, is written to the sink's
//! [`Spool`] first; from then on everything new is written too, and a reader replays the file in
//! order until it is empty. The spool belongs to the sink's name and outlives generations.

mod flight;
mod front;
mod left;
mod stats;
#[cfg(test)]
mod tests;

pub use front::{Front, Keepers};
pub use left::{LeftBehind, LeftFile};
pub use stats::{SpoolBalance, Stats};

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::component::ComponentId;
use crate::store::{Journal, JournalSettings, WhenFull};
use crate::tasks::Tasks;

/// The folder of the spools in the data directory.
pub const FOLDER: &str = "spool";

/// How a sink's events are spooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Most bytes on disk.
    pub bytes_max: u64,
    /// How long an event is kept for a sink that does not come back; `None` means for ever,
    /// because its publisher was told that it is safe.
    pub age_max: Option<Duration>,
    /// What happens to events that do not fit.
    pub when_full: WhenFull,
    /// How long the sink may owe a verdict before an event is written down.
    pub after: Duration,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            age_max: None,
            when_full: WhenFull::Reject,
            after: Duration::from_secs(1),
        }
    }
}

/// What one sink owes, on disk.
#[derive(Debug)]
pub struct Spool {
    id: ComponentId,
    folder: PathBuf,
    /// What the sink has not confirmed.
    journal: Journal,
    stats: Stats,
}

impl Spool {
    /// The spool of the sink `id` below `data_dir`. No I/O happens before a front runs.
    pub fn new(id: &ComponentId, data_dir: &Path, settings: SpoolSettings) -> Self {
        let folder = data_dir.join(FOLDER);
        Self {
            id: id.clone(),
            journal: Journal::new(journal(&folder, id, settings)),
            folder,
            stats: Stats::default(),
        }
    }

    /// The books as they are now.
    pub fn balance(&self) -> SpoolBalance {
        self.stats.balance(&self.journal.stats())
    }

    /// Why the spool takes nothing, if so.
    pub fn trouble(&self) -> Option<String> {
        self.stats.trouble(&self.journal.stats())
    }

    /// Its journal with a name: what the sink owes.
    pub fn journal(&self) -> (String, Journal) {
        (format!("{FOLDER}/{}.{}", self.id.pipeline, self.id.name), self.journal.clone())
    }

    /// Opens the file unless it is open, and puts `settings` in force.
    fn start(&self, settings: SpoolSettings, tasks: &Tasks) {
        self.journal.adjust(journal(&self.folder, &self.id, settings));
        self.journal.start(tasks);
    }
}

fn file_name(id: &ComponentId) -> String {
    format!("{}.{}.redb", id.pipeline, id.name)
}

fn journal(folder: &Path, id: &ComponentId, settings: SpoolSettings) -> JournalSettings {
    JournalSettings {
        path: folder.join(file_name(id)),
        bytes_max: settings.bytes_max,
        age_max: settings.age_max,
        when_full: settings.when_full,
    }
}
