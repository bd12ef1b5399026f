//! The capability `clock`: the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use super::Host;

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut clock = linker.instance("weir:plugin/clock@1.0.0")?;
    clock.func_wrap("now", |_: StoreContextMut<'_, Host>, (): ()| Ok((now(),)))
}

/// Unix time in microseconds, no finer, so that it makes a poor stopwatch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
