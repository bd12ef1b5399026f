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
    /// Of its publishers; none once it is on disk, where publishers have been told.
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
    all: VecDeque<Flight>,
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Flights that are in memory alone.
    unwritten: usize,
    next: u64,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<&Flight> {
        self.all.front()
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unwritten > 0
    }

    /// The numbers of those at `is_there`.
    pub(super) fn at(&self, is_there: impl Fn(Place) -> bool) -> Vec<u64> {
        let there = self.all.iter().filter(|flight| is_there(flight.place));
        there.map(|flight| flight.number).collect()
    }

    /// Adds a flight; answers its number.
    pub(super) fn push(&mut self, batch: Arc<Batch>, acks: Vec<Ack>, place: Place) -> u64 {
        self.events += batch.len();
        self.bytes += batch.bytes();
        self.unwritten += usize::from(place == Place::Memory);
        let number = self.next;
        self.next += 1;
        self.all.push_back(Flight {
            number,
            batch,
            acks,
            is_replay: place != Place::Memory,
            since: Instant::now(),
            place,
            is_back: false,
            is_done: false,
        });
        number
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Flight> {
        let index = self.index(number)?;
        self.all.get_mut(index)
    }

    pub(super) fn set_place(&mut self, number: u64, place: Place) {
        let Some(flight) = self.get_mut(number) else { return };
        let before = std::mem::replace(&mut flight.place, place);
        self.unwritten += usize::from(place == Place::Memory);
        self.unwritten -= usize::from(before == Place::Memory);
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
        let index = self.index(number)?;
        let flight = self.all.remove(index)?;
        self.events -= flight.batch.len();
        self.bytes -= flight.batch.bytes();
        self.unwritten -= usize::from(flight.place == Place::Memory);
        Some(flight)
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.all.binary_search_by_key(&number, |flight| flight.number).ok()
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

    /// Whether the events `from..to` are known to be done with.
    pub(super) fn covers(&self, from: u64, to: u64) -> bool {
        let from = from.max(self.low);
        let before = self.after.range(..=from).next_back();
        from >= to || before.is_some_and(|(_, end)| *end >= to)
    }
}
