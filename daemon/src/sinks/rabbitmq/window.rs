//! The messages that were handed to the broker and have no verdict yet, in order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ack::Ack;
use crate::event::Batch;

/// The first pause before a refused message is published again; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(50);

const RETRY_MAX: Duration = Duration::from_secs(1);

/// One message without a verdict.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) batch: Arc<Batch>,
    pub(super) row: usize,
    pub(super) ack: Ack,
    /// When it was published first.
    begun: Instant,
    /// When it was published last.
    pub(super) sent: Instant,
    /// How often the broker refused it.
    refusals: u32,
}

/// Messages without a verdict, from the oldest on.
#[derive(Debug)]
pub(super) struct Window {
    /// The sequence number of the first slot.
    base: u64,
    /// `None` where the verdict is known but an older message still waits.
    slots: VecDeque<Option<Slot>>,
    /// How far apart the oldest and the newest may be.
    size_max: usize,
    open: usize,
    /// Not published on the channel in use, oldest first.
    unsent: VecDeque<u64>,
    /// Refused for now, by the time to publish them again.
    refused: BTreeSet<(Instant, u64)>,
}

impl Window {
    /// An empty window whose first message gets the number `base`.
    pub(super) fn new(base: u64, size_max: usize) -> Self {
        Self {
            base,
            slots: VecDeque::new(),
            size_max,
            open: 0,
            unsent: VecDeque::new(),
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// How many messages have no verdict.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// Whether the oldest message has to get its verdict before a new one fits.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.size_max
    }

    /// The number that the next new message gets.
    pub(super) fn next_seq(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Adds a new message.
    pub(super) fn push(&mut self, batch: Arc<Batch>, row: usize, ack: Ack) {
        let now = Instant::now();
        self.slots.push_back(Some(Slot { batch, row, ack, begun: now, sent: now, refusals: 0 }));
        self.open += 1;
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.slots.get_mut(index)?.as_mut()
    }

    /// Takes out a message whose verdict is known.
    pub(super) fn take(&mut self, seq: u64) -> Option<Slot> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        let slot = self.slots.get_mut(index)?.take()?;
        self.open -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        Some(slot)
    }

    /// When the oldest message was published first.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.front()?.as_ref().map(|slot| slot.begun)
    }

    /// Takes out the oldest message.
    pub(super) fn take_oldest(&mut self) -> Option<Slot> {
        self.take(self.base)
    }

    /// Takes out everything.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Slot> {
        self.base = self.next_seq();
        self.open = 0;
        self.unsent.clear();
        self.refused.clear();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    /// A new channel: everything has to be published again, in order.
    pub(super) fn restart(&mut self) {
        self.refused.clear();
        let open = (self.base..).zip(&self.slots).filter(|(_, slot)| slot.is_some());
        self.unsent = open.map(|(seq, _)| seq).collect();
    }

    /// Puts a refused message back for later; answers how often it was refused.
    pub(super) fn refuse(&mut self, seq: u64) -> u32 {
        let Some(slot) = self.get_mut(seq) else { return 0 };
        slot.refusals += 1;
        let refusals = slot.refusals;
        let pause = (RETRY_MIN * 2_u32.saturating_pow(refusals - 1)).min(RETRY_MAX);
        self.refused.insert((Instant::now() + pause, seq));
        refusals
    }

    /// Puts a message among those to publish again, in order; answers how often that, or a refusal,
    /// happened.
    pub(super) fn send_again(&mut self, seq: u64) -> u32 {
        let Some(slot) = self.get_mut(seq) else { return 0 };
        slot.refusals += 1;
        let refusals = slot.refusals;
        let place = self.unsent.partition_point(|unsent| *unsent < seq);
        self.unsent.insert(place, seq);
        refusals
    }

    /// The next message to publish again now.
    pub(super) fn next_again(&mut self, now: Instant) -> Option<u64> {
        if let Some(seq) = self.unsent.pop_front() {
            return Some(seq);
        }
        let (due, seq) = *self.refused.first()?;
        if due > now {
            return None;
        }
        self.refused.pop_first();
        Some(seq)
    }

    /// When the next refused message is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.refused.first().map(|(due, _)| *due)
    }
}
