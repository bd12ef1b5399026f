//! Dedupe windows on disk between a stop and the next start.
//!
//! Written once everything has settled, so a daemon that is killed leaves the window of its last
//! stop behind, which is out of date but not wrong.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::{debug, info, warn};

use crate::ack::{Dedupe, DedupeSettings};
use crate::component::PipelineName;
use crate::store::{read_whole, write_whole};

/// The folder in the data directory.
const FOLDER: &str = "dedupe";

/// Largest file that is read; more ids than anybody remembers.
const FILE_MAX: u64 = 1 << 30;

/// The window that `pipeline` had when the daemon stopped, or an empty one.
pub(super) fn recall(data_dir: &Path, pipeline: &PipelineName, settings: DedupeSettings) -> Dedupe {
    let path = path(data_dir, pipeline);
    match read_whole(&path, FILE_MAX) {
        Ok(Some(bytes)) => match Dedupe::unpack(&bytes, settings, SystemTime::now()) {
            Some(known) => {
                let ids = known.stats().ids;
                info!(%pipeline, ids, "repeats of events before the restart are known");
                return known;
            }
            None => debug!(%pipeline, "no ids from before the restart that are young enough"),
        },
        Ok(None) => {}
        Err(error) => {
            let path = path.display();
            warn!(%pipeline, %error, %path, "cannot read which events came before the restart");
        }
    }
    Dedupe::new(settings)
}

/// Keeps the window of `pipeline` for the next start.
pub(super) fn keep(data_dir: &Path, pipeline: &PipelineName, dedupe: &Dedupe) {
    let path = path(data_dir, pipeline);
    if dedupe.stats().ids == 0 && !path.exists() {
        return;
    }
    if let Err(error) = write_whole(&path, &dedupe.pack(SystemTime::now())) {
        let path = path.display();
        warn!(%pipeline, %error, %path, "the restart will not know which events came before it");
    }
}

fn path(data_dir: &Path, pipeline: &PipelineName) -> PathBuf {
    data_dir.join(FOLDER).join(format!("{pipeline}.ids"))
}
