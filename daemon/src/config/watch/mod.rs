//! Tells when files changed: the pipelines, the plugins, `weir.toml`, what files refer to.
//!
//! Directories are watched rather than files, so that an editor's rename or a swapped link is
//! seen. What counts is content: a burst of events, or a `touch`, is one look at the files, and
//! only if that finds something new is [`Watcher::changed`] told. Where the system cannot watch,
//! the files are looked at every two seconds.

mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use self::files::Look;
pub use self::files::Watched;
use crate::tasks::Tasks;

/// How long nothing must happen before the files are looked at; a save is over by then.
const QUIET: Duration = Duration::from_millis(200);

/// How long a burst of changes may put off the look.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the files are looked at where the system cannot watch them.
const POLL: Duration = Duration::from_secs(2);

/// Watches files for as long as it lives.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    waker: SyncSender<()>,
}

/// What the watcher and its thread share.
#[derive(Debug, Default)]
struct Shared {
    changed: Notify,
    is_over: AtomicBool,
    /// Files beside those given at the start. Held for a copy only, hence a std mutex.
    also: Mutex<BTreeSet<PathBuf>>,
}

impl Watcher {
    /// Watches `watched` on a thread of its own; whatever changes from now on is told.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn new(watched: Watched) -> io::Result<Self> {
        Self::on(watched, &Tasks::default())
    }

    fn on(watched: Watched, tasks: &Tasks) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        // One place is enough: a waker that finds it taken has nothing to add.
        let (waker, woken) = sync_channel(1);
        let mut eyes = Eyes::new(watched, Arc::clone(&shared), waker.clone());
        eyes.renew();
        eyes.look();
        tasks.thread("weir-watch".to_owned(), move || eyes.watch(&woken))?;
        Ok(Self { shared, waker })
    }

    /// Watches `files` too, in place of those given here before.
    pub fn watch_also(&self, files: BTreeSet<PathBuf>) {
        *self.shared.also.lock().unwrap_or_else(PoisonError::into_inner) = files;
        wake(&self.waker);
    }

    /// Resolves once something changed since it resolved the last time.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&mut self) {
        self.shared.changed.notified().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        wake(&self.waker);
    }
}

/// What the thread of a watcher works with.
struct Eyes {
    watched: Watched,
    shared: Arc<Shared>,
    system: Option<RecommendedWatcher>,
    /// The directories that the system watches, each as it was then.
    dirs: BTreeMap<PathBuf, (u64, u64)>,
    is_blind: bool,
    look: Look,
    /// The files of `shared.also` that are part of the last look.
    also: BTreeSet<PathBuf>,
}

impl Eyes {
    fn new(watched: Watched, shared: Arc<Shared>, waker: SyncSender<()>) -> Self {
        let system = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                wake(&waker);
            }
        });
        let system = system
            .inspect_err(|error| warn!(%error, "files cannot be watched; looking every 2 s"))
            .ok();
        Self {
            watched,
            shared,
            is_blind: system.is_none(),
            system,
            dirs: BTreeMap::new(),
            look: Look::default(),
            also: BTreeSet::new(),
        }
    }

    /// Works until the watcher is dropped.
    fn watch(mut self, woken: &Receiver<()>) {
        loop {
            let waited = if self.is_blind {
                woken.recv_timeout(POLL)
            } else {
                woken.recv().map_err(RecvTimeoutError::from)
            };
            if waited == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            if waited.is_ok() {
                // As they were read just now: what changes while it is waited is a change.
                self.take_also();
                self.wait_for_quiet(woken);
            }
            if self.shared.is_over.load(Ordering::Relaxed) {
                return;
            }
            self.take_also();
            // First the directories, then the files: what changes in between is looked at again.
            self.renew();
            if self.look() {
                self.shared.changed.notify_one();
            }
        }
    }

    fn wait_for_quiet(&self, woken: &Receiver<()>) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || woken.recv_timeout(QUIET.min(left)).is_err() {
                return;
            }
        }
    }

    /// Looks at the files; answers whether something changed.
    fn look(&mut self) -> bool {
        let look = self.look.again(&self.watched, &self.also);
        let is_new = look != self.look;
        self.look = look;
        is_new
    }

    /// Takes over the files to watch too. To be watched for the first time is no change.
    fn take_also(&mut self) {
        let also = self.shared.also.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.look.expect(&self.also, &also);
        self.also = also;
    }

    /// Has the system watch the directories that matter now.
    fn renew(&mut self) {
        let Some(system) = &mut self.system else { return };
        let wanted = self.watched.directories(&self.also);
        self.dirs.retain(|dir, _| {
            let is_wanted = wanted.contains(dir);
            if !is_wanted {
                drop(system.unwatch(dir));
            }
            is_wanted
        });
        self.is_blind = false;
        for dir in wanted {
            let Some(identity) = identity(&dir) else { continue };
            if self.dirs.get(&dir).is_some_and(|known| *known != identity) {
                drop(system.unwatch(&dir));
            }
            // Asked again even if it is watched: a directory that came back may have its old
            // number, and its watch went with the old one.
            match system.watch(&dir, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.dirs.insert(dir, identity)),
                Err(error) => {
                    warn!(%error, dir = %dir.display(), "cannot be watched; looking every 2 s");
                    self.is_blind = true;
                }
            }
        }
    }
}

/// Whether an event can mean new content. Reading is none, and the watcher itself reads.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn wake(waker: &SyncSender<()>) {
    match waker.try_send(()) {
        // Full means that somebody woke it already, disconnected that it is gone.
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}

/// Which directory is at `path` now.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}
