//! What moves within a chain: a delivery, with the places of the fields that the chain reads.

use std::sync::Arc;

use crate::edge::Delivery;
use crate::event::Found;

/// A delivery on its way through a chain.
pub(super) struct Parcel {
    pub(super) delivery: Delivery,
    /// What is known of the JSON data in it.
    pub(super) found: Found,
}

impl Parcel {
    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.delivery.batch.len()
    }

    /// The same events once more, for another taker.
    pub(super) fn fork(&self) -> Self {
        Self { delivery: self.delivery.fork(), found: self.found.clone() }
    }

    /// The first and the second half.
    pub(super) fn halves(mut self) -> (Self, Self) {
        let len = u32::try_from(self.len()).expect("a batch is bounded");
        let middle = len / 2;
        let first: Vec<u32> = (0..middle).collect();
        let second: Vec<u32> = (middle..len).collect();
        let acks = self.delivery.acks.split_off(middle as usize);
        let half = |rows: &[u32], acks| Self {
            delivery: Delivery {
                batch: Arc::new(self.delivery.batch.select(rows)),
                acks,
                entry: self.delivery.entry,
            },
            found: self.found.select(rows),
        };
        let second = half(&second, acks);
        let acks = std::mem::take(&mut self.delivery.acks);
        (half(&first, acks), second)
    }
}

impl From<Delivery> for Parcel {
    fn from(delivery: Delivery) -> Self {
        Self { delivery, found: Found::default() }
    }
}
