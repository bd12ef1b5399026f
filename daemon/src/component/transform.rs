//! What a transform is, and the verdicts it answers.

use thiserror::Error;

use weir_fields::{Path, Value};

use crate::event::{Batch, Blobs, Extensions, Fields, Texts};

/// Judges a batch: keep, drop, replace, route or fail each event.
///
/// Runs on a worker thread, never on the I/O runtime.
pub trait Transform: Send + 'static {
    /// The fields of JSON data that it wants to have found; always the same ones.
    fn reads(&self) -> &[Path] {
        &[]
    }

    /// Judges every event of `batch`; the answer holds one verdict per event. `fields` are those
    /// that it [`reads`](Self::reads), in that order.
    ///
    /// # Errors
    /// If the whole batch could not be judged. The chain then tries halves of it, until the
    /// event that is to blame is alone.
    fn transform(&mut self, batch: &Batch, fields: &Fields<'_>)
    -> Result<Verdicts, TransformError>;

    /// Tells it the time, in microseconds since the Unix epoch; called between two batches. The
    /// rows become new events: each has a type, and none an origin.
    ///
    /// # Errors
    /// If it failed; nothing is emitted then.
    fn tick(&mut self, _now: u64) -> Result<Rows, TransformError> {
        Ok(Rows::default())
    }

    /// What it knows, for the one that takes its place; called after its last batch. `None` if it
    /// has nothing to hand over.
    fn save(&mut self) -> Option<Result<Vec<u8>, TransformError>> {
        None
    }

    /// Takes over what the one before it has saved; called before its first batch.
    ///
    /// # Errors
    /// If it cannot; it begins without then.
    fn restore(&mut self, _state: Vec<u8>) -> Result<(), TransformError> {
        Ok(())
    }
}

/// What happens to one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passes on untouched.
    Keep,
    /// Passes on with the changes of [`Patches`] that are of it.
    Patch,
    /// Is dropped on purpose.
    Drop,
    /// Is replaced by the rows of [`Rows`] that come from it.
    Emit,
    /// Could not be judged; `on_error` decides.
    Fail,
}

/// The answer for a batch of n events.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// One per event, in order.
    pub verdicts: Vec<Verdict>,
    /// The changes of the events judged [`Verdict::Patch`].
    pub patches: Patches,
    /// The rows that replace the events judged [`Verdict::Emit`].
    pub emitted: Rows,
    /// Words for the events judged [`Verdict::Fail`], ascending by event.
    pub failures: Vec<Failure>,
}

/// Changes to fields of JSON data, one after the other.
#[derive(Debug, Default)]
pub struct Patches {
    /// The event that each changes, non-decreasing.
    pub origins: Vec<u32>,
    /// The fields that are changed.
    pub names: Vec<Path>,
    /// For each change, the index of its field.
    pub name_of: Vec<u32>,
    /// What each field becomes, numbered as in the contract.
    pub kinds: Vec<u8>,
    /// The text of each value: that of a string, the JSON of a number, an array or an object.
    pub values: Texts,
}

/// Rows that replace events, or of a tick. An empty column means that each row inherits from its
/// origin; a row of a tick has nothing to inherit.
#[derive(Debug, Default)]
pub struct Rows {
    /// The event that each row comes from, non-decreasing; empty for rows of a tick.
    pub origins: Vec<u32>,
    /// New payloads.
    pub data: Blobs,
    /// Strings that the columns below index.
    pub dictionary: Texts,
    /// New types.
    pub types: Vec<u32>,
    /// New subjects, [`NONE`](crate::event::NONE) for none.
    pub subjects: Vec<u32>,
    /// New content types, [`NONE`](crate::event::NONE) for none.
    pub content_types: Vec<u32>,
    /// Named routes, [`NONE`](crate::event::NONE) for the default one.
    pub routes: Vec<u32>,
    /// New extension attributes, in place of the origin's.
    pub extensions: Option<Extensions>,
}

impl Patches {
    /// What change `index` sets its field to.
    ///
    /// # Panics
    /// If there is no such change.
    pub fn value(&self, index: usize) -> Value<'_> {
        match self.kinds[index] {
            0 => Value::Remove,
            1 => Value::Null,
            2 => Value::Bool(false),
            3 => Value::Bool(true),
            5 => Value::Text(self.values.get(index)),
            _ => Value::Json(self.values.get(index)),
        }
    }
}

/// Who is to blame for a failed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The event.
    Invalid,
    /// Something that may pass by itself.
    Transient,
    /// The plugin.
    Internal,
}

/// Why an event could not be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its place in the batch.
    pub event: u32,
    /// Who is to blame.
    pub kind: FailureKind,
    /// What happened, for the publisher.
    pub message: String,
}

/// Why a whole batch could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TransformError {
    /// The reason label in metrics, one of [`REASONS`](Self::REASONS).
    pub reason: &'static str,
    /// What happened, a lowercase fragment.
    pub message: String,
}

impl TransformError {
    /// Why runs fail.
    pub const REASONS: [&str; 8] =
        ["trap", "timeout", "memory", "output", "host_calls", "bad_answer", "error", "panic"];
}
