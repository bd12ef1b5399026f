//! The file of a state: one table of values, each behind the time at which it expires.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};
use tracing::error;

use super::super::disk::{Disk, Watch};
use super::super::error::StoreError;
use super::super::file::{Failure, guarded, rewrite, set_aside, sync_dir};
use super::entries::{Changes, Entries};

const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// Pages kept in memory: the values are there anyway.
const CACHE: usize = 1 << 20;

/// Bytes in front of a value: when it expires.
const HEAD: usize = 8;

#[derive(Debug)]
pub(super) struct StateFile {
    database: Database,
}

impl StateFile {
    /// Opens or makes the file; answers what it holds. One that is damaged is set aside.
    pub(super) fn open(path: &Path) -> Result<(Self, Entries), StoreError> {
        let opened = match guarded(|| Self::read(path)) {
            Err(Failure::Broken(reason)) => {
                let aside = set_aside(path).map_err(|it| StoreError::Disk(it.to_string()))?;
                let (shown, aside) = (path.display(), aside.display());
                error!(path = %shown, %aside, reason, "state cannot be read; set it aside and begin anew");
                guarded(|| Self::read(path))
            }
            opened => opened,
        };
        opened.map_err(|failure| match failure {
            Failure::Locked => StoreError::Locked(path.display().to_string()),
            Failure::Broken(reason) | Failure::Disk(reason) => StoreError::Disk(reason),
        })
    }

    /// Opens the file after it failed, when nothing in it counts any more.
    pub(super) fn reopen(path: &Path) -> Result<Self, String> {
        // A failed sync may have left in memory what the disk does not have.
        rewrite(path).map_err(|error| error.to_string())?;
        Self::open(path).map(|(file, _)| file).map_err(|error| error.to_string())
    }

    fn read(path: &Path) -> Result<(Self, Entries), Failure> {
        let on_disk = |error: std::io::Error| Failure::Disk(error.to_string());
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(on_disk)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let disk = Disk::new(file.map_err(on_disk)?, Arc::<Watch>::default());
        let mut builder = Database::builder();
        let builder = builder.set_cache_size(CACHE);
        let database =
            builder.create_with_backend(disk.map_err(Failure::of)?).map_err(Failure::of)?;
        sync_dir(dir).map_err(on_disk)?;
        let mut entries = Entries::default();
        let transaction = database.begin_write().map_err(Failure::of)?;
        {
            let table = transaction.open_table(VALUES).map_err(Failure::of)?;
            for row in table.iter().map_err(Failure::of)? {
                let (key, value) = row.map_err(Failure::of)?;
                let Some((head, value)) = value.value().split_first_chunk::<HEAD>() else {
                    return Err(Failure::Broken("a value is cut".to_owned()));
                };
                let expires = u64::from_le_bytes(*head);
                // What has expired meanwhile is taken in too: it goes with the first change.
                entries.load(key.value(), value, expires);
            }
        }
        transaction.commit().map_err(Failure::of)?;
        Ok((Self { database }, entries))
    }

    /// Writes `changes` as one transaction with one sync.
    pub(super) fn write(&self, changes: &Changes) -> Result<(), String> {
        let written = guarded(|| {
            let transaction = self.database.begin_write().map_err(Failure::of)?;
            {
                let mut table = transaction.open_table(VALUES).map_err(Failure::of)?;
                if changes.is_all {
                    table.retain(|_, _| false).map_err(Failure::of)?;
                }
                let mut row = Vec::new();
                for (key, value) in &changes.keys {
                    let Some((expires, value)) = value else {
                        table.remove(&**key).map_err(Failure::of)?;
                        continue;
                    };
                    row.clear();
                    row.extend_from_slice(&expires.to_le_bytes());
                    row.extend_from_slice(value);
                    table.insert(&**key, row.as_slice()).map_err(Failure::of)?;
                }
            }
            transaction.commit().map_err(Failure::of)
        });
        written.map_err(|failure| match failure {
            Failure::Locked => "it is locked".to_owned(),
            Failure::Broken(reason) | Failure::Disk(reason) => reason,
        })
    }
}
