//! The capability `clock`: the time of day.

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use super::Host;
use crate::units::now_micros;

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut clock = linker.instance("weir:plugin/clock@1.0.0")?;
    clock.func_wrap("now", |mut cx: StoreContextMut<'_, Host>, (): ()| {
        cx.data_mut().calls.take()?;
        // In microseconds and no finer, so that it makes a poor stopwatch.
        Ok((now_micros(),))
    })
}
