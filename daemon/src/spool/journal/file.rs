//! The file of a journal: its tables, its records, and what to do with a file that is none.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use tracing::error;

use super::{Record, StoreError, Stored};
use crate::units::now_micros;

/// Records by the number of their first event.
pub(super) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// What holds for the whole file.
pub(super) const MARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("marks");
pub(super) const FIRST: &str = "first";
pub(super) const NEXT: &str = "next";
pub(super) const BYTES: &str = "bytes";

/// The version of a record's layout: version, checksum, time, events, bytes.
const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + 8 + 4;

/// What the database may keep in memory; it is written and read from end to end.
const CACHE: usize = 8 << 20;

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        Self::Disk(error.to_string().into())
    }
}

/// `record` as it lies in the file.
pub(super) fn seal(record: &Record, at: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + record.bytes.len());
    out.push(VERSION);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&record.events.to_le_bytes());
    out.extend_from_slice(&record.bytes);
    let checksum = crc32fast::hash(&out[5..]);
    out[1..5].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// When a record was written and how many events it says it has.
pub(super) fn head(sealed: &[u8]) -> Option<(u64, u32)> {
    let at = sealed.get(5..13)?.try_into().ok().map(u64::from_le_bytes)?;
    let events = sealed.get(13..17)?.try_into().ok().map(u32::from_le_bytes)?;
    Some((at, events))
}

/// The record in `sealed`, unless it is damaged.
pub(super) fn unseal(sealed: &[u8]) -> Option<Record> {
    let (_, events) = head(sealed)?;
    let checksum = sealed.get(1..5)?.try_into().ok().map(u32::from_le_bytes)?;
    let is_whole = sealed[0] == VERSION && crc32fast::hash(&sealed[5..]) == checksum;
    is_whole.then(|| Record { events, bytes: sealed[HEADER..].to_vec() })
}

/// The records from `from` on, and how many damaged ones were skipped.
pub(super) fn read(
    database: &Database,
    from: u64,
    bytes_max: usize,
) -> Result<(Vec<Stored>, u64), StoreError> {
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let (mut records, mut bytes, mut damaged) = (Vec::new(), 0, 0);
        for entry in table.range(from..)? {
            let (seq, sealed) = entry?;
            let Some(record) = unseal(sealed.value()) else {
                error!(seq = seq.value(), "a record of a spool is damaged and left out");
                damaged += 1;
                continue;
            };
            bytes += record.bytes.len();
            records.push(Stored { seq: seq.value(), record });
            if bytes >= bytes_max {
                break;
            }
        }
        Ok((records, damaged))
    };
    let panicked = || StoreError::Disk("the file is damaged".into());
    Ok(catch_unwind(AssertUnwindSafe(read)).map_err(|_| panicked())??)
}

/// Opens the file at `path`, or makes one. What is no journal is set aside, never lost.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError::Disk(error.to_string().into());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    let why = match attempt(path) {
        Ok(database) => return Ok(database),
        Err(Broken::Passing(why)) => return Err(failed(&why)),
        Err(Broken::Damaged(why)) => why,
    };
    let aside = path.with_extension(format!("redb.broken-{}", now_micros()));
    fs::rename(path, &aside).map_err(|error| failed(&error))?;
    error!(file = %path.display(), aside = %aside.display(), why, "a spool could not be read; it was set aside and a new one begun");
    attempt(path).map_err(|broken| match broken {
        Broken::Passing(why) | Broken::Damaged(why) => failed(&why),
    })
}

/// Why a file did not open.
enum Broken {
    /// It may open later: another process has it, or the disk is full.
    Passing(String),
    /// It never will.
    Damaged(String),
}

fn attempt(path: &Path) -> Result<Database, Broken> {
    let create = || -> Result<Database, redb::Error> {
        let database = Database::builder().set_cache_size(CACHE).create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(MARKS)?;
        transaction.commit()?;
        Ok(database)
    };
    let opened = catch_unwind(AssertUnwindSafe(create));
    let error = match opened {
        Ok(Ok(database)) => return Ok(database),
        Ok(Err(error)) => error,
        Err(_) => return Err(Broken::Damaged("it is damaged".to_owned())),
    };
    let words = error.to_string();
    Err(match error {
        redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            Broken::Passing(words)
        }
        redb::Error::DatabaseAlreadyOpen | redb::Error::PreviousIo => Broken::Passing(words),
        _ => Broken::Damaged(words),
    })
}
