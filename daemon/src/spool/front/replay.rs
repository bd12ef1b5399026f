//! From disk to the sink: in order, within a window, again from where it was given back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::{error, info};

use super::Front;
use crate::spool::flight::Place;
use crate::spool::journal::{StoreError, Stored};
use crate::spool::record;
use crate::tasks::Tasks;

/// What may be on its way from disk to the sink.
const WINDOW_MAX: (usize, usize) = (4096, 8 << 20);
/// About how much is read at once.
const READ_BYTES: usize = 1 << 20;
/// The first pause after something came back; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a sink that says it is degraded is tried all the same, with one record.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// With so few events left on disk, what is new waits, so that the end can be reached.
const HOLD_EVENTS: u64 = 2048;
/// How long it waits for that.
const HOLD: Duration = Duration::from_millis(500);
/// How often it may.
const HOLD_EVERY: Duration = Duration::from_secs(3);

/// When to read again.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    until: Instant,
    /// Something came back: begin again with the oldest once nothing is under way.
    is_back: bool,
    read_at: Instant,
    held_since: Option<Instant>,
}

impl Default for Pauses {
    fn default() -> Self {
        let now = Instant::now();
        Self { next: PAUSE_MIN, until: now, is_back: false, read_at: now, held_since: None }
    }
}

impl Pauses {
    pub(super) fn went_well(&mut self) {
        if !self.is_back {
            self.next = PAUSE_MIN;
        }
    }

    pub(super) fn came_back(&mut self) {
        if !std::mem::replace(&mut self.is_back, true) {
            self.until = Instant::now() + self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
            self.next = (self.next * 2).min(PAUSE_MAX);
        }
    }
}

impl Front {
    /// Reads on, begins again, or goes back to memory.
    pub(super) fn catch_up(&mut self, is_sick: bool, tasks: &Tasks) {
        let now = Instant::now();
        let is_clear = self.flights.all.is_empty() && self.reading.is_none();
        if is_clear && self.pauses.is_back && now >= self.pauses.until {
            self.pauses.is_back = false;
            self.cursor = self.done.low;
        }
        let left = self.backlog();
        if is_clear && self.writes.is_empty() && left == 0 && !is_sick {
            if self.is_known || self.spool.journal.stats().trouble.is_some() {
                info!(sink = %self.id, "sink confirms again; nothing is left in the spool");
                self.is_live = true;
                self.pauses = Pauses::default();
            }
            return;
        }
        // What passed through memory goes before what is on disk.
        let is_first = self.flights.all.front().is_none_or(|flight| flight.is_replay);
        let (events, bytes) = WINDOW_MAX;
        let has_room = self.flights.events < events && self.flights.bytes < bytes;
        let is_due = !is_sick || is_clear && now - self.pauses.read_at >= PROBE_EVERY;
        let is_ready = is_first && has_room && is_due && !self.pauses.is_back;
        let next = self.spool.journal.stats().next;
        if !is_ready || self.reading.is_some() || self.ended.is_some() || self.cursor >= next {
            return;
        }
        self.pauses.read_at = now;
        self.spool.rejected.start(tasks);
        let bytes_max = if is_sick { 1 } else { READ_BYTES };
        let (journal, cursor) = (self.spool.journal.clone(), self.cursor);
        let reading = async move { (next, journal.read(cursor, bytes_max).await) };
        self.reading = Some(reading.boxed());
    }

    /// Records came from disk; `next` was its end before they were read.
    pub(super) fn read(&mut self, next: u64, records: Result<Vec<Stored>, StoreError>) {
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                error!(sink = %self.id, %error, "cannot read the spool");
                return self.pauses.came_back();
            }
        };
        if self.pauses.is_back || self.is_closed {
            return;
        }
        if records.is_empty() {
            // All that was left there was dropped or damaged; the journal has counted it.
            self.release(self.cursor, next);
            self.cursor = self.cursor.max(next);
        }
        for Stored { seq, record } in records {
            if seq > self.cursor {
                self.release(self.cursor, seq);
            }
            let end = seq + u64::from(record.events);
            self.cursor = self.cursor.max(end);
            if self.done.contains(seq) {
                continue;
            }
            match record::decode(&record.bytes) {
                Ok(batch) => {
                    let events = batch.len() as u64;
                    self.spool.stats.replayed.fetch_add(events, Ordering::Relaxed);
                    self.forward(batch.into(), Vec::new(), Place::Stored(seq));
                }
                Err(error) => {
                    error!(sink = %self.id, seq, %error, "a spooled record is left out");
                    self.release(seq, end);
                }
            }
        }
    }

    /// Whether what is new waits so that the end of the file can be reached.
    pub(super) fn is_holding(&mut self) -> bool {
        let is_near = !self.is_live && !self.pauses.is_back && self.backlog() <= HOLD_EVENTS;
        if !is_near || self.is_sick() {
            return false;
        }
        let now = Instant::now();
        let held = self.pauses.held_since.filter(|since| now - *since < HOLD_EVERY);
        let since = *self.pauses.held_since.insert(held.unwrap_or(now));
        now - since < HOLD
    }
}
