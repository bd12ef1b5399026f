//! Declares the sink's queue and its bindings again when a message comes back that no queue takes.
//!
//! What the sink declares is its own to mend: somebody may have deleted the queue, or unbound it,
//! while the channel was open. So a return is believed only of what was published after the broker
//! was told again. Nothing is published meanwhile, so that what came back keeps its order.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::publisher::Plan;
use crate::amqp::{OpenError, Session, prepare};

/// How long a declaration is believed. Events that nothing takes are common where an operator
/// wants them rejected; they cost one declaration in this time, not one each.
const BELIEVED: Duration = Duration::from_secs(1);

type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The declarations of one channel.
#[derive(Default)]
pub(super) struct Redeclare {
    /// When the last one ended that a returned message asked for.
    ended: Option<Instant>,
    running: Option<Running>,
}

impl fmt::Debug for Redeclare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeclare").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Redeclare {
    /// Whether a message that was published at `sent` and comes back has no queue. If not, it
    /// should be published again once the declarations ended.
    pub(super) fn believes(
        &mut self,
        sent: Instant,
        plan: &Arc<Plan>,
        session: &Arc<Session>,
    ) -> bool {
        if plan.topology.queue.is_none() {
            return true;
        }
        let is_older = self.ended.is_some_and(|ended| sent < ended);
        if self.running.is_none() && !is_older {
            if self.ended.is_some_and(|ended| ended.elapsed() < BELIEVED) {
                return true;
            }
            let (plan, session) = (Arc::clone(plan), Arc::clone(session));
            self.running = Some(Box::pin(async move {
                let limit = plan.stall_timeout;
                match timeout(limit, prepare(&session.connection, &plan.topology)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(OpenError::NoExchange)) => Err("no exchange".to_owned()),
                    Ok(Err(OpenError::Refused(reason) | OpenError::Broken(reason))) => Err(reason),
                    Err(_) => Err("the broker does not answer".to_owned()),
                }
            }));
        }
        false
    }

    /// Whether there is something to wait for, before anything else is published.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for the declarations; answers why they failed.
    ///
    /// # Cancel safety
    /// Going on waiting loses nothing.
    pub(super) async fn end(&mut self) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let result = running.await;
        self.running = None;
        self.ended = Some(Instant::now());
        result
    }
}
