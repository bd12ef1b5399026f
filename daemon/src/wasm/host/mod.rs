//! What a plugin can reach: one file per capability, and what the host keeps for an instance.
//!
//! A capability is linked only where it is free or the step grants it. Nothing else is there.

mod clock;
mod log;

use wasmtime::component::Linker;
use wasmtime::{ResourceLimiter, Result};

pub(super) use log::{Log, Voice};

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
];

/// An interface of types only: nothing to link.
const TYPES: &str = "types";

/// What the host keeps for one instance.
pub(super) struct Host {
    pub(super) memory: Memory,
    pub(super) log: Log,
}

/// Bounds what an instance's memories hold together.
pub(super) struct Memory {
    max: usize,
    used: usize,
    grown: usize,
    /// Whether a request was turned down.
    pub(super) is_exhausted: bool,
}

impl Host {
    pub(super) fn new(memory_max: usize, log: Log) -> Self {
        Self { memory: Memory { max: memory_max, used: 0, grown: 0, is_exhausted: false }, log }
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
