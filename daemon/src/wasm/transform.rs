//! A plugin as a transform: the step's settings, its linked imports, and its present instance.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::Linker;

use super::artifact::{Artifact, LoadError};
use super::host::{self, Voice};
use super::instance::{Instance, Mould, StepSetup};
use crate::component::{Transform, TransformError, Verdicts};
use crate::event::Batch;

/// After so many batches an instance is made anew, so that what leaks inside does not add up.
const BATCHES_MAX: u32 = 100_000;

/// A transform that runs a plugin in the sandbox.
pub struct WasmTransform {
    mould: Mould,
    /// Absent after a failure, until the next batch.
    instance: Option<Instance>,
}

impl fmt::Debug for WasmTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmTransform").field("id", &self.mould.setup.id).finish_non_exhaustive()
    }
}

impl WasmTransform {
    /// Links, instantiates and configures the plugin at once. Blocks for up to two seconds.
    ///
    /// # Errors
    /// If the plugin does not fit the step: a missing grant, refused settings, a failure in
    /// `configure`.
    pub fn new(artifact: &Arc<Artifact>, setup: StepSetup) -> Result<Self, LoadError> {
        check_grants(artifact, &setup.grants)?;
        let mut linker = Linker::new(&artifact.sandbox.engine);
        let shape = |error: wasmtime::Error| LoadError::Shape(format!("{error:#}"));
        host::link(&mut linker, &setup.grants).map_err(shape)?;
        let pre = linker.instantiate_pre(&artifact.component).map_err(shape)?;
        let voice = Arc::new(Voice::new(setup.id.clone()));
        let mould = Mould { artifact: Arc::clone(artifact), pre, setup, voice };
        let instance = Some(mould.cast()?);
        Ok(Self { mould, instance })
    }
}

impl Transform for WasmTransform {
    fn transform(&mut self, batch: &Batch) -> Result<Verdicts, TransformError> {
        let mut instance = match self.instance.take() {
            Some(instance) if instance.batches < BATCHES_MAX => instance,
            old => {
                // Gives its slot back before the next one is taken.
                drop(old);
                self.mould.cast().map_err(|error| restart_failure(&error))?
            }
        };
        let answer = self.mould.process(&mut instance, batch);
        if answer.as_ref().map_or_else(|error| error.reason == "error", |_| true) {
            self.instance = Some(instance);
        }
        answer
    }
}

fn check_grants(artifact: &Artifact, grants: &[String]) -> Result<(), LoadError> {
    let known = host::grants();
    if let Some(unknown) = grants.iter().find(|grant| !known.contains(&grant.as_str())) {
        return Err(LoadError::UnknownGrant(unknown.clone()));
    }
    for import in &artifact.imports {
        if let Some(missing) = host::missing_grant(import, grants) {
            let all: Vec<&str> = grants.iter().map(String::as_str).chain([missing]).collect();
            let grants = format!("{all:?}");
            return Err(LoadError::NotGranted { interface: import.clone(), grants });
        }
    }
    Ok(())
}

/// An instance that was configured before could not be configured again.
fn restart_failure(error: &LoadError) -> TransformError {
    let reason = match error {
        LoadError::Configure { reason, .. } => reason,
        LoadError::Refused(_) => "error",
        _ => "trap",
    };
    TransformError { reason, message: error.to_string() }
}
