//! Small durable state of one owner: values by key, with expiry and a quota.
//!
//! All of it is in memory, so that asking never waits for the disk; a thread of its own writes
//! what changed, twice a second at most and once more at the end. A crash therefore forgets the
//! changes of the last half second, never older ones. A disk that fails costs durability alone:
//! the writer tries again until it has written everything.

mod entries;
mod file;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

use self::entries::Entries;
pub use self::entries::Undo;
use self::file::StateFile;
use super::error::StoreError;
use crate::tasks::Tasks;
use crate::units::now_micros;

/// Longest key.
const KEY_MAX: usize = 1 << 10;

/// Longest value.
const VALUE_MAX: usize = 256 << 10;

/// How long a file that cannot be read is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How long the end waits for what has not been written yet.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Why a value cannot be read or kept; in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// It does not fit beside what is kept.
    #[error("the state holds as much as it may ({0} bytes)")]
    Full(usize),
    /// The key is too long, or is empty.
    #[error("a key has between 1 and {KEY_MAX} bytes, not {0}")]
    Key(usize),
    /// The value is too long.
    #[error("a value has at most {VALUE_MAX} bytes, not {0}")]
    Value(usize),
    /// What is there is no number, or the sum is too large for one.
    #[error("the value at that key is no number to add to")]
    NoNumber,
    /// What was kept has not been read.
    #[error("the state cannot be read: {0}")]
    Closed(String),
}

/// The state of one owner. Dropping the last one waits until everything is written.
#[derive(Debug)]
pub struct State {
    shared: Arc<Shared>,
}

/// What those who ask and the writer share.
#[derive(Debug)]
struct Shared {
    /// `None` keeps nothing.
    path: Option<PathBuf>,
    /// Touched by the worker thread that asks and, briefly, by the writer, hence a std mutex.
    inner: Mutex<Inner>,
    /// Tells the writer of the first change and of the end, and the end that it is done.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Entries,
    stage: Stage,
    /// When a file that cannot be read is tried again.
    retry_at: Option<Instant>,
    is_closing: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing has been read.
    #[default]
    Unopened,
    /// It cannot be read, and why.
    Failed(String),
    /// The writer works, where there is a file.
    Open,
    /// The writer has ended.
    Done,
}

impl State {
    /// The state in the file at `path`, which is made if it is missing. Does no I/O.
    pub fn new(path: PathBuf) -> Self {
        Self::with(Some(path), Stage::Unopened)
    }

    /// State that nothing outlives; it is open from the start.
    pub fn volatile() -> Self {
        Self::with(None, Stage::Open)
    }

    fn with(path: Option<PathBuf>, stage: Stage) -> Self {
        let inner = Mutex::new(Inner { stage, ..Inner::default() });
        Self { shared: Arc::new(Shared { path, inner, changed: Condvar::new() }) }
    }

    /// Reads what was kept, unless that was done before. Blocks for as long as that takes.
    ///
    /// # Errors
    /// If it cannot be read; the next call tries again.
    pub fn open(&self) -> Result<(), StoreError> {
        let mut inner = self.shared.lock();
        let Some(path) = &self.shared.path else { return Ok(()) };
        if inner.stage == Stage::Open {
            return Ok(());
        }
        let is_first = inner.stage == Stage::Unopened;
        match &inner.stage {
            Stage::Failed(why) if inner.retry_at.is_some_and(|at| Instant::now() < at) => {
                return Err(StoreError::Disk(why.clone()));
            }
            _ => inner.retry_at = Some(Instant::now() + RETRY),
        }
        let opened = StateFile::open(path).and_then(|(file, entries)| {
            let shared = Arc::clone(&self.shared);
            let name = "weir-state".to_owned();
            let work = move || writer::run(&shared, file);
            Tasks::default().thread(name, work).map_err(|it| StoreError::Disk(it.to_string()))?;
            Ok(entries)
        });
        match opened {
            Ok(entries) => {
                inner.entries = entries;
                inner.stage = Stage::Open;
                Ok(())
            }
            Err(error) => {
                if is_first {
                    warn!(path = %path.display(), %error, "state cannot be read; trying again");
                }
                inner.stage = Stage::Failed(error.to_string());
                Err(error)
            }
        }
    }

