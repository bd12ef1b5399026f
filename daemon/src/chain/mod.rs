//! The transforms of one pipeline at work: verdicts, routes, and who is to blame for a failure.
//!
//! Deliveries come in from the sources' edge, pass the steps in the order of the graph, and go
//! out through one edge per sink. One thread runs a chain, so order holds from end to end.

mod apply;
mod breaker;
mod legacy;
mod parcel;
mod patch;
mod solo;
mod tick;

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use weir_fields::{Path, Wanted};

use self::breaker::Breaker;
pub use self::breaker::State as BreakerState;
pub use self::legacy::Legacy;
use self::parcel::Parcel;
pub use self::solo::{Judged, Solo};
use self::tick::Ticker;
use crate::ack::{Account, Code, Outcome, Refusal, Rescue};
use crate::component::{ComponentId, Transform, TransformError, Verdicts};
use crate::edge::{Delivery, Inlet, SendError, Sender};
use crate::event::Fields;

/// How many failed runs one batch may cause before what is left of it fails as a whole.
/// Finding one poison event among 256 takes 9.
const FAILED_RUNS_MAX: usize = 32;

/// What happens to an event that a transform could not judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The publisher is told `rejected`.
    #[default]
    Reject,
    /// It is kept for a person to look at, and its publisher is told `dead-lettered`.
    DeadLetter,
    /// It passes on as it came.
    Pass,
}

/// Who takes events next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The step at this index.
    Step(usize),
    /// The sink at this index.
    Sink(usize),
}

/// Who takes what a step lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// The takers of events without a route.
    pub default: Vec<Target>,
    /// The takers of each named route.
    pub routes: Vec<(String, Vec<Target>)>,
}

/// One transform in its place.
pub struct Step {
    /// Its name.
    pub id: ComponentId,
    /// The name of its plugin: what one knows is handed over to the same one alone.
    pub plugin: String,
    /// What judges.
    pub transform: Box<dyn Transform>,
    /// How often it is told the time, if it is.
    pub tick: Option<Duration>,
    /// What happens to events that it cannot judge.
    pub on_error: OnError,
    /// Who keeps events that it cannot judge, if somebody does.
    pub rescue: Option<Arc<dyn Rescue>>,
    /// Who takes what it lets through.
    pub links: Links,
    /// Its counters; the runtime holds them too.
    pub stats: Arc<StepStats>,
}

/// One sink as the chain sees it.
#[derive(Debug)]
pub struct SinkLink {
    /// The way to it.
    pub sender: Sender,
    /// Whether it settles later than a publisher that asked for `routed` waits.
    pub is_durable: bool,
}

/// The counters of one step.
#[derive(Debug, Default)]
pub struct StepStats {
    /// Events judged.
    pub events: AtomicU64,
    /// Batches judged.
    pub batches: AtomicU64,
    /// Events dropped on purpose.
    pub filtered: AtomicU64,
    /// Events that could not be judged.
    pub failed: AtomicU64,
    /// Runs that ended in a trap, a time-out or an unusable answer.
    pub failed_runs: AtomicU64,
    /// These by reason, in the order of [`TransformError::REASONS`].
    pub reasons: [AtomicU64; TransformError::REASONS.len()],
    /// Events that failed because of such runs.
    pub condemned: AtomicU64,
    /// Events that failed unseen, because the step is quarantined.
    pub quarantined: AtomicU64,
    /// How often it was told the time.
    pub ticks: AtomicU64,
    /// Events that it emitted then.
    pub tick_events: AtomicU64,
    /// Of these, not settled yet.
    pub tick_held: AtomicU64,
    /// Nanoseconds spent judging.
    pub busy_nanos: AtomicU64,
    /// Touched twice per delivery by the chain and by whoever looks, hence a std mutex.
    breaker: Mutex<Breaker>,
}

