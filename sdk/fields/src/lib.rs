//! Finds and changes fields of JSON text without building a document.
//!
//! The daemon uses it for all plugins of a chain, and the SDK's test harness to do the same.
//! A text is walked once, from its first byte to its last, so what is broken anywhere is not JSON
//! at all:
//!
//! - [`Path`] names a field: `user.plan`, `items[0].sku`, `user["odd.key"]`, `$` for everything.
//! - [`Wanted`] holds the paths to look for and finds all of them in one walk.
//! - [`Splicer`] changes fields that were found, without another walk, where that can be done.
//! - [`Plan`] holds the paths to change and writes the changed text; all else keeps its bytes.
//!
//! Where an object names a key twice, the last one counts, as in every browser. Nesting deeper
//! than [`DEPTH_MAX`] is not JSON here, as in most parsers.

mod find;
mod path;
mod patch;
mod scan;
mod splice;
#[cfg(test)]
mod tests;
mod text;

pub use find::{Kind, Place, Wanted};
pub use patch::{PatchError, Plan, Value};
pub use path::{Path, PathError, Segment};
pub use scan::{DEPTH_MAX, is_json, is_number};
pub use splice::{Splicer, Target};
pub use text::{push_quoted, push_unescaped};

/// How many fields can be looked for, or changed, at once.
pub const FIELDS_MAX: usize = 64;
