//! The thread that writes what changed.

use std::sync::PoisonError;
use std::time::Duration;

use tracing::{error, info, warn};

use super::file::StateFile;
use super::{Inner, Shared, Stage, now_ms};

/// How long changes are gathered: what a crash may cost, against a sync for each.
const GATHER: Duration = Duration::from_millis(500);

/// The first pause after a disk failed; each one is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Writes until the state is closed and everything is written, or cannot be.
pub(super) fn run(shared: &Shared, file: StateFile) {
    let path = shared.path.as_deref().expect("a state without a file has no writer");
    let mut file = Some(file);
    let mut pause = None;
    loop {
        let mut inner = shared.lock();
        let is_idle = |inner: &mut Inner| inner.entries.is_clean() && !inner.is_closing;
        inner = shared.changed.wait_while(inner, is_idle).unwrap_or_else(PoisonError::into_inner);
        let gather = pause.unwrap_or(GATHER);
        let is_open = |inner: &mut Inner| !inner.is_closing;
        let waited = shared.changed.wait_timeout_while(inner, gather, is_open);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_last = inner.is_closing;
        let changes = inner.entries.take_changes(now_ms());
        drop(inner);
        let written = if changes.is_all || !changes.keys.is_empty() {
            let opened = file.take().map_or_else(|| StateFile::reopen(path), Ok);
            opened.and_then(|open| {
                open.write(&changes)?;
                file = Some(open);
                Ok(())
            })
        } else {
            Ok(())
        };
        let mut inner = shared.lock();
        match written {
            Ok(()) => {
                if pause.take().is_some() {
                    info!(path = %path.display(), "state is written again");
                }
            }
            Err(error) => {
                if pause.is_none() {
                    warn!(path = %path.display(), error, "state cannot be written; trying again");
                }
                pause = Some(pause.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX)));
                inner.entries.change_all();
                if is_last {
                    error!(path = %path.display(), "the last changes of the state are lost");
                }
            }
        }
        if is_last {
            drop(file);
            inner.stage = Stage::Done;
            shared.changed.notify_all();
            return;
        }
    }
}