impl StepStats {
    /// Whether the step is given events.
    pub fn breaker(&self) -> BreakerState {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).state()
    }

    fn lets_through(&self) -> bool {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.lets_through(Instant::now())
    }

    fn record(&self, is_bad: bool) -> Option<Duration> {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.record(is_bad, Instant::now())
    }

    fn record_tick(&self, is_bad: bool) -> Option<Duration> {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.record_tick(is_bad, Instant::now())
    }

    fn run_failed(&self, reason: &str) {
        self.failed_runs.fetch_add(1, Ordering::Relaxed);
        let place = TransformError::REASONS.iter().position(|known| *known == reason);
        if let Some(place) = place {
            self.reasons[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn judged(&self, events: usize, since: Instant) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.was_busy(since);
    }

    fn ticked(&self, since: Instant) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.was_busy(since);
    }

    fn was_busy(&self, since: Instant) {
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// The steps of one pipeline and the ways between them.
pub struct Chain {
    entries: Vec<Vec<Target>>,
    steps: Vec<Step>,
    sinks: Vec<SinkLink>,
    /// The pipeline's books, for events that come into being here.
    account: Arc<Account>,
    tickers: Vec<Ticker>,
    /// The fields of JSON data that any step reads.
    wanted: Wanted,
    /// For each step, the slots in `wanted` of what it reads.
    slots: Vec<Vec<usize>>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain whose `entries` say, for each way into the pipeline, who takes the events first;
    /// what the steps emit by themselves is booked in `account`.
    pub fn new(
        entries: Vec<Vec<Target>>,
        steps: Vec<Step>,
        sinks: Vec<SinkLink>,
        account: Arc<Account>,
    ) -> Self {
        let reads: Vec<&[Path]> = steps.iter().map(|step| step.transform.reads()).collect();
        let (wanted, slots) = wanted(&reads);
        let tickers = Ticker::all(&steps);
        Self { entries, steps, sinks, account, tickers, wanted, slots }
    }

    /// Whether it needs a thread of its own.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Works until `input` ends; for a thread of its own. What is not done then is left in
    /// `legacy`.
    pub fn run_blocking(mut self, input: &mut Inlet, legacy: &Legacy) {
        loop {
            match input.recv_merged_blocking(self.next_tick()) {
                Poll::Ready(Some(delivery)) => self.process(delivery),
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
            self.tick_due();
        }
        self.close();
        self.bequeath(legacy);
    }

    /// Works until `input` ends; for a chain without steps.
    pub async fn run(mut self, mut input: Inlet) {
        while let Some(delivery) = input.recv().await {
            self.process(delivery);
        }
        self.close();
    }

    /// Lets the sinks finish.
    fn close(&self) {
        self.sinks.iter().for_each(|sink| sink.sender.close());
    }

    /// Takes one delivery all the way to the sinks' edges.
    pub fn process(&mut self, delivery: Delivery) {
        let targets = self.entries[usize::from(delivery.entry)].clone();
        let mut failed_runs = 0;
        self.flow(&targets, delivery.into(), &mut failed_runs);
    }

    fn flow(&mut self, targets: &[Target], parcel: Parcel, failed_runs: &mut usize) {
        if parcel.len() == 0 {
            return;
        }
        let Some((last, others)) = targets.split_last() else {
            // Nobody takes this route: that is how a pipeline drops on purpose.
            return parcel.delivery.acks.into_iter().for_each(|ack| ack.settle(Outcome::Filtered));
        };
        for target in others {
            self.enter(*target, parcel.fork(), failed_runs);
        }
        self.enter(*last, parcel, failed_runs);
    }

    fn enter(&mut self, target: Target, parcel: Parcel, failed_runs: &mut usize) {
        match target {
            Target::Sink(sink) => self.sinks[sink].take(parcel.delivery),
            Target::Step(step) => self.guard(step, parcel, failed_runs),
        }
    }

    /// Runs one step unless it is quarantined; then `on_error` decides what becomes of the events.
    fn guard(&mut self, index: usize, parcel: Parcel, failed_runs: &mut usize) {
        let events = parcel.len();
        let stats = Arc::clone(&self.steps[index].stats);
        if !stats.lets_through() {
            stats.quarantined.fetch_add(events as u64, Ordering::Relaxed);
            let verdicts = apply::all_failed(events, "the plugin keeps failing and is quarantined");
            return self.apply(index, parcel, verdicts, failed_runs);
        }
        let before = stats.condemned.load(Ordering::Relaxed);
        self.judge(index, parcel, failed_runs);
        let condemned = stats.condemned.load(Ordering::Relaxed) - before;
        if let Some(pause) = stats.record(condemned > events as u64 / 2) {
            let (step, pause_ms) = (&self.steps[index].id, pause.as_millis());
            warn!(%step, pause_ms, "plugin keeps failing; quarantined");
        }
    }

    /// Runs one step. A failed run costs only the events that caused it: halves are tried until
    /// the one to blame is alone.
    fn judge(&mut self, index: usize, mut parcel: Parcel, failed_runs: &mut usize) {
        let (step, slots) = (&mut self.steps[index], &self.slots[index]);
        let since = Instant::now();
        if !slots.is_empty() {
            parcel.found.look(&self.wanted, &parcel.delivery.batch);
        }
        let fields = Fields::new(&parcel.found, slots);
        let judge = || step.transform.transform(&parcel.delivery.batch, &fields);
        let judged = catch_unwind(AssertUnwindSafe(judge));
        step.stats.judged(parcel.len(), since);
        let error = match judged {
            Ok(Ok(verdicts)) => return self.apply(index, parcel, verdicts, failed_runs),
            Ok(Err(error)) => error,
            Err(_) => panicked(),
        };
        step.stats.run_failed(error.reason);
        *failed_runs += 1;
        let events = parcel.len();
        warn!(step = %step.id, reason = error.reason, events, error = %error.message, "transform run failed");
        if events > 1 && *failed_runs < FAILED_RUNS_MAX {
            let (first, second) = parcel.halves();
            self.judge(index, first, failed_runs);
            return self.judge(index, second, failed_runs);
        }
        step.stats.condemned.fetch_add(events as u64, Ordering::Relaxed);
        let verdicts = apply::all_failed(events, &error.message);
        self.apply(index, parcel, verdicts, failed_runs);
    }

    fn apply(&mut self, index: usize, parcel: Parcel, verdicts: Verdicts, failed_runs: &mut usize) {
        let step = &self.steps[index];
        let routed = apply::apply(step, (parcel, &mut self.wanted), verdicts);
        for (route, parcel) in routed {
            let targets = self.targets(index, route.as_deref());
            self.flow(&targets, parcel, failed_runs);
        }
    }

    /// Who takes what step `index` sends on `route`.
    fn targets(&self, index: usize, route: Option<&str>) -> Vec<Target> {
        let links = &self.steps[index].links;
        let Some(route) = route else { return links.default.clone() };
        let known = links.routes.iter().find(|(name, _)| name == route);
        known.map(|(_, targets)| targets.clone()).unwrap_or_default()
    }
}

/// What a panic of the host counts as.
fn panicked() -> TransformError {
    TransformError { reason: "panic", message: "the host panicked".to_owned() }
}

impl SinkLink {
    fn take(&self, mut delivery: Delivery) {
        if self.is_durable {
            delivery.acks.iter_mut().for_each(crate::ack::Ack::detach);
        }
        match self.sender.send(delivery) {
            Ok(()) => {}
            Err(SendError::Full(back)) => {
                back.refuse(&Refusal::new(Code::Overloaded, "a sink's queue is full"));
            }
            Err(SendError::Closed(back)) => {
                back.refuse(&Refusal::new(Code::Unavailable, "a sink is not running"));
            }
        }
    }
}

/// The fields that all of the steps read, and for each step, where what it reads is among them.
fn wanted(reads: &[&[Path]]) -> (Wanted, Vec<Vec<usize>>) {
    let mut wanted = Wanted::default();
    let slots = |paths: &&[Path]| paths.iter().map(|path| wanted.slot(path)).collect();
    let slots = reads.iter().map(slots).collect();
    (wanted, slots)
}
