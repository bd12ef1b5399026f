//! What a session needs of a source to publish through it.

use std::fmt;
use std::pin::Pin;

use serde_json::value::RawValue;

use crate::ack::Refusal;
use crate::live::Admission;

/// Takes the events of `pub` frames.
pub(crate) trait Intake: Send + Sync + fmt::Debug {
    /// How many events a connection may have published without a verdict.
    fn window(&self) -> usize;

    /// Publishes the event objects of one frame for whoever has shown what `admission` says.
    ///
    /// # Errors
    /// Why the whole frame was not taken.
    fn publish(
        &self,
        events: &[&RawValue],
        admission: Option<&Admission>,
    ) -> Result<Results, Refusal>;
}

/// The results to come: a JSON array with one object per event.
pub(crate) type Results = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;
