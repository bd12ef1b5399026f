//! Packed batches come back whole; other bytes are an error or a batch that can be read.

use super::{pack, unpack};
use crate::event::{Batch, Draft};

fn random(chance: &mut fastrand::Rng) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..chance.usize(..6) {
        let text = |chance: &mut fastrand::Rng| {
            let len = chance.usize(..5);
            (0..len).map(|_| chance.char(..)).collect::<String>()
        };
        let (id, source, subject) = (text(chance), text(chance), text(chance));
        let data: Vec<u8> = (0..chance.usize(..20)).map(|_| chance.u8(..)).collect();
        let extensions = [("tenant", id.as_str()), ("trace", source.as_str())];
        batch.push(&Draft {
            id: &id,
            source: &source,
            event_type: "cart.add",
            subject: chance.bool().then_some(&subject),
            content_type: chance.bool().then_some("text/plain"),
            time: chance.u64(..),
            arrival: chance.u64(..),
            data: &data,
            extensions: &extensions[..chance.usize(..3)],
        });
    }
    batch
}

#[test]
fn a_batch_comes_back_as_it_was() {
    let mut chance = fastrand::Rng::with_seed(7);
    for _ in 0..500 {
        let batch = random(&mut chance);
        assert_eq!(unpack(&pack(&batch)), Ok(batch));
    }
}

#[test]
fn damaged_bytes_are_an_error_or_a_batch_that_can_be_read() {
    let mut chance = fastrand::Rng::with_seed(8);
    for _ in 0..40 {
        let packed = pack(&random(&mut chance));
        for at in 0..packed.len() {
            assert!(unpack(&packed[..at]).is_err(), "cut at {at}");
            let mut flipped = packed.clone();
            flipped[at] ^= 1 << chance.u8(..8);
            let Ok(batch) = unpack(&flipped) else { continue };
            for event in batch.iter() {
                let read = (event.draft().data.len(), event.extensions().count());
                assert!(read.0 <= packed.len() && read.1 <= packed.len());
            }
        }
    }
}
