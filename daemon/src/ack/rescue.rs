//! What a component refuses for good may be kept by somebody else, who then settles it.

use std::fmt;
use std::sync::Arc;

use super::{Ack, Refusal};
use crate::event::Batch;

/// Takes what is refused for good, instead of its publisher being told so at once.
pub trait Rescue: fmt::Debug + Send + Sync {
    /// Keeps event `row` of `batch`, which was refused with these words, and settles `ack` once
    /// that is done or has failed. Waits for nothing.
    fn rescue(&self, batch: &Batch, row: usize, refusal: Refusal, ack: Ack);
}

/// Who rescues the events of one delivery, and what these are.
#[derive(Debug)]
pub(super) struct Rescuer {
    pub(super) rescue: Arc<dyn Rescue>,
    pub(super) batch: Arc<Batch>,
}

/// Has `rescue` called for each event of `batch` whose ack is refused for good from now on.
pub fn rescue_refused(rescue: &Arc<dyn Rescue>, batch: &Arc<Batch>, acks: &mut [Ack]) {
    let rescuer = Arc::new(Rescuer { rescue: Arc::clone(rescue), batch: Arc::clone(batch) });
    for (row, ack) in (0..).zip(acks) {
        ack.rescuer = Some((Arc::clone(&rescuer), row));
    }
}
