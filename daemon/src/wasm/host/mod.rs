//! What a plugin can reach: one file per capability, and what the host keeps for an instance.
//!
//! A capability is linked only where it is free or the step grants it. Nothing else is there.

mod calls;
mod clock;
mod http;
mod kv;
mod log;
mod lookup;
mod metrics;
mod random;

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{ResourceLimiter, Result};

pub(super) use self::calls::{Calls, Overrun};
pub use self::http::{HttpStats, StepHttp};
pub(super) use self::http::{Origin, on_deadline};
pub(super) use self::log::{Log, Voice};
pub use self::metrics::{BUCKETS, Histogram, Measure, StepMetrics};
use super::artifact::LoadError;
use super::engine::MEMORY_MAX;
use super::instance::{Limits, StepSetup};
use crate::lookup::LookupTable;
use crate::store::{State, Undo};

/// The contract's package; only its interfaces can be imported.
const PACKAGE: &str = "weir:plugin/";

/// Most entries of a table of functions.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// One interface that a plugin may import.
struct Capability {
    /// Its name, which is also the name of the grant.
    name: &'static str,
    /// Whether every step has it.
    is_free: bool,
    link: fn(&mut Linker<Host>) -> Result<()>,
}

/// The capabilities, REGISTER HERE.
const CAPABILITIES: &[Capability] = &[
    Capability { name: "log", is_free: true, link: log::link },
    Capability { name: "clock", is_free: false, link: clock::link },
    Capability { name: "random", is_free: false, link: random::link },
    Capability { name: "metrics", is_free: false, link: metrics::link },
    Capability { name: LOOKUP, is_free: false, link: lookup::link },
    Capability { name: KV, is_free: false, link: kv::link },
    Capability { name: HTTP, is_free: false, link: http::link },
];

/// The grant of the tables that the pipeline file declares.
pub const LOOKUP: &str = "lookup";

/// The grant of state.
pub const KV: &str = "kv";

/// The capability of requests; each of its grants names a server, as `http:HOST`.
pub(super) const HTTP: &str = "http";

/// An interface of types only: nothing to link.
const TYPES: &str = "types";

/// What a step lends to its instances, each of which may use what it was granted.
#[derive(Debug, Clone)]
pub struct Lends {
    /// Where its numbers go.
    pub metrics: Arc<StepMetrics>,
    /// Its tables, by name.
    pub tables: Arc<[(String, Arc<LookupTable>)]>,
    /// Its state.
    pub state: Arc<State>,
    /// Its way to servers elsewhere.
    pub http: Arc<StepHttp>,
}

/// What the host keeps for one instance.
pub(super) struct Host {
    pub(super) memory: Memory,
    pub(super) log: Log,
    pub(super) calls: Calls,
    lends: Lends,
    /// Bytes that the state may have.
    state_max: usize,
    /// How the state was before the run.
    undo: Undo,
    /// The servers that it may ask.
    origins: Vec<Origin>,
    /// Bytes that the body of a request or an answer may have.
    body_max: usize,
    /// What the run at hand may still ask.
    spending: http::Spending,
}

/// Bounds what an instance's memories hold together.
pub(super) struct Memory {
    max: usize,
    pub(super) used: usize,
    grown: usize,
    /// Whether a request was turned down.
    pub(super) is_exhausted: bool,
}

/// What outlives nothing: numbers and state of their own, no tables.
impl Default for Lends {
    fn default() -> Self {
        let state = Arc::new(State::volatile());
        Self { metrics: Arc::default(), tables: Arc::default(), state, http: Arc::default() }
    }
}

impl Host {
    pub(super) fn new(setup: &StepSetup, log: Log) -> Self {
        let StepSetup { limits, lends, grants, .. } = setup;
        let max = limits.memory.min(MEMORY_MAX);
        let memory = Memory { max, used: 0, grown: 0, is_exhausted: false };
        Self {
            memory,
            log,
            calls: Calls::default(),
            lends: lends.clone(),
            state_max: limits.state,
            undo: Undo::default(),
            origins: grants.iter().filter_map(|grant| Origin::of(grant).ok()).collect(),
            body_max: limits.http_body,
            spending: http::Spending::default(),
        }
    }

    /// Starts the budgets of a run on a batch of `events`.
    pub(super) fn begin_run(&mut self, events: usize, limits: &Limits) {
        self.log.reset();
        self.calls.reset(events);
        self.spending.reset(events, limits);
        self.memory.is_exhausted = false;
    }

    /// Ends a run: what it changed in the state stays if it `is_good`, and is undone if not.
    pub(super) fn end_run(&mut self, is_good: bool) {
        if is_good {
            self.undo.clear();
        } else {
            self.lends.state.undo(&mut self.undo);
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        self.grown = desired.saturating_sub(current);
        if self.used + self.grown > self.max {
            self.is_exhausted = true;
            return Ok(false);
        }
        self.used += self.grown;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        self.used -= self.grown;
        self.is_exhausted = true;
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

/// The names of all capabilities.
pub(super) fn names() -> Vec<&'static str> {
    CAPABILITIES.iter().map(|capability| capability.name).collect()
}

/// The names of the capabilities that a step can grant.
pub(super) fn grants() -> Vec<&'static str> {
    let granted = CAPABILITIES.iter().filter(|capability| !capability.is_free);
    granted.map(|capability| capability.name).collect()
}

/// Whether `import`, such as `weir:plugin/log@1.0.0`, is known here, granted or not.
pub(super) fn is_offered(import: &str) -> bool {
    name(import).is_some_and(|name| name == TYPES || names().contains(&name))
}

/// The grant that `import` needs and `grants` lacks.
pub(super) fn missing_grant<'a>(import: &'a str, grants: &[String]) -> Option<&'a str> {
    let name = name(import)?;
    let is_locked = CAPABILITIES.iter().any(|known| known.name == name && !known.is_free);
    (is_locked && !is_granted(name, grants)).then_some(name)
}

/// What is wrong with `grant`, if it can be no grant of a step.
pub fn wrong_grant(grant: &str) -> Option<LoadError> {
    let bad = |why: &str| LoadError::BadGrant { grant: grant.to_owned(), why: why.to_owned() };
    if grant == HTTP {
        return Some(bad("it names no host"));
    }
    if Origin::is_grant(grant) {
        return Origin::of(grant).err().map(bad);
    }
    (!grants().contains(&grant)).then(|| LoadError::UnknownGrant(grant.to_owned()))
}

fn is_granted(name: &str, grants: &[String]) -> bool {
    match name {
        HTTP => grants.iter().any(|grant| Origin::is_grant(grant)),
        _ => grants.iter().any(|grant| grant == name),
    }
}

/// Links what is free or granted.
pub(super) fn link(linker: &mut Linker<Host>, grants: &[String]) -> Result<()> {
    for capability in CAPABILITIES {
        if capability.is_free || is_granted(capability.name, grants) {
            (capability.link)(linker)?;
        }
    }
    Ok(())
}

fn name(import: &str) -> Option<&str> {
    let name = import.strip_prefix(PACKAGE)?;
    name.split_once('@').map(|(name, _)| name)
}
