//! How a publisher learns what became of its events.
//!
//! Whoever takes events in admits them to the pipeline's [`Account`], which answers a [`Receipt`]
//! for the publisher and one [`Ack`] per event. The acks travel with the events; each copy of an
//! event is settled once, the worst outcome of all copies wins, and a copy that is dropped
//! unsettled counts as [`Outcome::Lost`], so forgetting can never look like success.
//!
//! The account also bounds what is in flight: events are admitted only while the pipeline holds
//! less than its limits, which is what keeps every queue behind it bounded.

mod dedupe;
mod outcome;
mod result;

pub use dedupe::{Dedupe, DedupeSettings, DedupeStats};
pub use outcome::{Code, Outcome, Refusal};

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use dedupe::ClaimCell;

/// What a publisher waits for before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// Every sink has its verdict.
    Settled,
    /// Transforms ran and the live sinks took it; sinks that settle later are not waited for.
    Routed,
    /// In memory only.
    Accepted,
}

/// How much a pipeline may hold unsettled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events in flight.
    pub events_max: usize,
    /// Bytes in flight.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events_max: 65_536, bytes_max: 64 << 20 }
    }
}

/// A pipeline's books: what it received, what it holds, what became of the rest.
///
/// Lives as long as the daemon, whatever generation the pipeline is in.
#[derive(Debug, Default)]
pub struct Account {
    limits: Limits,
    received: AtomicU64,
    /// One counter per [`Outcome`], at its number minus one.
    settled: [AtomicU64; Outcome::ALL.len()],
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// The books at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Events admitted so far.
    pub received: u64,
    /// Of these, dropped by a transform on purpose.
    pub filtered: u64,
    /// Of these, taken in before.
    pub duplicate: u64,
    /// Of these, delivered to every sink.
    pub delivered: u64,
    /// Of these, safe on disk for a sink that gets them later.
    pub spooled: u64,
    /// Of these, kept among the dead letters.
    pub dead_lettered: u64,
    /// Of these, refused for good.
    pub rejected: u64,
    /// Of these, given back to the publisher to try again.
    pub unavailable: u64,
    /// Of these, lost by a defect; anything but 0 is a bug.
    pub lost: u64,
    /// Of these, not settled yet.
    pub in_flight: u64,
}

impl Account {
    /// Books that admit events within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes events of the given `sizes` in bytes into the books.
    ///
    /// # Errors
    /// [`Code::Overloaded`] while the pipeline holds as much as it may; nothing was taken then.
    pub fn admit(
        self: &Arc<Self>,
        sizes: impl ExactSizeIterator<Item = usize>,
        mode: AckMode,
    ) -> Result<(Receipt, Vec<Ack>), Refusal> {
        let slots: Box<[Slot]> = sizes.map(Slot::new).collect();
        let bytes = slots.iter().map(|slot| slot.bytes as usize).sum();
        let held = self.events.fetch_add(slots.len(), Ordering::Relaxed);
        let held_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // An empty pipeline takes any batch that its source let through.
        let is_full = held + slots.len() > self.limits.events_max
            || held_bytes + bytes > self.limits.bytes_max;
        if is_full && held > 0 {
            self.events.fetch_sub(slots.len(), Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refusal::new(Code::Overloaded, "the pipeline holds as much as it may"));
        }
        self.received.fetch_add(slots.len() as u64, Ordering::Relaxed);
        let count = u32::try_from(slots.len()).expect("a request holds far fewer events");
        let ledger = Arc::new(Ledger {
            account: Arc::clone(self),
            mode,
            open: AtomicU32::new(count),
            slots,
            refusals: Mutex::default(),
            claims: ClaimCell::new(),
            closed: Notify::new(),
        });
        let awaited = mode != AckMode::Accepted;
        let acks = (0..count)
            .map(|index| Ack { ledger: Some(Arc::clone(&ledger)), index, awaited, is_safe: false })
            .collect();
        Ok((Receipt { ledger }, acks))
    }

