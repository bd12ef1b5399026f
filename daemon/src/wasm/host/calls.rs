//! How often a plugin may ask the host for something while it judges one batch.

use thiserror::Error;
use wasmtime::Result;

/// Calls that judging a batch may take in any case.
const CALLS_FLOOR: u32 = 1_000;

/// Calls that it may take per event.
const CALLS_PER_EVENT: u32 = 16;

/// The calls that are left.
pub(in crate::wasm) struct Calls(u32);

/// A plugin asked for more than it may; ends the call like a trap.
#[derive(Debug, Error)]
#[error("{0}")]
pub(in crate::wasm) struct Overrun(pub(super) String);

impl Default for Calls {
    fn default() -> Self {
        Self(CALLS_FLOOR)
    }
}

impl Calls {
    /// Starts the budget of a batch of `events`.
    pub(in crate::wasm) fn reset(&mut self, events: usize) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.0 = events.saturating_mul(CALLS_PER_EVENT).saturating_add(CALLS_FLOOR);
    }

    /// Counts a call.
    ///
    /// # Errors
    /// If none is left.
    pub(super) fn take(&mut self) -> Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| {
            let limit = format!("{CALLS_FLOOR} and {CALLS_PER_EVENT} per event are allowed");
            Overrun(format!("it asks the host too often for one batch: {limit}"))
        })?;
        Ok(())
    }
}
