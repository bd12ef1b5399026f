//! What the sink and the disk say, and what publishers are told of it.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout};
use tracing::error;

use super::{Front, WRITE_AGAIN, WRITE_LIMIT, Write};
use crate::ack::{Ack, Answer, Code, Outcome, Refusal};
use crate::event::Batch;
use crate::spool::flight::Place;
use crate::store::{Appending, StoreError};

impl Front {
    /// The sink has a verdict for every event of a flight.
    pub(super) fn landed(&mut self, number: u64, answers: &[Answer]) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        let is_back = |answer: &Answer| fate(answer) == Fate::Back;
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
            if rows.is_empty() {
                self.flights.take(number);
                return;
            }
            self.flights.shrink(number, &rows, left);
            return self.turn();
        }
        if answers.iter().any(is_back) {
            flight.is_back = true;
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
        let Place::Stored(seq) = flight.place else {
            // Nobody was told that it is kept, so what the publisher hears is all there is.
            flight.is_done = true;
            return;
        };
        let rejected = (0..).zip(answers).filter(|(_, answer)| fate(answer) == Fate::Rejected);
        let (rows, refusals): (Vec<u32>, Vec<Refusal>) =
            rejected.map(|(row, answer)| (row, words(answer))).unzip();
        let events = flight.batch.len();
        if rows.is_empty() {
            flight.is_done = true;
            return self.delivered(events);
        }
        let batch = flight.batch.select(&rows);
        self.flights.take(number);
        self.delivered(events - rows.len());
        self.reject(&batch, (seq, seq + events as u64), refusals);
    }

    /// Has kept what the sink refuses though publishers were told that it is safe.
    fn reject(&mut self, batch: &Batch, (from, to): (u64, u64), refusals: Vec<Refusal>) {
        let why = refusals.first().map_or("no reason given", |refusal| &refusal.message);
        let (sink, events) = (&self.spool.id, batch.len());
        error!(%sink, events, why, "sink refuses spooled events; they become dead letters");
        self.spool.stats.rejected.fetch_add(events as u64, Ordering::Relaxed);
        let (receipt, acks) = self.admit(batch);
        for (row, (ack, refusal)) in acks.into_iter().zip(refusals).enumerate() {
            self.keepers.rescue.rescue(batch, row, refusal, ack);
        }
        let write = Write::Rejected { from, to };
        self.writes.push(Box::pin(async move {
            receipt.wait().await;
            (write, all_kept(receipt.answers()))
        }));
    }

    /// A flight is on disk as `seq`: ends it if its verdict is known.
    fn stored(&mut self, number: u64, seq: u64) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        if flight.is_done {
            let events = flight.batch.len() as u64;
            self.flights.take(number);
            self.release(seq, seq + events);
            self.pauses.went_well();
        } else if flight.is_back || self.is_closed {
            self.leave_on_disk(number);
            self.pauses.came_back();
        }
    }

    /// Ends a flight whose events are read again later.
    pub(super) fn leave_on_disk(&mut self, number: u64) {
        self.flights.take(number);
    }

    /// The events `from..to` are done with.
    pub(super) fn release(&mut self, from: u64, to: u64) {
        if self.done.add(from, to) {
            self.spool.journal.release(self.done.low);
        }
    }

    /// Something was written, or could not be.
    pub(super) fn written(&mut self, write: Write, result: Result<u64, Refusal>) {
        if let Write::Keep(_, size) | Write::Secure(_, size) = &write {
            self.writing.events -= size.events;
            self.writing.bytes -= size.bytes;
            self.spool.stats.is_refusing.store(result.is_err(), Ordering::Relaxed);
        }
        match (write, result) {
            (Write::Keep(acks, _), Ok(_)) => keep(acks),
            (Write::Keep(acks, _), Err(refusal)) => self.refuse(acks, &refusal),
            (Write::Secure(numbers, _), Ok(mut seq)) => {
                for number in numbers {
                    let events =
                        self.flights.get_mut(number).map_or(0, |flight| flight.batch.len());
                    self.secured(number, seq);
                    seq += events as u64;
                }
            }
            (Write::Secure(numbers, _), Err(refusal)) => {
                numbers.into_iter().for_each(|number| self.not_secured(number, &refusal));
            }
            (Write::Rejected { from, to }, Ok(_)) => self.release(from, to),
            // It stays where it is and is tried again.
            (Write::Rejected { .. }, Err(_)) => self.pauses.came_back(),
        }
    }

    fn secured(&mut self, number: u64, seq: u64) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        keep(std::mem::take(&mut flight.acks));
        if flight.is_done {
            let events = flight.batch.len();
            self.delivered(events);
        }
        self.flights.set_place(number, Place::Stored(seq));
        self.stored(number, seq);
    }

    fn not_secured(&mut self, number: u64, refusal: &Refusal) {
        let Some(flight) = self.flights.get_mut(number) else { return };
        if flight.is_done {
            self.flights.take(number);
        } else if flight.is_back || self.is_closed {
            let acks = std::mem::take(&mut flight.acks);
            self.flights.take(number);
            self.refuse(acks, refusal);
        } else {
            self.flights.set_place(number, Place::Memory);
            self.write_again = Instant::now() + WRITE_AGAIN;
        }
    }

    fn refuse(&self, acks: Vec<Ack>, refusal: &Refusal) {
        self.spool.stats.refused.fetch_add(acks.len() as u64, Ordering::Relaxed);
        acks.into_iter().for_each(|ack| ack.refuse(refusal.clone()));
    }
}

/// What a sink said about an event that it refused.
fn words(answer: &Answer) -> Refusal {
    match answer {
        Answer::Settled(_, Some(refusal)) => refusal.clone(),
        _ => Refusal::new(Code::Rejected, "no reason given"),
    }
}

/// Whether what was refused is among the dead letters, or why not.
fn all_kept(answers: Vec<Answer>) -> Result<u64, Refusal> {
    let is_kept = |answer: &Answer| matches!(answer, Answer::Settled(Outcome::DeadLettered, _));
    answers.into_iter().find(|answer| !is_kept(answer)).map_or(Ok(0), |answer| Err(words(&answer)))
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

/// Tells publishers that the disk has their events.
fn keep(acks: Vec<Ack>) {
    acks.into_iter().for_each(|ack| ack.settle(Outcome::Spooled));
}

/// Tells a publisher what the sink said.
fn tell(ack: Ack, answer: &Answer) {
    match answer {
        Answer::Settled(_, Some(refusal)) => ack.refuse(refusal.clone()),
        Answer::Settled(outcome, None) => ack.settle(*outcome),
        Answer::Accepted | Answer::Pending => {
            ack.refuse(Refusal::new(Code::Timeout, "the sink says nothing"));
        }
    }
}

/// Where a record is once it is on disk, or what to tell its publishers.
pub(super) async fn in_time(appending: Appending) -> Result<u64, Refusal> {
    let refusal = match timeout(WRITE_LIMIT, appending).await {
        Ok(Ok(seq)) => return Ok(seq),
        Ok(Err(error @ StoreError::TooLarge(_))) => Refusal::new(Code::TooLarge, error.to_string()),
        Ok(Err(error)) => {
            let words = format!("a sink is away and its spool takes nothing: {error}");
            Refusal::new(Code::Unavailable, words)
        }
        // It may still get there.
        Err(_) => Refusal::new(Code::Timeout, "the disk does not answer"),
    };
    Err(refusal)
}
