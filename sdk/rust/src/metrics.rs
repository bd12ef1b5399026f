//! Numbers for the daemon's metrics. A step grants them with `grants = ["metrics"]`.
//!
//! They are told as `weir_plugin_count`, `weir_plugin_gauge` and `weir_plugin_histogram`, labelled
//! with the pipeline, the step and the name given here: up to 64 letters, digits, `_` and `.`. A
//! step may use 64 names, each for one kind of number; what does not fit is dropped and counted.

#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::metrics as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fakes::metrics as host;

/// Adds `n` to a counter.
pub fn count(name: &str, n: u64) {
    host::count(name, n);
}

/// Sets a gauge.
pub fn gauge(name: &str, value: f64) {
    host::gauge(name, value);
}

/// Adds one value to a histogram.
pub fn observe(name: &str, value: f64) {
    host::observe(name, value);
}
