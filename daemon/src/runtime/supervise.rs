//! Keeps components running: one that fails or panics is built again after a pause.
//!
//! Its health shows why, and nothing else notices: its edge stays, and what waits there while
//! the pause is long is refused, so that publishers are told early.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, warn};

use crate::ack::{Code, Refusal};
use crate::component::{
    BuildContext, BuildError, ComponentId, Health, Host, RunError, RunErrorKind, RunnableSink,
    RunnableSource, RunningFuture,
};
use crate::config::{SinkSpec, SourceSpec};
use crate::edge::{Inlet, Outlet, Sender};
use crate::runtime::DRAIN_LIMIT;
use crate::tasks::Stop;

/// The first pause; doubled with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause, and the first one after a permanent failure.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A component that ran this long starts over with the shortest pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Pauses up to this long are worth waiting for; during longer ones events are refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a sink whose events are on disk waits for the one that it replaces: what that one
/// still owes is on disk and sent again anyway.
const SPOOLED_LIMIT: Duration = Duration::from_secs(5);

/// A sink and what it is built again from.
pub(super) struct SinkSeat {
    pub(super) spec: SinkSpec,
    pub(super) host: Arc<Host>,
    /// The edge that feeds it; the chain holds it too.
    pub(super) edge: Sender,
    pub(super) health: Arc<Health>,
    /// Asked once the sink that this one replaces has returned.
    pub(super) predecessor: Option<Stop>,
}

/// A source and what it is built again from.
pub(super) struct SourceSeat {
    pub(super) spec: SourceSpec,
    pub(super) host: Arc<Host>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) health: Arc<Health>,
}

/// Runs a sink until its input ends.
pub(super) async fn sink(first: Box<dyn RunnableSink>, mut seat: SinkSeat) {
    if let Some(predecessor) = &mut seat.predecessor {
        // Order holds across a reload: what the old sink took is settled first.
        let limit = if seat.spec.spool.is_some() { SPOOLED_LIMIT } else { DRAIN_LIMIT };
        if timeout(limit, predecessor.asked()).await.is_err() {
            warn!(component = %seat.spec.id, "replaced sink still busy; starting beside it");
        }
    }
    let mut next = Some(first);
    let mut pauses = Pauses::default();
    loop {
        let built = match next.take() {
            Some(sink) => Ok(sink),
            None => seat.build(),
        };
        let ended = match built {
            Ok(sink) => {
                seat.health.set_running();
                watch(sink.run(seat.edge.inlet())).await
            }
            Err(errors) => Err(build_failed(&errors)),
        };
        let Err(failure) = ended else { return };
        let pause = pauses.next(&failure);
        report(&seat.spec.id, &failure, pause, &seat.health);
        if seat.wait_out(pause, &failure).await {
            return;
        }
    }
}

impl SinkSeat {
    fn build(&self) -> Result<Box<dyn RunnableSink>, Vec<BuildError>> {
        let cx = BuildContext::for_sink(&self.spec.id, &self.host);
        let cx = cx.spooled(self.spec.spool.is_some());
        self.spec.kind.build(&self.spec.settings, &cx)
    }

    /// Waits before the next attempt; answers whether the input has ended meanwhile.
    async fn wait_out(&self, pause: Duration, failure: &RunError) -> bool {
        if pause <= PATIENCE {
            sleep(pause).await;
            return false;
        }
        let until = Instant::now() + pause;
        let mut inlet: Inlet = self.edge.inlet();
        let refusal = Refusal::new(Code::Unavailable, format!("a sink is down: {failure}"));
        loop {
            tokio::select! {
                () = sleep_until(until) => return false,
                delivery = inlet.recv() => match delivery {
                    Some(delivery) => delivery.refuse(&refusal),
                    None => return true,
                },
            }
        }
    }
}

/// Runs a source until `stop` is asked.
pub(super) async fn source(first: Box<dyn RunnableSource>, seat: SourceSeat, mut stop: Stop) {
    let mut next = Some(first);
    let mut pauses = Pauses::default();
    while !stop.is_asked() {
        let built = match next.take() {
            Some(source) => Ok(source),
            None => seat.build(),
        };
        let ended = match built {
            Ok(source) => {
                seat.health.set_running();
                watch(source.run(stop.clone())).await
            }
            Err(errors) => Err(build_failed(&errors)),
        };
        let Err(failure) = ended else { return };
        let pause = pauses.next(&failure);
        report(&seat.spec.id, &failure, pause, &seat.health);
        drop(timeout(pause, stop.asked()).await);
    }
}

impl SourceSeat {
    fn build(&self) -> Result<Box<dyn RunnableSource>, Vec<BuildError>> {
        let cx = BuildContext::for_source(&self.spec.id, &self.host, Outlet::clone(&self.outlet));
        self.spec.kind.build(&self.spec.settings, &cx)
    }
}

/// Runs a component; a panic becomes an error.
async fn watch(running: RunningFuture) -> Result<(), RunError> {
    AssertUnwindSafe(running).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(RunError::transient(format!("panicked: {}", text.unwrap_or_default())))
    })
}

fn build_failed(errors: &[BuildError]) -> RunError {
    let first = errors.first().map(ToString::to_string);
    RunError::permanent(first.unwrap_or_else(|| "could not be built again".to_owned()))
}

fn report(id: &ComponentId, failure: &RunError, pause: Duration, health: &Health) {
    health.set_degraded(failure.to_string());
    let source = failure.source.as_deref().map(ToString::to_string).unwrap_or_default();
    let pause_ms = pause.as_millis();
    match failure.kind {
        RunErrorKind::Transient => {
            warn!(component = %id, error = %failure, source, pause_ms, "component failed; building it again");
        }
        RunErrorKind::Permanent => {
            error!(component = %id, error = %failure, source, pause_ms, "component failed and needs attention");
        }
    }
}

/// How long to wait before each attempt.
struct Pauses {
    next: Duration,
    since: Instant,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: PAUSE_MIN, since: Instant::now() }
    }
}

impl Pauses {
    fn next(&mut self, failure: &RunError) -> Duration {
        if self.since.elapsed() > HEALTHY_AFTER {
            self.next = PAUSE_MIN;
        }
        self.since = Instant::now();
        let pause = match failure.kind {
            RunErrorKind::Transient => self.next,
            RunErrorKind::Permanent => PAUSE_MAX,
        };
        self.next = (self.next * 2).min(PAUSE_MAX);
        pause.mul_f64(0.75 + fastrand::f64() / 4.0)
    }
}
