//! One dead letter, and how it looks on disk: version, length and JSON of its cover, the event.

use serde::{Deserialize, Serialize};

use crate::ack::Refusal;
use crate::event::pack::{pack, unpack};
use crate::event::{Batch, Event};
use crate::store::{Record, Stored};

const VERSION: u8 = 1;
/// Version and length of the cover.
const HEADER: usize = 1 + 4;

/// An event that a component refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number among the dead letters of its pipeline.
    pub seq: u64,
    /// When it was kept, in microseconds since the Unix epoch.
    pub at: u64,
    /// Why.
    pub cover: Cover,
    /// The event as the component got it, alone in a batch.
    pub batch: Batch,
}

/// Why an event is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The component that refused it.
    pub component: String,
    /// The generation that the component was part of.
    pub generation: u64,
    /// What kind of refusal it was.
    pub code: String,
    /// What the publisher would have been told.
    pub error: String,
}

impl Letter {
    /// The event.
    pub fn event(&self) -> Event<'_> {
        self.batch.event(0)
    }

    /// The letter in a record, or `None` if this version cannot read it.
    pub(super) fn open(stored: &Stored) -> Option<Self> {
        let bytes = &stored.record.bytes;
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        if header[0] != VERSION {
            return None;
        }
        let length = u32::from_le_bytes(header[1..].try_into().ok()?);
        let (cover, packed) = rest.split_at_checked(length as usize)?;
        let batch = unpack(packed).ok().filter(|batch| batch.len() == 1)?;
        let cover = serde_json::from_slice(cover).ok()?;
        Some(Self { seq: stored.seq, at: stored.at, cover, batch })
    }
}

impl Cover {
    /// A cover that says what `refusal` does.
    pub(super) fn new(component: &str, generation: u64, refusal: &Refusal) -> Self {
        Self {
            component: component.to_owned(),
            generation,
            code: refusal.code.name().to_owned(),
            error: refusal.message.to_string(),
        }
    }

    /// The record of event `row` of `batch` under this cover.
    pub(super) fn seal(&self, batch: &Batch, row: usize) -> Record {
        let mut alone = Batch::default();
        alone.push_event(&batch.event(row));
        let cover = serde_json::to_vec(self).expect("text and numbers are JSON");
        let length = u32::try_from(cover.len()).expect("a refusal is a few words");
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&cover);
        bytes.extend_from_slice(&pack(&alone));
        Record { events: 1, bytes }
    }
}