    /// The value of `key`, if there is one that has not expired.
    ///
    /// # Errors
    /// If the state is not open.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        let inner = self.shared.opened()?;
        Ok(inner.entries.get(key, now_ms()).map(<[u8]>::to_vec))
    }

    /// Sets the value of `key`, for `ttl` milliseconds or for ever, in a state of `max` bytes, and
    /// notes in `undo` how it was.
    ///
    /// # Errors
    /// If it does not fit, or the state is not open.
    pub fn set(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<u64>,
        (max, undo): (usize, &mut Undo),
    ) -> Result<(), StateError> {
        check(key, value)?;
        let now = now_ms();
        let expires = ttl.map_or(0, |ttl| now.saturating_add(ttl.max(1)));
        self.change(|entries| {
            entries.note(key, undo);
            entries.set(key, (value, expires), now, max)
        })
    }

    /// Forgets `key`, and notes in `undo` how it was.
    ///
    /// # Errors
    /// If the state is not open.
    pub fn delete(&self, key: &str, undo: &mut Undo) -> Result<(), StateError> {
        self.change(|entries| {
            entries.note(key, undo);
            entries.delete(key);
            Ok(())
        })
    }

    /// Puts back how values were before the changes of a run that came to nothing.
    pub fn undo(&self, undo: &mut Undo) {
        // If it is not open nothing was changed.
        drop(self.change(|entries| {
            entries.undo(undo);
            Ok(())
        }));
    }

    /// Adds `by` to the number at `key` and returns the sum. A number starts at 0 where there is
    /// none, and then expires after `ttl` milliseconds.
    ///
    /// # Errors
    /// If what is there is no number, it does not fit, or the state is not open.
    pub fn increment(
        &self,
        key: &str,
        by: i64,
        ttl: Option<u64>,
        (max, undo): (usize, &mut Undo),
    ) -> Result<i64, StateError> {
        check(key, &[])?;
        let now = now_ms();
        self.change(|entries| {
            let (number, expires) = match entries.expiring(key, now) {
                Some((value, expires)) => {
                    let number = value.try_into().map_err(|_long| StateError::NoNumber)?;
                    (i64::from_le_bytes(number), expires)
                }
                None => (0, ttl.map_or(0, |ttl| now.saturating_add(ttl.max(1)))),
            };
            let sum = number.checked_add(by).ok_or(StateError::NoNumber)?;
            entries.note(key, undo);
            entries.set(key, (&sum.to_le_bytes(), expires), now, max)?;
            Ok(sum)
        })
    }

    /// How many values there are and the bytes that count against the quota.
    pub fn usage(&self) -> (usize, usize) {
        let inner = self.shared.lock();
        (inner.entries.len(), inner.entries.bytes())
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Entries) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut inner = self.shared.opened()?;
        let was_clean = inner.entries.is_clean();
        let done = change(&mut inner.entries);
        if was_clean && !inner.entries.is_clean() {
            self.shared.changed.notify_all();
        }
        done
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        if self.shared.path.is_none() || inner.stage != Stage::Open {
            return;
        }
        inner.is_closing = true;
        self.shared.changed.notify_all();
        let is_busy = |inner: &mut Inner| inner.stage != Stage::Done;
        drop(self.shared.changed.wait_timeout_while(inner, CLOSE_MAX, is_busy));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> Result<MutexGuard<'_, Inner>, StateError> {
        let mut inner = self.lock();
        match &inner.stage {
            Stage::Open => {}
            Stage::Failed(why) => return Err(StateError::Closed(why.clone())),
            Stage::Unopened | Stage::Done => {
                let why = "it is offered to events only, not to `configure`";
                return Err(StateError::Closed(why.to_owned()));
            }
        }
        if self.path.is_none() {
            inner.entries.forget_changes();
        }
        Ok(inner)
    }
}

fn check(key: &str, value: &[u8]) -> Result<(), StateError> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(StateError::Key(key.len()));
    }
    if value.len() > VALUE_MAX {
        return Err(StateError::Value(value.len()));
    }
    Ok(())
}

fn now_ms() -> u64 {
    now_micros() / 1_000
}
