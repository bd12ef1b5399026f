//! A durable queue in one file: records go in with one fsync per group, come out in order.
//!
//! One thread writes. Everything that waits for it goes into one transaction, so the disk sets
//! the size of a group and no timer does. A record has the number of its first event as its key;
//! numbers never go back. After an I/O error the file is opened anew, until that works.

mod file;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::Database;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use crate::tasks::Tasks;

/// Records that wait for the writer at most; more means that the disk does not keep up.
const WAITING_MAX: usize = 8192;

/// What happens to a record that does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Reject,
    /// The oldest records make room.
    DropOldest,
    /// It waits until there is room.
    Block,
}

/// Where a journal is and how much it holds.
#[derive(Debug, Clone)]
pub(super) struct JournalSettings {
    pub(super) path: PathBuf,
    pub(super) bytes_max: u64,
    pub(super) age_max: Option<Duration>,
    pub(super) when_full: WhenFull,
}

/// What is kept: some events as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) events: u32,
    pub(super) bytes: Vec<u8>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The number of its first event.
    pub(super) seq: u64,
    pub(super) record: Record,
}

/// Why a journal does not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It holds as much as it may.
    #[error("the spool is full")]
    Full,
    /// More waits for the disk than may.
    #[error("the disk does not keep up")]
    Busy,
    /// The disk or the file fails.
    #[error("the disk fails: {0}")]
    Disk(Arc<str>),
}

/// A journal at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// The number of the oldest event that is kept.
    pub first: u64,
    /// The number that the next event gets.
    pub next: u64,
    /// Bytes of the records that are kept.
    pub bytes: u64,
    /// How long the oldest has been there, in milliseconds.
    pub oldest_ms: u64,
    /// Events written since the daemon started.
    pub appended: u64,
    /// Events dropped to make room.
    pub dropped_full: u64,
    /// Events dropped because of their age.
    pub dropped_expired: u64,
    /// Events that could not be read.
    pub dropped_damaged: u64,
    /// Why nothing can be written, if so.
    pub trouble: Option<String>,
}

/// One file and its writer; cloning it names the same.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    /// Held by the journals alone: the writer ends when the last is gone.
    commands: SyncSender<Command>,
}

#[derive(Debug)]
struct Shared {
    /// Read and replaced in short sections, by threads and tasks, hence a std mutex.
    settings: Mutex<JournalSettings>,
    /// The open file, for readers.
    database: Mutex<Option<Arc<Database>>>,
    stats: watch::Sender<JournalStats>,
    /// When the oldest record was written, in microseconds since the epoch; 0 if there is none.
    oldest_at: AtomicU64,
    /// Events before this are done with.
    released: AtomicU64,
    /// The writer's end of the commands, until it starts.
    commands: Mutex<Option<Receiver<Command>>>,
    is_opened: AtomicBool,
}

impl Shared {
    fn settings(&self) -> JournalSettings {
        lock(&self.settings).clone()
    }
}

/// What the writer is asked.
#[derive(Debug)]
enum Command {
    Append(Append),
}

#[derive(Debug)]
struct Append {
    record: Record,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

impl Journal {
    pub(super) fn new(settings: JournalSettings) -> Self {
        let (commands, receiver) = sync_channel(WAITING_MAX);
        let shared = Shared {
            settings: Mutex::new(settings),
            database: Mutex::default(),
            stats: watch::Sender::default(),
            oldest_at: AtomicU64::new(0),
            released: AtomicU64::new(0),
            commands: Mutex::new(Some(receiver)),
            is_opened: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), commands }
    }

    /// Changes how much it holds.
    pub(super) fn limit(&self, bytes_max: u64, age_max: Option<Duration>, when_full: WhenFull) {
        let mut settings = lock(&self.shared.settings);
        settings.bytes_max = bytes_max;
        settings.age_max = age_max;
        settings.when_full = when_full;
    }

    /// Starts the writer, unless it runs already.
    pub(super) fn start(&self, tasks: &Tasks) {
        let Some(commands) = lock(&self.shared.commands).take() else { return };
        let shared = Arc::clone(&self.shared);
        let work = move || writer::run(&shared, &commands);
        if let Err(error) = tasks.thread("weir-spool".to_owned(), work) {
            // Its end of the commands is gone with it, so every append tells.
            tracing::error!(%error, "no thread for a spool");
        }
    }

    /// Writes `record` after all that were appended before; resolves with its number after the
    /// fsync.
    pub(super) fn append(
        &self,
        record: Record,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.try_send(Command::Append(Append { record, answer }));
        async move {
            let gone = || StoreError::Disk("the writer is gone".into());
            match sent {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(gone())),
                Err(TrySendError::Full(_)) => Err(StoreError::Busy),
                Err(TrySendError::Disconnected(_)) => Err(gone()),
            }
        }
    }

    /// The records from the event `from` on, at least one if there is one, about `bytes_max`.
    pub(super) async fn read(
        &self,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let database = lock(&shared.database).clone();
            let closed = || StoreError::Disk("the file is not open".into());
            let (records, damaged) = file::read(&*database.ok_or_else(closed)?, from, bytes_max)?;
            if damaged > 0 {
                shared.stats.send_modify(|stats| stats.dropped_damaged += damaged);
            }
            Ok(records)
        };
        spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(StoreError::Disk(format!("the reader failed: {error}").into()))
        })
    }

    /// Events before `before` are done with; the file learns it with the next group.
    pub(super) fn release(&self, before: u64) {
        self.shared.released.fetch_max(before, Ordering::Relaxed);
    }

    /// Whether the file was opened once, so that its numbers are known.
    pub(super) fn is_opened(&self) -> bool {
        self.shared.is_opened.load(Ordering::Acquire)
    }

    /// Tells of every change of the stats.
    pub(super) fn watch(&self) -> watch::Receiver<JournalStats> {
        self.shared.stats.subscribe()
    }

    pub(super) fn stats(&self) -> JournalStats {
        let mut stats = self.shared.stats.borrow().clone();
        let released = self.shared.released.load(Ordering::Relaxed);
        stats.first = stats.first.max(released.min(stats.next));
        let oldest = self.shared.oldest_at.load(Ordering::Relaxed);
        if stats.first < stats.next && oldest > 0 {
            stats.oldest_ms = crate::units::now_micros().saturating_sub(oldest) / 1_000;
        }
        stats
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
