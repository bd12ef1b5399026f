//! The time of day. A step grants it with `grants = ["clock"]`.

#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::clock as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fakes::clock as host;

/// Unix time in microseconds; in native tests what [`testing::set_clock`](crate::testing::set_clock)
/// says.
pub fn now() -> u64 {
    host::now()
}
