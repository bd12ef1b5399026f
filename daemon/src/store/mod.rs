//! What must survive the process: journals of records, each in one database file.
//!
//! Records go in through [`Journal::append`], which answers after they are on the disk, and come
//! back through [`Journal::read`] until they are released, removed, or over the journal's bounds.
//! Each journal has a writer thread, the only one that touches its file: everything that waits
//! for it goes into one transaction with one fsync. A disk that fails costs the appends it
//! failed, never the journal: the writer opens the file again until it can. On a full disk nothing
//! goes in, and what is there can still be read and taken out.
//!
//! [`State`] is the other kind: values by key, in memory, written behind.
//! [`write_whole`] is for what is written once, at the end.

mod disk;
mod error;
mod file;
mod frame;
mod journal;
mod lines;
mod queue;
mod reserve;
mod settings;
mod shelf;
mod state;
mod whole;
mod writer;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use journal::{Appending, Journal};
pub use lines::write_lines;
pub use settings::{
    Dropped, JournalSettings, JournalState, JournalStats, Record, Stored, WhenFull,
};
pub use shelf::{EXTENSION, Volume, files, names_in};
pub use state::{State, StateError, Undo};
pub use whole::{read_whole, write_whole};
