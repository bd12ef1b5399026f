//! From disk to the sink: in order, within a window, again from where it was given back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::{error, info};

use super::Front;
use crate::event::pack::unpack;
use crate::spool::flight::Place;
use crate::store::{Record, StoreError, Stored};

/// What may be on its way from disk to the sink.
const WINDOW_MAX: (usize, usize) = (4096, 8 << 20);
/// About how much is read at once: little enough that taking it apart keeps nobody waiting.
const READ_BYTES: usize = 128 << 10;
/// The first pause after something came back; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a sink that says it is degraded is tried all the same, with one record: some learn
/// that they are well again only so.
const PROBE_EVERY: Duration = Duration::from_secs(1);
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
    /// Whether the sink was degraded when somebody looked last.
    was_sick: bool,
    read_at: Instant,
    held_since: Option<Instant>,
}

impl Default for Pauses {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            next: PAUSE_MIN,
            until: now,
            is_back: false,
            was_sick: false,
            read_at: now,
            held_since: None,
        }
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

    /// A sink that has just recovered is not kept waiting.
    fn look(&mut self, is_sick: bool, now: Instant) {
        if std::mem::replace(&mut self.was_sick, is_sick) && !is_sick {
            (self.next, self.until) = (PAUSE_MIN, now);
        }
    }
}

impl Front {
    /// Reads on, begins again, or goes back to memory.
    pub(super) fn catch_up(&mut self, is_sick: bool) {
        let now = Instant::now();
        self.pauses.look(is_sick, now);
        let is_clear = self.flights.is_empty() && self.reading.is_none();
        if is_clear && self.pauses.is_back && now >= self.pauses.until {
            self.pauses.is_back = false;
            self.cursor = self.done.low;
        }
        let is_all_written = self.writes.is_empty();
        if is_clear && is_all_written && self.backlog() == 0 && !is_sick {
            info!(sink = %self.spool.id, "sink confirms again; nothing is left in the spool");
            self.is_live = true;
            self.pauses = Pauses::default();
            self.spool.stats.is_refusing.store(false, Ordering::Relaxed);
            return;
        }
        let (events, bytes) = WINDOW_MAX;
        let has_room = self.flights.events < events && self.flights.bytes < bytes;
        let is_due = !is_sick || is_clear && now - self.pauses.read_at >= PROBE_EVERY;
        let is_ready = self.is_replaying() && has_room && is_due && !self.pauses.is_back;
        let next = self.journal.next;
        if is_ready && self.reading.is_none() && self.ended.is_none() && self.cursor < next {
            self.pauses.read_at = now;
            let bytes_max = if is_sick { 1 } else { READ_BYTES };
            let (journal, cursor) = (self.spool.journal.clone(), self.cursor);
            let reading = async move { (next, journal.read(cursor, bytes_max).await) };
            self.reading = Some(reading.boxed());
        }
    }

    /// Records came from disk; `next` was its end before they were read.
    pub(super) fn read(&mut self, next: u64, records: Result<Vec<Stored>, StoreError>) {
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                error!(sink = %self.spool.id, %error, "cannot read the spool");
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
        for Stored { seq, record, .. } in records {
            if seq > self.cursor {
                self.release(self.cursor, seq);
            }
            let end = seq + u64::from(record.events);
            self.cursor = self.cursor.max(end);
            if !self.done.covers(seq, end) {
                self.resend(seq, end, &record);
            }
        }
    }

    /// Hands the events of a record to the sink but for the first ones that are done with.
    fn resend(&mut self, seq: u64, end: u64, record: &Record) {
        let from = seq.max(self.done.low);
        match unpack(&record.bytes) {
            Ok(mut batch) if batch.len() as u64 == end - seq => {
                if from > seq {
                    let rows: Vec<u32> = (0..record.events).skip((from - seq) as usize).collect();
                    batch = batch.select(&rows);
                }
                self.spool.stats.replayed.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.forward(batch.into(), Vec::new(), Place::Stored(from));
            }
            Ok(_) | Err(_) => {
                error!(sink = %self.spool.id, seq, "a spooled record is no batch of events; skipping it");
                self.release(seq, end);
            }
        }
    }

    /// Whether all that passed through memory is settled, which goes before what is on disk.
    fn is_replaying(&self) -> bool {
        self.flights.oldest().is_none_or(|flight| flight.is_replay)
    }

    /// Whether what is new waits so that the end of the file can be reached.
    pub(super) fn is_holding(&mut self) -> bool {
        let is_near = !self.is_live && !self.pauses.is_back && self.backlog() <= HOLD_EVENTS;
        if !is_near || !self.is_replaying() || self.is_sick() {
            return false;
        }
        let now = Instant::now();
        let held = self.pauses.held_since.filter(|since| now - *since < HOLD_EVERY);
        let since = *self.pauses.held_since.insert(held.unwrap_or(now));
        now - since < HOLD
    }
}
