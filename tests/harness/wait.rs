//! Waiting for a condition, always with a deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for anything before it gives up.
///
/// Generous, because several suites may share two cores; a healthy wait takes milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition that cannot wake anybody is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Asks `probe` until it finds something, and returns that.
///
/// # Panics
/// When the deadline passes first; the message names `what` did not happen.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: did not happen within {DEADLINE:?}");
        sleep(TICK).await;
    }
}

/// Waits for `future`.
///
/// # Panics
/// When the deadline passes first; the message names `what` did not happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: did not happen within {DEADLINE:?}"),
    }
}
