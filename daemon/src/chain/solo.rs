//! One transform without a chain around it: what the tools for plugin authors run and measure.

use std::fmt;

use weir_fields::Wanted;

use super::patch::{Known, patched};
use super::wanted;
use crate::component::{Transform, TransformError, Verdict, Verdicts};
use crate::event::{Batch, Blobs, Fields, Found};

/// A transform that judges batches as it would in a chain.
pub struct Solo<T> {
    /// The transform.
    pub transform: T,
    wanted: Wanted,
    slots: Vec<usize>,
}

/// What a transform makes of a batch.
#[derive(Debug)]
pub struct Judged {
    /// One verdict per event; `patch` only where the data was changed.
    pub verdicts: Verdicts,
    /// The payloads with all patches made, where there are any.
    pub patched: Option<Blobs>,
}

impl<T> fmt::Debug for Solo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solo").field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl<T: Transform> Solo<T> {
    /// Runs `transform` alone.
    pub fn new(transform: T) -> Self {
        let (wanted, mut slots) = wanted(&[transform.reads()]);
        let slots = slots.pop().expect("there is one transform");
        Self { transform, wanted, slots }
    }

    /// Finds the fields that the transform reads, asks for its verdicts and makes its patches.
    ///
    /// # Errors
    /// If the batch could not be judged as a whole.
    pub fn judge(&mut self, batch: &Batch) -> Result<Judged, TransformError> {
        let mut found = Found::default();
        if !self.slots.is_empty() {
            found.look(&self.wanted, batch);
        }
        let mut verdicts = self.transform.transform(batch, &Fields::new(&found, &self.slots))?;
        let is_patched = verdicts.verdicts.contains(&Verdict::Patch);
        let known = Known { wanted: &mut self.wanted, found: &mut found };
        let patched = is_patched.then(|| patched(&batch.data, &mut verdicts, known));
        Ok(Judged { verdicts, patched })
    }
}
