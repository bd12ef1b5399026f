//! What a transform is, and the verdicts it answers.

use thiserror::Error;

use crate::event::{Batch, Blobs, Extensions, Texts};

/// Judges a batch: keep, drop, replace, route or fail each event.
///
/// Runs on a worker thread, never on the I/O runtime.
pub trait Transform: Send + 'static {
    /// Judges every event of `batch`; the answer holds one verdict per event.
    ///
    /// # Errors
    /// If the whole batch could not be judged. The chain then tries halves of it, until the
    /// event that is to blame is alone.
    fn transform(&mut self, batch: &Batch) -> Result<Verdicts, TransformError>;
}

/// What happens to one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passes on untouched.
    Keep,
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
    /// The rows that replace the events judged [`Verdict::Emit`].
    pub emitted: Rows,
    /// Words for the events judged [`Verdict::Fail`], ascending by event.
    pub failures: Vec<Failure>,
}

/// Rows that replace events. An empty column means that each row inherits from its origin.
#[derive(Debug, Default)]
pub struct Rows {
    /// The event that each row comes from, non-decreasing.
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
    /// The reason label in metrics: `trap`, `timeout`, `memory`, `output`, `bad_answer`, `error`.
    pub reason: &'static str,
    /// What happened, a lowercase fragment.
    pub message: String,
}
