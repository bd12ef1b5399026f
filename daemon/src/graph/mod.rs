//! The shape of one pipeline: who feeds whom, checked and resolved to places.
//!
//! [`Graph::of`] turns order and `inputs` into what a [`Chain`](crate::chain::Chain) follows;
//! [`diff`] compares what runs with what the files say. Both are pure.

mod diff;
mod resolve;
#[cfg(test)]
mod tests;

use crate::chain::{Links, Target};
use crate::config::{Fault, Pipeline};

pub use diff::{Digest, Plan, diff};

/// Who feeds whom in one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// The distinct ways into the pipeline: who takes the events first.
    pub entries: Vec<Vec<Target>>,
    /// For each source, the index of its way in `entries`.
    pub source_entries: Vec<u16>,
    /// For each transform, who takes what it lets through.
    pub links: Vec<Links>,
}

impl Graph {
    /// Resolves the order and the `inputs` of `pipeline`.
    ///
    /// # Errors
    /// Every input that leads nowhere, every circle, every component that is left out.
    pub fn of(pipeline: &Pipeline) -> Result<Self, Vec<Fault>> {
        resolve::resolve(pipeline).map_err(|errors| {
            let faults = errors.into_iter().map(|error| pipeline.file.fault(error, 0..0));
            faults.collect()
        })
    }
}
