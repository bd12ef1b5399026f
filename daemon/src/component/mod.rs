//! What a component is: the traits, what it is built from, and how it fails.
//!
//! A pipeline file's table becomes [`Settings`]; a registry entry ([`SourceType`], [`SinkType`])
//! builds a component from them, purely; the runtime then runs it. Types are erased once per
//! component at that point, never per event.

mod context;
mod error;
mod health;
mod mend;
mod name;
mod registry;
mod settings;
mod suggest;
mod table;
mod transform;

#[cfg(test)]
mod tests;

pub use context::{BuildContext, DEFAULT_LISTENER, Host, Leavings, Lent};
pub use error::{BuildError, RunError, RunErrorKind};
pub use health::{Counter, Health, Snapshot, State};
pub use name::{ComponentId, NameError, PipelineName};
pub use registry::{RunnableSink, RunnableSource, RunningFuture, SinkType, SourceType};
pub use settings::Settings;
pub use suggest::{did_you_mean, nearest, quoted};
pub use table::{Entry, Node, Table, Value};
pub use transform::{
    Failure, FailureKind, Patches, Rows, Transform, TransformError, Verdict, Verdicts,
};

use std::future::Future;

use serde::de::DeserializeOwned;

use crate::edge::Inlet;
use crate::tasks::Stop;

/// Takes events in from the outside world.
///
/// `build` declares what the source needs (its path, through [`BuildContext::mount`]) and keeps
/// the [`Outlet`](crate::edge::Outlet) that the context lends; the outlet always leads into the
/// pipeline in force.
pub trait Source: Sized + Send + 'static {
    /// The `type` that selects this source in a pipeline file.
    const TYPE: &'static str;
    /// The settings that a pipeline file may give.
    type Config: DeserializeOwned;

    /// Checks the settings and names what the source needs, doing no I/O.
    ///
    /// # Errors
    /// A fault of the pipeline file.
    fn build(config: Self::Config, cx: &BuildContext<'_>) -> Result<Self, BuildError>;

    /// Runs until `stop` is asked, then returns.
    fn run(self, stop: Stop) -> impl Future<Output = Result<(), RunError>> + Send;
}

/// Delivers events to the outside world.
pub trait Sink: Sized + Send + 'static {
    /// The `type` that selects this sink in a pipeline file.
    const TYPE: &'static str;
    /// Whether what it settles survives the daemon, so that publishers wait for it by default.
    const IS_DURABLE: bool;
    /// Whether its events can wait on disk while it is away, and do so by default.
    const IS_SPOOLED: bool = false;
    /// The settings that a pipeline file may give.
    type Config: DeserializeOwned;

    /// Checks the settings and names what the sink needs, doing no I/O.
    ///
    /// # Errors
    /// A fault of the pipeline file.
    fn build(config: Self::Config, cx: &BuildContext<'_>) -> Result<Self, BuildError>;

    /// Runs until `input` ends, then returns once all of it is settled.
    fn run(self, input: Inlet) -> impl Future<Output = Result<(), RunError>> + Send;
}
