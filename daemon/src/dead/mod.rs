//! Dead letters: events that a component refused for good, kept for a person to look at.
//!
//! Each pipeline with `on_error = "dead-letter"` has its [`Letters`]: a journal that outlives
//! generations, and what was kept before is opened again when the daemon starts. Publishers are
//! told `dead-lettered` only when the disk has the event. What was kept may be replayed: it
//! re-enters its pipeline at the component that refused it, with the same id.

mod letter;
mod letters;
#[cfg(test)]
mod tests;

pub use letter::{Cover, Letter};
pub use letters::{Counts, Letters};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::{self, JournalSettings, WhenFull};
use crate::tasks::{Stop, Tasks};

/// The folder of the journals in the data directory.
const FOLDER: &str = "dead";

/// How many dead letters of a pipeline are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// Most bytes on disk; what does not fit is rejected as if nothing were kept.
    pub bytes_max: u64,
    /// How long one is kept.
    pub age_max: Duration,
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self { bytes_max: 256 << 20, age_max: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// The dead letters of all pipelines. Lives as long as the process.
#[derive(Debug, Default)]
pub struct Office {
    folder: PathBuf,
    /// Touched when a generation starts and when somebody looks, hence a std mutex.
    letters: Mutex<BTreeMap<String, Arc<Letters>>>,
}

impl Office {
    /// An office whose journals are below `data_dir`. No I/O happens before one is opened.
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER), letters: Mutex::default() }
    }

    /// The dead letters of `pipeline`, bounded by `settings` from now on. What works for them is
    /// a member of `tasks` and ends after `stop` is asked.
    pub fn open(
        &self,
        pipeline: &str,
        settings: DeadLetterSettings,
        tasks: &Tasks,
        stop: &Stop,
    ) -> Arc<Letters> {
        let settings = JournalSettings {
            path: self.folder.join(format!("{pipeline}.{}", store::EXTENSION)),
            bytes_max: settings.bytes_max,
            age_max: Some(settings.age_max),
            when_full: WhenFull::Reject,
        };
        let mut letters = self.lock();
        if let Some(known) = letters.get(pipeline) {
            known.adjust(settings);
            return Arc::clone(known);
        }
        let opened = Letters::start(pipeline, settings, tasks, stop);
        letters.insert(pipeline.to_owned(), Arc::clone(&opened));
        opened
    }

    /// Opens what earlier processes kept, whether its pipeline still is there or not.
    pub fn open_kept(&self, tasks: &Tasks, stop: &Stop) {
        for pipeline in store::names_in(&self.folder) {
            self.open(&pipeline, DeadLetterSettings::default(), tasks, stop);
        }
    }

    /// The dead letters of `pipeline`, if it ever had some.
    pub fn get(&self, pipeline: &str) -> Option<Arc<Letters>> {
        self.lock().get(pipeline).cloned()
    }

    /// The dead letters of all pipelines, by name.
    pub fn all(&self) -> Vec<Arc<Letters>> {
        self.lock().values().cloned().collect()
    }

    /// Resolves once every event that was refused before this call is settled.
    pub async fn settled(&self) {
        for letters in self.all() {
            letters.settled().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Letters>>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
