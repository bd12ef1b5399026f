//! What a front has handed to the sink and has no verdict of, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::ack::Ack;
use crate::event::Batch;

/// Where the events of a flight are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Memory,
    /// On their way.
    Writing,
    /// In the record with this number.
    Stored(u64),
}

/// Events handed to the sink.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) batch: Arc<Batch>,
    /// Of its publishers; none for what was read from disk.
    pub(super) acks: Vec<Ack>,
    /// Whether it was read from disk.
    pub(super) is_replay: bool,
    pub(super) since: Instant,
    pub(super) place: Place,
    /// Whether the sink gave it back while it was on its way to disk.
    pub(super) is_back: bool,
    /// Whether the sink took all of it while it was on its way to disk.
    pub(super) is_done: bool,
}

/// Flights from the oldest on.
#[derive(Debug, Default)]
pub(super) struct Flights {
    pub(super) all: VecDeque<Flight>,
    pub(super) events: usize,
    pub(super) bytes: usize,
    next: u64,
}

impl Flights {
    /// Adds a flight; answers its number.
    pub(super) fn push(&mut self, batch: Arc<Batch>, acks: Vec<Ack>, place: Place) -> u64 {
        self.events += batch.len();
        self.bytes += batch.bytes();
        let number = self.next;
        self.next += 1;
        let since = Instant::now();
        self.all.push_back(Flight {
            number,
            batch,
            acks,
            is_replay: place != Place::Memory,
            since,
            place,
            is_back: false,
            is_done: false,
        });
        number
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Flight> {
        let index = self.all.binary_search_by_key(&number, |flight| flight.number).ok()?;
        self.all.get_mut(index)
    }

    /// Leaves only `rows` of a flight, which the sink gave back.
    pub(super) fn shrink(&mut self, number: u64, rows: &[u32], acks: Vec<Ack>) {
        let Some(flight) = self.get_mut(number) else { return };
        let before = Arc::clone(&flight.batch);
        if rows.len() < before.len() {
            flight.batch = Arc::new(before.select(rows));
        }
        let after = Arc::clone(&flight.batch);
        flight.acks = acks;
        flight.is_back = true;
        self.events -= before.len() - after.len();
        self.bytes = self.bytes + after.bytes() - before.bytes();
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Flight> {
        let index = self.all.binary_search_by_key(&number, |flight| flight.number).ok()?;
        let flight = self.all.remove(index)?;
        self.events -= flight.batch.len();
        self.bytes -= flight.batch.bytes();
        Some(flight)
    }
}

/// Which events on disk are done with: all before `low`, and some after.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) low: u64,
    after: BTreeMap<u64, u64>,
}

impl Done {
    /// Notes that the events `from..to` are done with; answers whether `low` moved.
    pub(super) fn add(&mut self, from: u64, to: u64) -> bool {
        let before = self.low;
        if from <= self.low {
            self.low = self.low.max(to);
        } else {
            self.after.insert(from, to);
        }
        while let Some(next) = self.after.first_entry() {
            if *next.key() > self.low {
                break;
            }
            self.low = self.low.max(next.remove());
        }
        self.low > before
    }

    /// Whether the record at `seq` is done with.
    pub(super) fn contains(&self, seq: u64) -> bool {
        seq < self.low || self.after.contains_key(&seq)
    }
}
