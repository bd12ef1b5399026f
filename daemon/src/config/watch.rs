//! Tells when files changed, once per burst of edits and only if their content did.
//!
//! Directories are watched, not files: editors replace files by renaming, Kubernetes swaps a link
//! named `..data`. What woke us is not trusted; the content of all watched files is compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Config, Event, EventKind, PollWatcher, RecursiveMode};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// Quiet for this long means that whoever edits has finished.
const QUIET: Duration = Duration::from_millis(200);
/// Edits that never pause are looked at this often.
const BURST_MAX: Duration = Duration::from_secs(2);
/// Beside events, content is compared this often: network file systems send none.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same where the system gives no events at all.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// What is read of one file to compare; more than any of the watched files may have.
const READ_MAX: u64 = 32 << 20;

/// What is watched.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Directories, with the extension of the files in them that count.
    pub dirs: Vec<(PathBuf, &'static str)>,
    /// Single files.
    pub files: Vec<PathBuf>,
}

/// Tells when what it watches has changed.
#[derive(Debug)]
pub struct Watcher {
    watched: Watched,
    /// The system's events come in here; the notify thread holds the other end.
    touched: Arc<Notify>,
    seen: Contents,
    /// Dropping it ends the events.
    events: Option<Box<dyn EventSource>>,
}

/// What the watched files hold, as digests.
type Contents = BTreeMap<PathBuf, [u8; 32]>;

trait EventSource: Send + Sync + std::fmt::Debug {
    fn watch(&mut self, dir: &Path) -> notify::Result<()>;
}

impl<W: notify::Watcher + Send + Sync + std::fmt::Debug> EventSource for W {
    fn watch(&mut self, dir: &Path) -> notify::Result<()> {
        notify::Watcher::watch(self, dir, RecursiveMode::NonRecursive)
    }
}

impl Watcher {
    /// Starts to watch; what is there now counts as seen.
    pub fn new(watched: Watched) -> Self {
        let touched = Arc::new(Notify::new());
        let events = start(&touched);
        let seen = contents(&watched);
        let mut watcher = Self { watched, touched, seen, events };
        watcher.watch_dirs();
        watcher
    }

    /// Resolves once the content of a watched file is another than when it last resolved.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not told is told next time.
    pub async fn changed(&mut self) {
        loop {
            drop(timeout(LOOK_EVERY, self.touched.notified()).await);
            self.wait_for_quiet().await;
            let watched = self.watched.clone();
            let Ok(now) = spawn_blocking(move || contents(&watched)).await else { continue };
            if now != self.seen {
                self.seen = now;
                // A directory that was made anew is watched by nobody yet.
                self.watch_dirs();
                return;
            }
            debug!("watched files were touched but hold the same");
        }
    }

    async fn wait_for_quiet(&self) {
        let until = Instant::now() + BURST_MAX;
        while Instant::now() < until && timeout(QUIET, self.touched.notified()).await.is_ok() {}
    }

    fn watch_dirs(&mut self) {
        let Some(events) = &mut self.events else { return };
        let dirs = self.watched.dirs.iter().map(|(dir, _)| dir.clone());
        let parents = self.watched.files.iter().filter_map(|file| file.parent()).map(|parent| {
            let is_here = parent.as_os_str().is_empty();
            if is_here { PathBuf::from(".") } else { parent.to_owned() }
        });
        for dir in dirs.chain(parents) {
            // A parent tells when a directory that is gone comes back.
            let found = if dir.is_dir() { Some(dir.as_path()) } else { dir.parent() };
            let found = found.filter(|dir| dir.is_dir());
            if let Some(Err(error)) = found.map(|found| events.watch(found)) {
                warn!(%error, dir = %dir.display(), "directory cannot be watched; looking now and then");
            }
        }
    }
}

/// The system's events, or polling where it gives none.
fn start(touched: &Arc<Notify>) -> Option<Box<dyn EventSource>> {
    let tell = |touched: Arc<Notify>| {
        move |event: notify::Result<Event>| {
            let is_read = event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !is_read {
                touched.notify_one();
            }
        }
    };
    match notify::recommended_watcher(tell(Arc::clone(touched))) {
        Ok(watcher) => Some(Box::new(watcher)),
        Err(error) => {
            warn!(%error, "the system gives no file events; polling");
            let config = Config::default().with_poll_interval(POLL_EVERY);
            let polling = PollWatcher::new(tell(Arc::clone(touched)), config).ok()?;
            Some(Box::new(polling))
        }
    }
}

fn contents(watched: &Watched) -> Contents {
    let mut contents = Contents::new();
    let in_dirs = watched.dirs.iter().flat_map(|(dir, extension)| files_of(dir, extension));
    for path in in_dirs.chain(watched.files.iter().cloned()) {
        if let Some(digest) = digest(&path) {
            contents.insert(path, digest);
        }
    }
    contents
}

fn files_of(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|end| end == extension)).collect()
}

/// The digest of a file's content; nothing if it cannot be read.
fn digest(path: &Path) -> Option<[u8; 32]> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > READ_MAX {
        // Its length and time stand for it.
        let mut digest = Sha256::new();
        digest.update(metadata.len().to_le_bytes());
        return Some(digest.finalize().into());
    }
    Some(Sha256::digest(fs::read(path).ok()?).into())
}
