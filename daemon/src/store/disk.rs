//! The database's way to the disk: a file that counts its syncs and notes when one fails.
//!
//! After a failed sync the kernel may hold pages that it takes for clean and the disk does not
//! have; whoever opens the file next must not trust what it reads back.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// What the writer learns about its disk.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) fsyncs: AtomicU64,
    pub(super) sync_failed: AtomicBool,
    /// A write failed because the disk has no room.
    pub(super) is_full: AtomicBool,
    /// Makes writes fail, so that tests see what a broken disk does.
    #[cfg(test)]
    pub(super) fail_writes: AtomicBool,
    /// Makes syncs fail, so that tests see what a broken disk does.
    #[cfg(test)]
    pub(super) fail_syncs: AtomicBool,
    /// Makes writes beyond this place fail, as a full disk does; 0 for no limit.
    #[cfg(test)]
    pub(super) length_max: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Disk {
    file: FileBackend,
    watch: Arc<Watch>,
}

impl Disk {
    pub(super) fn new(file: File, watch: Arc<Watch>) -> Result<Self, DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, watch })
    }

    /// Notes whether `result` says that the disk is full.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                self.watch.is_full.store(true, Ordering::Relaxed);
            }
        })
    }

    #[cfg(test)]
    fn check(flag: &AtomicBool) -> io::Result<()> {
        if flag.load(Ordering::SeqCst) { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        Self::check(&self.watch.fail_writes)?;
        self.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.fsyncs.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        let synced = Self::check(&self.watch.fail_syncs).and_then(|()| self.file.sync_data());
        #[cfg(not(test))]
        let synced = self.file.sync_data();
        self.note(synced).inspect_err(|_| self.watch.sync_failed.store(true, Ordering::Relaxed))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        {
            Self::check(&self.watch.fail_writes)?;
            let length_max = self.watch.length_max.load(Ordering::SeqCst);
            if length_max > 0 && offset + data.len() as u64 > length_max {
                return self.note(Err(io::ErrorKind::StorageFull.into()));
            }
        }
        self.note(self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(from, to)
    }

    fn try_lock_shared_range(
        &self,
        from: Bound<u64>,
        to: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(from, to)
    }

    fn lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(from, to)
    }

    fn lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(from, to)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(from, to)
    }

    fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(from, to)
    }
}
