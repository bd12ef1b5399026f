//! The handle of a journal, for whoever appends and reads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::error::StoreError;
use super::queue::{Ask, Shared, Waiting};
use super::settings::{JournalSettings, JournalState, JournalStats, Record, Stored};
use super::writer;
use crate::tasks::Tasks;

/// A journal; cloning it names the same one. It closes when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

/// Closes the journal when the last handle goes. The writer thread holds `shared` as well.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// An append under way; resolves to the sequence number of the record's first event once it is
/// on the disk. Dropping it does not take the append back.
#[derive(Debug)]
pub struct Appending(Result<oneshot::Receiver<Result<u64, StoreError>>, StoreError>);

impl Future for Appending {
    type Output = Result<u64, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(reply) => {
                let reply = ready!(Pin::new(reply).poll(cx));
                Poll::Ready(reply.unwrap_or(Err(StoreError::Closed)))
            }
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

impl Journal {
    /// A journal that does nothing until it is started; no I/O happens here.
    pub fn new(settings: JournalSettings) -> Self {
        Self { handle: Arc::new(Handle { shared: Arc::new(Shared::new(settings)) }) }
    }

    /// Opens the file and starts to write, on a thread that is a member of `tasks`. What was
    /// appended before waits for it. Starting twice is starting once.
    pub fn start(&self, tasks: &Tasks) {
        let shared = &self.handle.shared;
        if !shared.set_started() {
            return;
        }
        let writer = Arc::clone(shared);
        let spawned = tasks.thread("weir-journal".to_owned(), move || writer::run(&writer));
        if let Err(error) = spawned {
            let reason = format!("the system gives no thread: {error}");
            shared.report(|stats| stats.state = JournalState::Failed(reason));
            shared.clear_started();
        }
    }

    /// Changes the bounds; those already held that break them go with the next commit.
    pub fn adjust(&self, settings: JournalSettings) {
        self.handle.shared.adjust(settings);
    }

    /// Submits `record`; records are stored in the order of these calls.
    pub fn append(&self, record: Record) -> Appending {
        let (reply, answer) = oneshot::channel();
        let submitted = self.handle.shared.submit(Waiting { record, reply });
        Appending(submitted.map(|()| answer))
    }

    /// Reads records in order from the one that holds event `from`, up to `bytes_max` in all but
    /// one at least. Damaged records are skipped and counted.
    ///
    /// # Errors
    /// If the file cannot be read now.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read(&self, from: u64, bytes_max: usize) -> Result<Vec<Stored>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.handle.shared.ask(Ask::Read { from, bytes_max, reply })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Says that the events before `before` are done. Goes to the disk with the next commit; a
    /// crash before it brings them back.
    pub fn release(&self, before: u64) {
        self.handle.shared.release(before);
    }

    /// Removes the records with these sequence numbers; answers how many events they held.
    ///
    /// # Errors
    /// If the file cannot be written now.
    pub async fn remove(&self, seqs: Vec<u64>) -> Result<usize, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.handle.shared.ask(Ask::Remove { seqs, reply })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// How the journal fares.
    pub fn stats(&self) -> JournalStats {
        self.handle.shared.stats()
    }

    /// The bounds and the place.
    pub fn settings(&self) -> JournalSettings {
        self.handle.shared.settings()
    }

    /// The next sequence number as it grows, for those who follow; 0 until the file is open.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.handle.shared.appended()
    }

    /// Resolves once the file has been opened and its stats are known, at most after `limit`.
    ///
    /// # Errors
    /// If it could not be opened by then.
    pub async fn ready(&self, limit: Duration) -> Result<JournalStats, StoreError> {
        let mut appended = self.appended();
        let opened = tokio::time::timeout(limit, appended.wait_for(|next| *next > 0)).await;
        let stats = self.stats();
        match (opened, &stats.state) {
            (Ok(Ok(_)), _) => Ok(stats),
            (_, JournalState::Failed(reason)) => Err(StoreError::Disk(reason.clone())),
            _ => Err(StoreError::Busy),
        }
    }

    /// Finishes what waits, then closes the file. Appends are refused from now on.
    pub fn close(&self) {
        self.handle.shared.close();
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> Arc<super::disk::Watch> {
        Arc::clone(&self.handle.shared.disk)
    }
}
