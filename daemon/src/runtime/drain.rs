//! The end of a pipeline: what is in flight finishes, within a bound.

use std::time::Duration;

use tracing::{debug, error};

use super::running::Running;

/// How long a replaced pipeline may take to settle what it holds.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Waits until everything that runs for `old` has ended.
///
/// The sources were asked to stop and the edge into the chain is closed, so the chain ends when
/// it has handed on all its events, closes the sinks' edges, and the sinks end after it.
pub(super) async fn drain(mut old: Running) {
    let name = old.view.name.clone();
    if tokio::time::timeout(DRAIN_LIMIT, old.chain_ended()).await.is_err() {
        error!(pipeline = %name, "transforms did not finish in time");
        old.close_sinks();
    }
    let left = old.tasks.ended(DRAIN_LIMIT).await;
    old.close_legacy();
    if left > 0 {
        error!(pipeline = %name, left, "replaced pipeline did not drain in time");
    } else {
        debug!(pipeline = %name, "replaced pipeline drained");
    }
}
