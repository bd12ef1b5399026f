//! The sandbox: plugins as Wasm components, their limits, and the columns that cross.
