//! What the sink and the disk say, and what publishers are told of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tracing::error;

use super::{Front, Write, sealed};
use crate::ack::{Ack, Answer, Code, Outcome, Refusal};
use crate::spool::flight::Place;
use crate::spool::journal::StoreError;

impl Front {
    /// The sink has a verdict for every event of a flight.
    pub(super) fn landed(&mut self, number: u64, answers: &[Answer]) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        let is_back = |answer: &Answer| fate(answer) == Fate::Back;
        let has_back = answers.iter().any(is_back);
        let place = flight.place;
        if place == Place::Memory {
            let mut rows = Vec::new();
            let mut left = Vec::new();
            let acks = std::mem::take(&mut flight.acks);
            for (row, (ack, answer)) in (0..).zip(acks.into_iter().zip(answers)) {
                if is_back(answer) {
                    rows.push(row);
                    left.push(ack);
                } else {
                    tell(ack, answer);
                }
            }
            if !has_back {
                self.flights.take(number);
                return;
            }
            self.flights.shrink(number, &rows, left);
            return self.turn();
        }
        let has_rejected = answers.iter().any(|answer| fate(answer) == Fate::Rejected);
        // A sink that is not well may refuse what it takes later.
        if has_back || has_rejected && self.is_sick() {
            if let Some(flight) = self.flights.get_mut(number) {
                flight.is_back = true;
            }
        } else {
            self.settled(number, answers);
        }
        if let Place::Stored(seq) = place {
            self.stored(number, seq);
        }
    }

    /// The sink has taken or refused for good every event of a flight that is written.
    fn settled(&mut self, number: u64, answers: &[Answer]) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        for (ack, answer) in std::mem::take(&mut flight.acks).into_iter().zip(answers) {
            tell(ack, answer);
        }
        let rejected = (0..).zip(answers).filter(|(_, answer)| fate(answer) == Fate::Rejected);
        let rejected: Vec<u32> = rejected.map(|(row, _)| row).collect();
        let Place::Stored(seq) = flight.place else {
            // Nobody was told that it is kept, so what the publisher hears is all there is.
            flight.is_done = true;
            return;
        };
        let events = flight.batch.len();
        if rejected.is_empty() {
            flight.is_done = true;
            return self.delivered(events);
        }
        let batch = flight.batch.select(&rejected);
        self.flights.take(number);
        self.delivered(events - rejected.len());
        self.reject(&batch, seq, seq + events as u64, answers);
    }

    /// Keeps what the sink refuses though publishers were told that it is safe.
    fn reject(&mut self, batch: &crate::event::Batch, from: u64, to: u64, answers: &[Answer]) {
        let why = answers.iter().find_map(|answer| match answer {
            Answer::Settled(_, refusal) => refusal.as_ref().map(|refusal| &*refusal.message),
            _ => None,
        });
        let count = batch.len();
        let why = why.unwrap_or("no reason given");
        error!(sink = %self.id, count, why, "the sink refuses spooled events; they are kept beside the spool");
        self.spool.stats.rejected.fetch_add(count as u64, Ordering::Relaxed);
        let appending = self.spool.rejected.append(sealed(batch));
        let write = Write::Rejected { from, to };
        self.writes.push(Box::pin(async move { (write, appending.await) }));
    }

    /// A flight is on disk as `seq`: ends it if its verdict is known.
    fn stored(&mut self, number: u64, seq: u64) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        if flight.is_done {
            let events = flight.batch.len() as u64;
            self.flights.take(number);
            self.release(seq, seq + events);
            self.pauses.went_well();
        } else if flight.is_back {
            self.leave_on_disk(number);
            self.pauses.came_back();
        }
    }

    /// Ends a flight whose events are read again later.
    pub(super) fn leave_on_disk(&mut self, number: u64) {
        let Some(flight) = self.flights.take(number) else { return };
        flight.acks.into_iter().for_each(|ack| ack.settle(Outcome::Spooled));
    }

    /// The events `from..to` are done with.
    pub(super) fn release(&mut self, from: u64, to: u64) {
        if self.done.add(from, to) {
            self.spool.journal.release(self.done.low);
        }
    }

    /// Something was written, or could not be.
    pub(super) fn written(&mut self, write: Write, result: Result<u64, StoreError>) {
        if let Write::Keep(_, size) | Write::Secure(_, size) = &write {
            self.writing.events -= size.events;
            self.writing.bytes -= size.bytes;
        }
        match (write, result) {
            (Write::Keep(acks, _), Ok(_)) => {
                acks.into_iter().for_each(|ack| ack.settle(Outcome::Spooled));
            }
            (Write::Keep(acks, _), Err(error)) => self.refuse(acks, &error),
            (Write::Secure(number, _), Ok(seq)) => self.secured(number, seq),
            (Write::Secure(number, _), Err(error)) => self.not_secured(number, &error),
            (Write::Rejected { from, to }, Ok(_)) => self.release(from, to),
            // It stays where it is and is tried again.
            (Write::Rejected { .. }, Err(_)) => self.pauses.came_back(),
        }
    }

    fn secured(&mut self, number: u64, seq: u64) {
        let (is_sick, is_closed) = (self.is_sick(), self.is_closed);
        let Some(flight) = self.flights.get_mut(number) else { return };
        flight.place = Place::Stored(seq);
        if flight.is_done {
            let events = flight.batch.len();
            self.delivered(events);
        } else if is_closed && !flight.is_back {
            return self.leave_on_disk(number);
        } else if is_sick {
            let acks = std::mem::take(&mut flight.acks);
            acks.into_iter().for_each(|ack| ack.settle(Outcome::Spooled));
        } else {
            flight.acks.iter_mut().for_each(Ack::secure);
        }
        self.stored(number, seq);
    }

    fn not_secured(&mut self, number: u64, error: &StoreError) {
        let is_closed = self.is_closed;
        let Some(flight) = self.flights.get_mut(number) else { return };
        if flight.is_done {
            self.flights.take(number);
        } else if flight.is_back || is_closed {
            let acks = std::mem::take(&mut flight.acks);
            self.flights.take(number);
            self.refuse(acks, error);
        } else {
            flight.place = Place::Memory;
            flight.since = Instant::now();
        }
    }

    fn refuse(&self, acks: Vec<Ack>, error: &StoreError) {
        self.spool.stats.refused.fetch_add(acks.len() as u64, Ordering::Relaxed);
        let refusal = unavailable(&format!("a sink is away and cannot be spooled: {error}"));
        acks.into_iter().for_each(|ack| ack.refuse(refusal.clone()));
    }
}

/// What a verdict means for an event.
#[derive(PartialEq)]
enum Fate {
    Taken,
    Rejected,
    /// The sink does not have it, or nobody knows.
    Back,
}

fn fate(answer: &Answer) -> Fate {
    match answer {
        Answer::Settled(outcome, _) if *outcome < Outcome::Rejected => Fate::Taken,
        Answer::Settled(Outcome::Rejected, _) => Fate::Rejected,
        _ => Fate::Back,
    }
}

/// Tells a publisher what the sink said.
fn tell(ack: Ack, answer: &Answer) {
    match answer {
        Answer::Settled(_, Some(refusal)) => ack.refuse(refusal.clone()),
        Answer::Settled(outcome, None) => ack.settle(*outcome),
        Answer::Accepted | Answer::Pending => ack.refuse(unavailable("no verdict")),
    }
}

pub(super) fn unavailable(message: &str) -> Refusal {
    Refusal::new(Code::Unavailable, Arc::from(message))
}
