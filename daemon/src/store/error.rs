//! Why a journal did not do what it was asked.

use thiserror::Error;

/// Why a record was not stored or could not be read. Nothing false was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The record does not fit beside what is held.
    #[error("the journal holds as much as it may ({0} bytes)")]
    Full(u64),
    /// The record is larger than the journal may be; it never fits.
    #[error("a record of {0} bytes is larger than the journal may be; allow it more bytes")]
    TooLarge(u64),
    /// More waits for the writer than may.
    #[error("too much waits for the disk")]
    Busy,
    /// Another process has the file open.
    #[error("`{0}` is open in another process; stop that one or give this one another data_dir")]
    Locked(String),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// The journal has been closed.
    #[error("the journal is closed")]
    Closed,
}

impl StoreError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::TooLarge(_))
    }
}
