//! Spool files with events that no sink sends: of sinks that were renamed, removed or switched to
//! `spool = "none"`. They are mentioned and never deleted.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tracing::{debug, error};

use super::{FOLDER, file_name};
use crate::component::ComponentId;
use crate::store::{JournalStats, StoreError, Volume};

/// A file with events that nobody sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftFile {
    /// Where it is.
    pub file: PathBuf,
    /// Events in it.
    pub events: u64,
    /// Bytes that they take.
    pub bytes: u64,
}

/// What was found when somebody looked last.
#[derive(Debug, Default)]
pub struct LeftBehind {
    /// Replaced as a whole, never held across an await, hence a std mutex.
    files: Mutex<Vec<LeftFile>>,
}

impl LeftBehind {
    /// The files, by name.
    pub fn files(&self) -> Vec<LeftFile> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks below `data_dir` for files that are not of the sinks in `used`; reads from the disk.
    pub fn look(&self, data_dir: &Path, used: &BTreeSet<ComponentId>) {
        let used: BTreeSet<OsString> = used.iter().map(|id| file_name(id).into()).collect();
        let found = find(&data_dir.join(FOLDER), &used);
        let known = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *files, found.clone())
        };
        for LeftFile { file, events, bytes } in found.iter().filter(|file| !known.contains(file)) {
            let file = file.display();
            error!(%file, events, bytes, "events wait in a spool that no sink sends; declare its sink again, or move the file away");
        }
    }
}

fn find(folder: &Path, used: &BTreeSet<OsString>) -> Vec<LeftFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|name| !used.contains(name));
    let mut paths: Vec<_> = names.map(|name| folder.join(name)).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "redb"));
    paths.sort();
    let look = |file: PathBuf| match Volume::open(&file).map(|volume| volume.stats()) {
        Ok(JournalStats { events, bytes, .. }) => {
            (events > 0).then_some(LeftFile { file, events, bytes })
        }
        // A sink that is going or coming holds it.
        Err(StoreError::Locked(_)) => None,
        Err(error) => {
            debug!(file = %file.display(), %error, "cannot look into a spool");
            None
        }
    };
    paths.into_iter().filter_map(look).collect()
}
