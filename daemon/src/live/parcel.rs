//! Events of one batch on their way to a hub, each with its channel and whoever waits for it.

use std::sync::Arc;

use super::message::Post;
use super::pattern::Channel;
use crate::ack::{Ack, Outcome, Refusal};
use crate::event::encode::CHANNEL_MARK;
use crate::event::pack::pack;
use crate::event::{Batch, Draft, Texts};
use crate::store::Record;

/// Events for a hub.
#[derive(Debug)]
pub struct Parcel {
    batch: Arc<Batch>,
    /// Which events of the batch.
    rows: Vec<u32>,
    /// Where each of them goes.
    channels: Texts,
    acks: Vec<Ack>,
}

impl Parcel {
    /// No event of `batch` yet.
    pub fn new(batch: Arc<Batch>) -> Self {
        Self { batch, rows: Vec::new(), channels: Texts::default(), acks: Vec::new() }
    }

    /// Adds the event at `row` of the batch.
    pub fn push(&mut self, row: u32, channel: Channel<'_>, ack: Ack) {
        self.rows.push(row);
        self.channels.push(channel.as_str());
        self.acks.push(ack);
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The events with their channels.
    pub(super) fn posts(&self) -> Vec<Post<'_>> {
        let rows = self.rows.iter().zip(self.channels.iter());
        let post = |(row, name): (&u32, _)| Post {
            channel: Channel::known(name),
            event: self.batch.event(*row as usize),
        };
        rows.map(post).collect()
    }

    /// About how many bytes the events have.
    pub(super) fn size(&self) -> usize {
        self.rows.len() * (self.batch.bytes() / self.batch.len().max(1) + 64)
    }

    /// The events with their channels, as a journal keeps them.
    pub(super) fn record(&self) -> Record {
        let mut kept = Batch::default();
        for Post { channel, event } in self.posts() {
            let own = event.extensions().filter(|(name, _)| *name != CHANNEL_MARK);
            let extensions: Vec<_> = own.chain([(CHANNEL_MARK, channel.as_str())]).collect();
            kept.push(&Draft { extensions: &extensions, ..event.draft() });
        }
        let events = u32::try_from(kept.len()).expect("an edge bounds the events of a batch");
        Record { events, bytes: pack(&kept) }
    }

    /// Says that the hub has the events.
    pub(super) fn settle(self) {
        for ack in self.acks {
            ack.settle(Outcome::Delivered);
        }
    }

    /// Says that it does not, and why.
    pub(super) fn refuse(self, refusal: &Refusal) {
        for ack in self.acks {
            ack.refuse(refusal.clone());
        }
    }
}
