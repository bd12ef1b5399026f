//! Where a source is in a stream, on disk, so that a restart goes on there.
//!
//! Written at most once a second and at the end, so a daemon that is killed reads up to a second of
//! messages once more. The broker keeps no such place for AMQP 0.9.1.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::component::ComponentId;
use crate::store::{read_whole, write_whole};

/// The folder in the data directory.
const FOLDER: &str = "offsets";

/// Largest file that is read.
const FILE_MAX: u64 = 64 << 10;

/// How often it is written at most.
const PAUSE: Duration = Duration::from_secs(1);

/// A place in a stream. It counts only where everything but `next` is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The brokers, `host:port/vhost`.
    pub(super) brokers: Vec<String>,
    pub(super) queue: String,
    /// The setting `offset`: who changes it wants to begin there.
    pub(super) offset: String,
    /// The first message that has not settled.
    pub(super) next: i64,
}

/// The file of one source.
#[derive(Debug, Clone)]
pub(super) struct Bookmark(Arc<File>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    start: Place,
    /// The `next` that the file has. Held while it is written, so that the newest one stays.
    written: Mutex<i64>,
}

impl Bookmark {
    /// The bookmark of the source `id`, whose place is `start` until it read something.
    pub(super) fn new(data_dir: &Path, id: &ComponentId, start: Place) -> Self {
        let path = data_dir.join(FOLDER).join(format!("{}.{}.json", id.pipeline, id.name));
        let written = Mutex::new(start.next);
        Self(Arc::new(File { path, start, written }))
    }

    /// The place of the last run, if it was in the same stream. Blocks.
    fn recall(&self) -> Option<i64> {
        let File { path, start, written } = &*self.0;
        let bytes = match read_whole(path, FILE_MAX) {
            Ok(bytes) => bytes?,
            Err(error) => {
                let (path, offset) = (path.display(), &start.offset);
                warn!(%path, %error, offset, "cannot read where the stream was left");
                return None;
            }
        };
        let place: Place = serde_json::from_slice(&bytes).ok()?;
        let next = place.next;
        if (Place { next: start.next, ..place }) != *start {
            return None;
        }
        *written.lock().unwrap_or_else(PoisonError::into_inner) = next;
        info!(queue = %start.queue, next, "going on in the stream where the last run was");
        Some(next)
    }

    /// Writes `next` unless the file is there already. Blocks.
    fn write(&self, next: i64) {
        let File { path, start, written } = &*self.0;
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        if next <= *written {
            return;
        }
        let place = Place { next, ..start.clone() };
        let json = serde_json::to_vec(&place).expect("a place is plain data");
        match write_whole(path, &json) {
            Ok(()) => *written = next,
            Err(error) => {
                let path = path.display();
                warn!(%path, %error, "a restart will read some of the stream once more");
            }
        }
    }

    /// Where to go on, or `None` at the setting's offset.
    pub(super) async fn open(&self) -> Option<i64> {
        let bookmark = self.clone();
        spawn_blocking(move || bookmark.recall()).await.ok().flatten()
    }

    /// Keeps `next`.
    pub(super) async fn keep(&self, next: i64) {
        let bookmark = self.clone();
        // A panic in there is a bug that loses nothing but the place.
        spawn_blocking(move || bookmark.write(next)).await.ok();
    }

    /// Keeps what `next` says, for as long as somebody says something.
    ///
    /// # Cancel safety
    /// Cancel safe: what is being written is written to its end.
    pub(super) async fn follow(&self, mut next: watch::Receiver<Option<i64>>) {
        while next.changed().await.is_ok() {
            let now = *next.borrow_and_update();
            if let Some(now) = now {
                self.keep(now).await;
                sleep(PAUSE).await;
            }
        }
    }
}
