//! The shape of a pipeline: who takes whose events.
//!
//! Order is meaning: without `inputs`, transforms form a chain in the order written, fed by all
//! sources, and the last one feeds all sinks. With `inputs` a component says itself whom it hears.

pub mod diff;
mod resolve;

use crate::chain::{Links, Target};
use crate::config::{Fault, Pipeline};

/// Who takes whose events in one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// For each entry, who takes the events first.
    pub entries: Vec<Vec<Target>>,
    /// For each source, its entry; sources with equal targets share one.
    pub source_entries: Vec<u16>,
    /// For each transform, who takes what it lets through.
    pub links: Vec<Links>,
}

impl Graph {
    /// Resolves the `inputs` of `pipeline`.
    ///
    /// # Errors
    /// Inputs that name nothing, circles, and components that get no events or whose events
    /// nobody takes.
    pub fn of(pipeline: &Pipeline) -> Result<Self, Vec<Fault>> {
        resolve::resolve(pipeline).map_err(|errors| {
            errors.into_iter().map(|(error, span)| pipeline.file.fault(error, span)).collect()
        })
    }
}
