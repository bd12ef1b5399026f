//! Random bytes, fit for cryptography. A step grants them with `grants = ["random"]`.

#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::random as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fakes::random as host;

/// So many random bytes, at most 65536 at once; in native tests the same ones in each run.
pub fn bytes(len: u32) -> Vec<u8> {
    host::fill(len)
}
