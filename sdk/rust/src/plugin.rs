//! The trait that a plugin implements.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::action::{Action, Failure, Row};
use crate::event::{Batch, Event};
use crate::verdicts::Verdicts;

/// A transform: it judges events one after the other.
///
/// One value lives for as long as its step does, so it may hold state between events. Made known
/// to the daemon by [`register!`](crate::register).
pub trait Plugin: Sized + 'static {
    /// The step's `config` table. [`NoConfig`] where there is none.
    ///
    /// `#[serde(deny_unknown_fields)]` makes a misspelt key an error of `weir check`.
    type Config: DeserializeOwned;

    /// The JSON Schema of `Config`, for `weir check` and editors.
    const SCHEMA: Option<&'static str> = None;

    /// Makes the plugin ready, once, before any event.
    ///
    /// # Errors
    /// In words for who wrote the pipeline file: the pipeline is refused with them.
    fn configure(config: Self::Config, step: &Step) -> Result<Self, String>;

    /// Judges one event.
    ///
    /// # Errors
    /// If it cannot; the step's `on_error` decides what becomes of the event.
    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure>;

    /// Judges a whole batch, in order. Override it where work can be shared between events.
    ///
    /// Events that get no verdict are kept.
    ///
    /// # Errors
    /// If the batch as a whole cannot be judged. The daemon then tries parts of it.
    fn transform_batch(
        &mut self,
        batch: Batch<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> Result<(), String> {
        for event in batch.events() {
            match self.transform(&event) {
                Ok(Action::Keep) => verdicts.keep(),
                Ok(action) => verdicts.act(action),
                Err(failure) => verdicts.fail(failure),
            }
        }
        Ok(())
    }

    /// The fields of JSON data that the plugin reads with [`Event::field`]; asked for once.
    ///
    /// Paths such as `user.plan`, `items[0].sku`, `user["odd.key"]`; `$` is the whole document.
    fn fields(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the plugin reads the payload. Without it the daemon need not copy any.
    fn needs_data(&self) -> bool {
        self.fields().is_empty()
    }
}

/// A plugin that is told the time, also when no event arrives: for windows and sessions.
///
/// Registered by `register!(Type, timer)`. The step says how often: `tick = "1s"`.
pub trait Timer: Plugin {
    /// Emits events of its own; `now` is Unix time in microseconds. Called between two batches.
    ///
    /// A row needs a type; it gets an id, the time `now` and the source `/pipelines/PIPELINE/STEP`.
    /// One call may emit 1024 rows with a megabyte in all: what is left is for the next one, which
    /// comes when these are settled.
    ///
    /// # Errors
    /// If it fails; nothing is emitted then, and what it changed in [`kv`](crate::kv) is undone.
    fn tick(&mut self, now: u64) -> Result<Vec<Row>, Failure>;
}

/// A plugin whose state is carried over when its file is replaced or its pipeline edited.
///
/// Registered by `register!(Type, snapshot)`, or `register!(Type, timer, snapshot)`. A trap and the
/// end of the daemon lose the state: what must last belongs into [`kv`](crate::kv).
pub trait Snapshot: Plugin {
    /// The state, in any form, at most 16 MiB. Called after the last batch.
    fn save(&mut self) -> Vec<u8>;

    /// Takes over what `save` of the former version returned. Called before the first batch.
    ///
    /// # Errors
    /// If it cannot; the step begins with a plugin that was made anew.
    fn restore(&mut self, state: &[u8]) -> Result<(), String>;
}

/// Where the plugin runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The pipeline, named as its file.
    pub pipeline: String,
    /// The step's name within the pipeline.
    pub name: String,
    /// Which of the step's instances this is, from 0.
    pub instance: u32,
    /// The version of the daemon.
    pub host_version: String,
}

/// The `config` of a plugin that takes none: any key in it is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
