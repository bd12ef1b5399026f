//! Journals that nobody writes: files of a daemon that does not run, opened to be looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StoreError;
use super::file::{Failure, Open, guarded};
use super::settings::{JournalState, JournalStats, Stored};

/// What the files of journals end with.
pub const EXTENSION: &str = "redb";

/// A journal's file, opened to be read. No daemon can use it meanwhile.
#[derive(Debug)]
pub struct Volume {
    open: Open,
}

impl Volume {
    /// Opens the file at `path`. What a crash left half done is undone; nothing else changes.
    ///
    /// # Errors
    /// If there is none, if a daemon has it open, or if it is no journal.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Disk(format!("there is no file `{}`", path.display())));
        }
        let opened = guarded(|| Open::new(path, &Arc::default(), 1));
        let open = opened.map_err(|failure| match failure {
            Failure::Locked => StoreError::Locked(path.display().to_string()),
            Failure::Broken(reason) | Failure::Disk(reason) => StoreError::Disk(reason),
        })?;
        Ok(Self { open })
    }

    /// What the journal holds.
    pub fn stats(&self) -> JournalStats {
        let marks = self.open.marks;
        JournalStats {
            first: marks.first,
            next: marks.next,
            events: marks.events,
            bytes: marks.bytes,
            epoch: marks.epoch,
            state: JournalState::Closed,
            ..JournalStats::default()
        }
    }

    /// Reads records in order from the one that holds event `from`, up to `bytes_max` in all but
    /// one at least. Damaged records are left out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, from: u64, bytes_max: usize) -> Result<Vec<Stored>, StoreError> {
        let found =
            guarded(|| self.open.read(from, bytes_max)).map_err(|failure| match failure {
                Failure::Broken(reason) | Failure::Disk(reason) => StoreError::Disk(reason),
                Failure::Locked => StoreError::Closed,
            })?;
        Ok(found.records)
    }
}

/// The names of the journals in `folder`, which need not be there.
pub fn names_in(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path());
    let journals = paths.filter(|path| path.extension().is_some_and(|end| end == EXTENSION));
    journals.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

/// The files of the journals in these `folders` of the data directory, by name: `logs/shop.log`
/// is in `logs/shop.log.redb`.
pub fn files(data_dir: &Path, folders: &[&str]) -> Vec<(String, PathBuf)> {
    let in_folder = |folder: &&str| {
        let names = names_in(&data_dir.join(folder)).into_iter();
        names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    let names = folders.iter().flat_map(in_folder);
    let named = names.map(|name| {
        let path = data_dir.join(format!("{name}.{EXTENSION}"));
        (name, path)
    });
    let mut files: Vec<_> = named.collect();
    files.sort();
    files
}
