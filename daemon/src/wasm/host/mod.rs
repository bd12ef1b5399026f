//! What a plugin can reach: one file per capability, and what the host keeps for an instance.
//!
//! A capability is linked only where it is free or the step grants it. Nothing else is there.

mod calls;
mod clock;
mod kv;
mod log;
mod lookup;
mod metrics;
mod random;

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{ResourceLimiter, Result};

pub(super) use self::calls::{Calls, Overrun};
pub(super) use self::log::{Log, Voice};
pub use self::metrics::{BUCKETS, Measure, StepMetrics};
use super::engine::MEMORY_MAX;
use super::instance::Limits;
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
];

/// The grant of the tables that the pipeline file declares.
pub const LOOKUP: &str = "lookup";

/// The grant of state.
pub const KV: &str = "kv";

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
        Self { metrics: Arc::default(), tables: Arc::default(), state }
    }
}

impl Host {
    pub(super) fn new(limits: &Limits, log: Log, lends: Lends) -> Self {
        let max = limits.memory.min(MEMORY_MAX);
        let memory = Memory { max, used: 0, grown: 0, is_exhausted: false };
        Self {
            memory,
            log,
            calls: Calls::default(),
            lends,
            state_max: limits.state,
            undo: Undo::default(),
        }
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
    (is_locked && !grants.iter().any(|grant| grant == name)).then_some(name)
}

/// Links what is free or granted.
pub(super) fn link(linker: &mut Linker<Host>, grants: &[String]) -> Result<()> {
    for capability in CAPABILITIES {
        if capability.is_free || grants.iter().any(|grant| grant == capability.name) {
            (capability.link)(linker)?;
        }
    }
    Ok(())
}

fn name(import: &str) -> Option<&str> {
    let name = import.strip_prefix(PACKAGE)?;
    name.split_once('@').map(|(name, _)| name)
}
