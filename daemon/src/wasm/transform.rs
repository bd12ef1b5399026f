//! A plugin as a transform: the step's settings, its linked imports, and its present instance.

use std::fmt;
use std::sync::Arc;

use tracing::warn;
use wasmtime::component::Linker;
use weir_fields::Path;

use super::artifact::{Artifact, LoadError};
use super::host::{self, Voice};
use super::instance::{Instance, Mould, StepSetup, Usage};
use crate::component::{Rows, Transform, TransformError, Verdicts};
use crate::event::{Batch, Fields};

/// After so many batches an instance is made anew, so that what leaks inside does not add up.
const BATCHES_MAX: u32 = 100_000;

/// A transform that runs a plugin in the sandbox.
pub struct WasmTransform {
    mould: Mould,
    /// What its first instance asked for, and all others must.
    reads: Vec<Path>,
    has_state: bool,
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
        let instance = mould.cast()?;
        let has_state = mould.setup.grants.iter().any(|grant| grant == host::KV);
        let reads = instance.reads.clone();
        Ok(Self { mould, has_state, reads, instance: Some(instance) })
    }
}

impl WasmTransform {
    /// A new instance, which must want what the first one did.
    fn restart(&self) -> Result<Instance, TransformError> {
        let instance = self.mould.cast().map_err(|error| restart_failure(&error))?;
        if instance.reads == self.reads {
            return Ok(instance);
        }
        let message = "it asks for other fields than when it was loaded".to_owned();
        Err(TransformError { reason: "bad_answer", message })
    }

    /// What an instance that is not called again hands over.
    fn saved(&self, instance: &mut Instance) -> Option<Result<Vec<u8>, TransformError>> {
        let saved = self.mould.save(instance)?;
        instance.end_run(saved.is_ok());
        Some(saved)
    }

    /// The instance `new` with the `state` of the old one, or without where that fails.
    fn renewed(
        &self,
        mut new: Instance,
        state: Option<Result<Vec<u8>, TransformError>>,
    ) -> Result<Instance, TransformError> {
        let Some(state) = state else { return Ok(new) };
        let restored = state.and_then(|state| self.mould.restore(&mut new, state));
        new.end_run(restored.is_ok());
        let Err(error) = restored else { return Ok(new) };
        let (step, reason) = (&self.mould.setup.id, error.reason);
        warn!(%step, reason, %error, "an instance made anew begins without the state of the old one");
        drop(new);
        self.restart()
    }

    /// Has `run` done by an instance in good order, which is kept unless the run spoilt it.
    fn run<T>(
        &mut self,
        run: impl FnOnce(&Mould, &mut Instance) -> Result<T, TransformError>,
    ) -> Result<T, TransformError> {
        if self.has_state {
            // Before the clock of the call runs. A plugin that asks is told why there is none.
            drop(self.mould.setup.lends.state.open());
        }
        let mut instance = match self.instance.take() {
            Some(instance) if instance.batches < BATCHES_MAX => instance,
            old => {
                let state = old.and_then(|mut old| self.saved(&mut old));
                // The old one has given its slot back before the next one is taken.
                let new = self.restart()?;
                self.renewed(new, state)?
            }
        };
        let answer = run(&self.mould, &mut instance);
        // A batch is tried again in parts, a tick some other time, so each change is made once.
        instance.end_run(answer.is_ok());
        if answer.as_ref().map_or_else(|error| error.reason == "error", |_| true) {
            self.instance = Some(instance);
        }
        answer
    }

    /// What the present instance has used so far; nothing where there is none after a failure.
    pub fn usage(&self) -> Usage {
        self.instance.as_ref().map(Instance::usage).unwrap_or_default()
    }
}

impl Transform for WasmTransform {
    fn reads(&self) -> &[Path] {
        &self.reads
    }

    fn transform(
        &mut self,
        batch: &Batch,
        fields: &Fields<'_>,
    ) -> Result<Verdicts, TransformError> {
        self.run(|mould, instance| mould.process(instance, batch, fields))
    }

    fn tick(&mut self, now: u64) -> Result<Rows, TransformError> {
        self.run(|mould, instance| mould.tick(instance, now))
    }

    fn save(&mut self) -> Option<Result<Vec<u8>, TransformError>> {
        // After a failure there is no instance, and nothing that it knew.
        self.instance.take().and_then(|mut instance| self.saved(&mut instance))
    }

    fn restore(&mut self, state: Vec<u8>) -> Result<(), TransformError> {
        let restored = self.run(|mould, instance| mould.restore(instance, state));
        if restored.is_err() {
            // Who took half of it over is made anew.
            self.instance = None;
        }
        restored
    }
}

fn check_grants(artifact: &Artifact, grants: &[String]) -> Result<(), LoadError> {
    if let Some(wrong) = grants.iter().find_map(|grant| host::wrong_grant(grant)) {
        return Err(wrong);
    }
    let missing = |import: &String| {
        let name = host::missing_grant(import, grants)?;
        Some(if name == host::HTTP { "http:HOST".to_owned() } else { name.to_owned() })
    };
    let lacking: Vec<String> = artifact.imports.iter().filter_map(missing).collect();
    if let Some(interface) = artifact.imports.iter().find(|import| missing(import).is_some()) {
        let grants: Vec<&String> = grants.iter().chain(&lacking).collect();
        let (interface, grants) = (interface.clone(), format!("{grants:?}"));
        return Err(LoadError::NotGranted { interface, grants });
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
