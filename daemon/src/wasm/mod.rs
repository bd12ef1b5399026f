//! The sandbox: plugins as Wasm components, their limits, and the columns that cross.
//!
//! A `.wasm` file comes in through [`Wasm::load`], which checks and compiles it once per digest.
//! A step makes a [`WasmTransform`] of the [`Artifact`]; that runs on the chain's worker thread,
//! never on the I/O runtime. Whatever a plugin answers is data to validate; whatever it does
//! wrong costs it its instance and the batch at hand, nothing else.

use std::borrow::Cow;

mod answer;
mod artifact;
mod cache;
mod columns;
mod compiler;
mod engine;
mod host;
mod instance;
mod transform;

pub use artifact::{Artifact, Inspection, LoadError, Wasm};
pub use compiler::compile_apart;
pub use engine::{WasmError, Watch};
pub use host::{
    BUCKETS, Histogram, HttpStats, KV, LOOKUP, Lends, Measure, StepHttp, StepMetrics, wrong_grant,
};
pub use instance::{Limits, StepSetup, Usage};
pub use transform::WasmTransform;

#[cfg(test)]
mod tests;

/// The start of `text`, at most `max` bytes and the sign that something is missing.
fn clip(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(max)]))
}