    /// The books as they are now.
    pub fn balance(&self) -> Balance {
        let settled = |outcome: Outcome| self.settled[outcome as usize - 1].load(Ordering::Relaxed);
        Balance {
            received: self.received.load(Ordering::Relaxed),
            filtered: settled(Outcome::Filtered),
            duplicate: settled(Outcome::Duplicate),
            delivered: settled(Outcome::Delivered),
            spooled: settled(Outcome::Spooled),
            dead_lettered: settled(Outcome::DeadLettered),
            rejected: settled(Outcome::Rejected),
            unavailable: settled(Outcome::Unavailable),
            lost: settled(Outcome::Lost),
            in_flight: self.events.load(Ordering::Relaxed) as u64,
        }
    }

    fn settle(&self, outcome: Outcome, bytes: usize) {
        self.settled[outcome as usize - 1].fetch_add(1, Ordering::Relaxed);
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What the receipt and the acks of one request share.
#[derive(Debug)]
struct Ledger {
    account: Arc<Account>,
    mode: AckMode,
    /// Events that the publisher still waits for.
    open: AtomicU32,
    slots: Box<[Slot]>,
    /// Words for the events that fared badly. Touched only when one does, and never across an
    /// await, hence a std mutex.
    refusals: Mutex<Vec<(u32, Refusal)>>,
    /// What repeats of the events are known by; set before the events go on.
    claims: ClaimCell,
    /// Told once when `open` reaches 0; the receipt waits for it.
    closed: Notify,
}

/// One event of a request.
#[derive(Debug)]
struct Slot {
    /// Copies of the event that are not settled.
    copies: AtomicU32,
    /// Of these, copies that the publisher waits for.
    awaited: AtomicU32,
    /// Of these, copies that are safe on disk.
    safe: AtomicU32,
    /// The worst outcome of the copies that the publisher waits for.
    answer: AtomicU8,
    /// The worst outcome of all copies.
    worst: AtomicU8,
    bytes: u32,
}

impl Slot {
    fn new(bytes: usize) -> Self {
        Self {
            copies: AtomicU32::new(1),
            awaited: AtomicU32::new(1),
            safe: AtomicU32::new(0),
            answer: AtomicU8::new(0),
            worst: AtomicU8::new(0),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        }
    }

    /// The answer that waits for no verdict: only a repeat is known at once.
    fn accepted(&self) -> Answer {
        match self.worst.load(Ordering::Relaxed) {
            worst if worst == Outcome::Duplicate as u8 => {
                Answer::Settled(Outcome::Duplicate, None)
            }
            _ => Answer::Accepted,
        }
    }

    /// The answer while `awaited` copies have no verdict.
    fn pending(&self, awaited: u32) -> Answer {
        let answer = self.answer.load(Ordering::Relaxed).max(Outcome::Spooled as u8);
        let is_safe = self.safe.load(Ordering::Acquire) >= awaited;
        if is_safe && answer == Outcome::Spooled as u8 {
            Answer::Settled(Outcome::Spooled, None)
        } else {
            Answer::Pending
        }
    }
}

/// The right and duty to settle one copy of an event.
///
/// Dropping it unsettled settles it as [`Outcome::Lost`].
#[derive(Debug)]
pub struct Ack {
    /// `None` once settled.
    ledger: Option<Arc<Ledger>>,
    index: u32,
    /// Whether the publisher waits for this copy.
    awaited: bool,
    /// Whether this copy is safe on disk.
    is_safe: bool,
}

impl Ack {
    /// Says what became of this copy.
    pub fn settle(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    /// Says that this copy was not delivered, and why.
    pub fn refuse(mut self, refusal: Refusal) {
        let outcome = refusal.code.outcome();
        if let Some(ledger) = self.ledger.as_ref().filter(|_| self.awaited) {
            let mut refusals = ledger.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.push((self.index, refusal));
        }
        self.close(outcome);
    }

    /// One more copy of the event, which somebody else settles.
    pub fn fork(&self) -> Self {
        if let Some(ledger) = &self.ledger {
            let slot = &ledger.slots[self.index as usize];
            slot.copies.fetch_add(1, Ordering::Relaxed);
            if self.awaited {
                slot.awaited.fetch_add(1, Ordering::Relaxed);
            }
        }
        Self {
            ledger: self.ledger.clone(),
            index: self.index,
            awaited: self.awaited,
            is_safe: false,
        }
    }

    /// Says that this copy is safe on disk: a publisher that waits no longer is told
    /// [`Outcome::Spooled`] instead of nothing.
    pub fn secure(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        if self.awaited && !std::mem::replace(&mut self.is_safe, true) {
            let slot = &ledger.slots[self.index as usize];
            let safe = slot.safe.fetch_add(1, Ordering::AcqRel) + 1;
            if let Some(claims) = ledger.claims.get()
                && safe >= slot.awaited.load(Ordering::Acquire)
            {
                claims.secured(self.index);
            }
        }
    }

    /// Lets the publisher go if it asked only for [`AckMode::Routed`]: this copy now belongs to
    /// a sink that settles later.
    pub fn detach(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        if self.awaited && ledger.mode == AckMode::Routed {
            self.awaited = false;
            ledger.answer(self.index, Outcome::Delivered, false);
        }
    }

    fn close(&mut self, outcome: Outcome) {
        let Some(ledger) = self.ledger.take() else { return };
        let slot = &ledger.slots[self.index as usize];
        slot.worst.fetch_max(outcome as u8, Ordering::Relaxed);
        if slot.copies.fetch_sub(1, Ordering::AcqRel) == 1 {
            let worst = Outcome::from_u8(slot.worst.load(Ordering::Relaxed));
            ledger.account.settle(worst, slot.bytes as usize);
            if let Some(claims) = ledger.claims.get() {
                claims.settled(self.index, worst, || ledger.refusal(self.index, worst));
            }
        }
        // Booked first: who is answered and looks finds its events in the books.
        if self.awaited {
            ledger.answer(self.index, outcome, self.is_safe);
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.close(Outcome::Lost);
    }
}

impl Ledger {
    /// What was said about event `index` when it got `outcome`.
    fn refusal(&self, index: u32, outcome: Outcome) -> Option<Refusal> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_this = refusals.iter().filter(|(row, _)| *row == index);
        let said = of_this.find(|(_, refusal)| refusal.code.outcome() == outcome);
        said.map(|(_, refusal)| refusal.clone())
    }

    /// Notes the outcome of one copy that the publisher waits for.
    fn answer(&self, index: u32, outcome: Outcome, was_safe: bool) {
        let slot = &self.slots[index as usize];
        slot.answer.fetch_max(outcome as u8, Ordering::Relaxed);
        if was_safe {
            slot.safe.fetch_sub(1, Ordering::Relaxed);
        }
        if slot.awaited.fetch_sub(1, Ordering::AcqRel) == 1
            && self.open.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.closed.notify_one();
        }
    }
}

/// What the publisher holds: one answer per event, in the order published.
#[derive(Debug)]
pub struct Receipt {
    ledger: Arc<Ledger>,
}

/// The answer for one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The verdict asked for.
    Settled(Outcome, Option<Refusal>),
    /// In memory only, as the publisher's source allows.
    Accepted,
    /// No verdict yet.
    Pending,
}

impl Receipt {
    /// Resolves once every event has the verdict that the ack mode asks for.
    ///
    /// # Cancel safety
    /// Cancel safe; ask [`answers`](Self::answers) for what is known by then.
    pub async fn wait(&self) {
        if self.ledger.mode == AckMode::Accepted {
            return;
        }
        while self.ledger.open.load(Ordering::Acquire) > 0 {
            self.ledger.closed.notified().await;
        }
    }

    /// The answers as they stand, one per event.
    pub fn answers(&self) -> Vec<Answer> {
        let is_plain = {
            let refusals = self.ledger.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.is_empty()
        };
        let answer = |(index, slot): (u32, &Slot)| {
            if self.ledger.mode == AckMode::Accepted {
                slot.accepted()
            } else if let awaited @ 1.. = slot.awaited.load(Ordering::Acquire) {
                slot.pending(awaited)
            } else {
                let outcome = Outcome::from_u8(slot.answer.load(Ordering::Relaxed));
                let is_silent = outcome < Outcome::Rejected || is_plain;
                let refusal =
                    if is_silent { None } else { self.ledger.refusal(index, outcome) };
                Answer::Settled(outcome, refusal)
            }
        };
        (0..).zip(&self.ledger.slots).map(answer).collect()
    }
}

#[cfg(test)]
mod tests;
