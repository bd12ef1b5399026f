//! What a journal's handles and its writer thread share: the queue, the bounds, the stats.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::disk::Watch;
use super::error::StoreError;
use super::frame;
use super::settings::{JournalSettings, JournalState, JournalStats, Record, Stored, WhenFull};

/// Records that may wait for the writer: more than a commit takes at full load.
const RECORDS_MAX: usize = 8_192;
/// Bytes that may wait for the writer, unless it is a single record.
const BYTES_MAX: u64 = 32 << 20;
/// Releases that are written without waiting for a commit: a crash brings back no more than that.
const RELEASES_MAX: u64 = 1_024;
/// Reads and removals that may wait.
const ASKS_MAX: usize = 64;

/// A record and whoever waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: Record,
    pub(super) reply: oneshot::Sender<Result<u64, StoreError>>,
}

/// What else the writer is asked. The handle holds the other end of `reply`.
#[derive(Debug)]
pub(super) enum Ask {
    Read { from: u64, bytes_max: usize, reply: oneshot::Sender<Result<Vec<Stored>, StoreError>> },
    Remove { seqs: Vec<u64>, reply: oneshot::Sender<Result<usize, StoreError>> },
}

/// What the writer does next.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) appends: Vec<Waiting>,
    pub(super) asks: Vec<Ask>,
    /// The low-water mark asked for.
    pub(super) release: u64,
    pub(super) is_closed: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// Held for a push or a take, by async tasks and the writer thread, hence a std mutex.
    queue: Mutex<Queue>,
    work: Condvar,
    /// Read by whoever looks, written once a commit, hence a std mutex.
    stats: Mutex<JournalStats>,
    next: watch::Sender<u64>,
    pub(super) disk: Arc<Watch>,
}

#[derive(Debug)]
struct Queue {
    settings: JournalSettings,
    appends: VecDeque<Waiting>,
    bytes: u64,
    asks: VecDeque<Ask>,
    release: u64,
    /// The release that the writer was told last.
    released: u64,
    is_started: bool,
    is_closed: bool,
}

impl Shared {
    pub(super) fn new(settings: JournalSettings) -> Self {
        let queue = Queue {
            settings,
            appends: VecDeque::new(),
            bytes: 0,
            asks: VecDeque::new(),
            release: 0,
            released: 0,
            is_started: false,
            is_closed: false,
        };
        Self {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            stats: Mutex::default(),
            next: watch::Sender::new(0),
            disk: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whether it had not been started.
    pub(super) fn set_started(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_started, true)
    }

    pub(super) fn clear_started(&self) {
        self.lock().is_started = false;
    }

    pub(super) fn adjust(&self, settings: JournalSettings) {
        self.lock().settings = settings;
        self.work.notify_one();
    }

    pub(super) fn settings(&self) -> JournalSettings {
        self.lock().settings.clone()
    }

    pub(super) fn submit(&self, waiting: Waiting) -> Result<(), StoreError> {
        let mut queue = self.lock();
        let size = frame::size(&waiting.record);
        if queue.is_closed {
            return Err(StoreError::Closed);
        }
        if size > queue.settings.bytes_max {
            return Err(StoreError::TooLarge(size));
        }
        let is_full = queue.appends.len() >= RECORDS_MAX || queue.bytes + size > BYTES_MAX;
        if is_full && !queue.appends.is_empty() {
            return Err(StoreError::Busy);
        }
        queue.bytes += size;
        queue.appends.push_back(waiting);
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    pub(super) fn ask(&self, ask: Ask) -> Result<(), StoreError> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(StoreError::Closed);
        }
        if queue.asks.len() >= ASKS_MAX {
            return Err(StoreError::Busy);
        }
        queue.asks.push_back(ask);
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    pub(super) fn release(&self, before: u64) {
        let mut queue = self.lock();
        queue.release = queue.release.max(before);
        // Otherwise it waits for the next commit, so that many releases cost one.
        if !queue.appends.is_empty() || queue.is_release_urgent() {
            self.work.notify_one();
        }
    }

    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.is_closed = true;
        if !queue.is_started {
            queue.appends.clear();
            queue.asks.clear();
        }
        drop(queue);
        self.work.notify_one();
    }

    /// All that waits, once something does, or nothing after `limit`. `bytes` is what the journal
    /// holds and `first` its low-water mark.
    pub(super) fn take(&self, bytes: u64, first: u64, limit: Duration) -> Work {
        let is_idle = |queue: &mut Queue| {
            let is_blocked = queue.is_blocked(bytes);
            let nothing = (queue.appends.is_empty() || is_blocked) && queue.asks.is_empty();
            let is_wanted = is_blocked && queue.release > first;
            nothing && !is_wanted && !queue.is_release_urgent() && !queue.is_closed
        };
        let mut queue = self.lock();
        if is_idle(&mut queue) {
            let woken = self.work.wait_timeout(queue, limit);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.released = queue.released.max(queue.release).max(first);
        let mut work =
            Work { release: queue.release, is_closed: queue.is_closed, ..Work::default() };
        let mut room = bytes;
        while !queue.appends.is_empty() && !queue.is_blocked(room) {
            let waiting = queue.appends.pop_front().expect("it is not empty");
            let size = frame::size(&waiting.record);
            queue.bytes -= size;
            room += size;
            work.appends.push(waiting);
        }
        if queue.is_closed {
            // Nobody releases any more; what is still blocked is refused by its dropped reply.
            queue.appends.clear();
            queue.bytes = 0;
        }
        work.asks.extend(queue.asks.drain(..));
        work
    }

    pub(super) fn stats(&self) -> JournalStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn report(&self, change: impl FnOnce(&mut JournalStats)) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stats);
        stats.fsyncs = self.disk.fsyncs.load(Ordering::Relaxed);
        let is_open = matches!(stats.state, JournalState::Ready);
        let next = stats.next;
        drop(stats);
        if is_open {
            self.next.send_if_modified(|known| std::mem::replace(known, next) != next);
        }
    }

    pub(super) fn appended(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }
}

impl Queue {
    fn is_release_urgent(&self) -> bool {
        self.release >= self.released + RELEASES_MAX
    }

    /// Whether the first append must wait for a release while the journal holds `bytes`.
    fn is_blocked(&self, bytes: u64) -> bool {
        let first = self.appends.front().map_or(0, |waiting| frame::size(&waiting.record));
        self.settings.when_full == WhenFull::Block && bytes + first > self.settings.bytes_max
    }
}
