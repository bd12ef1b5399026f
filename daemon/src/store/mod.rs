//! What must survive the process: journals of records, each in one database file.
//!
//! Records go in through [`Journal::append`], which answers after they are on the disk, and come
//! back through [`Journal::read`] until they are released, removed, or over the journal's bounds.
//! Each journal has a writer thread, the only one that touches its file: everything that waits
//! for it goes into one transaction with one fsync. A disk that fails costs the appends it
//! failed, never the journal: the writer opens the file again until it can.

mod disk;
mod error;
mod file;
mod frame;
mod journal;
mod queue;
mod settings;
mod writer;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use journal::{Appending, Journal};
pub use settings::{
    Dropped, JournalSettings, JournalState, JournalStats, Record, Stored, WhenFull,
};
