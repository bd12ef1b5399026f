//! What a journal is told and what it tells: bounds, records, counts.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to a record that does not fit into a journal's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// The record is refused.
    #[default]
    Reject,
    /// The oldest records go; they are counted.
    DropOldest,
    /// The record waits until others are released.
    Block,
}

/// Where a journal is and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// The database file; its directory is made if it is missing.
    pub path: PathBuf,
    /// Bytes of records. The file may be larger: freed pages are reused before it shrinks.
    pub bytes_max: u64,
    /// How long a record is kept; `None` means until it is released.
    pub age_max: Option<Duration>,
    /// What happens to a record that does not fit.
    pub when_full: WhenFull,
}

/// What is appended. The key of a record is the sequence number of its first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How many events it holds; each has a sequence number. 0 counts as 1.
    pub events: u32,
    /// What it holds, opaque to the journal.
    pub bytes: Vec<u8>,
}

/// A record as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The sequence number of its first event.
    pub seq: u64,
    /// When it was stored, in microseconds since the Unix epoch.
    pub at: u64,
    /// The record.
    pub record: Record,
}

/// Events that a journal gave up, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The journal was full and drops its oldest.
    pub full: u64,
    /// They were older than the journal keeps them.
    pub age: u64,
    /// Their checksum is wrong.
    pub damaged: u64,
}

/// How a journal fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// Its file has not been opened yet.
    #[default]
    Opening,
    /// It takes records.
    Ready,
    /// It does not, for this reason, and tries again by itself.
    Failed(String),
    /// It has been closed.
    Closed,
}

/// A journal at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalStats {
    /// The low-water mark: events before it are done.
    pub first: u64,
    /// The sequence number of the next event.
    pub next: u64,
    /// Events held.
    pub events: u64,
    /// Bytes of the records held.
    pub bytes: u64,
    /// When the oldest record held was stored, in microseconds since the Unix epoch; 0 without one.
    pub oldest_at: u64,
    /// Tells one file from another that replaced it; drawn by chance when a file is begun.
    pub epoch: u64,
    /// Events stored by this process.
    pub appended: u64,
    /// Events given up by this process.
    pub dropped: Dropped,
    /// Times that the file was synced.
    pub fsyncs: u64,
    /// Times that the disk failed.
    pub failures: u64,
    /// Files that were set aside because they could not be read.
    pub set_aside: u64,
    /// How it fares.
    pub state: JournalState,
}
