//! How a publisher learns what became of its events.
//!
//! Whoever takes events in admits them to the pipeline's [`Account`], which answers a [`Receipt`]
//! for the publisher and one [`Ack`] per event. The acks travel with the events; each copy of an
//! event is settled once, the worst outcome of all copies wins, and a copy that is dropped
//! unsettled counts as [`Outcome::Lost`], so forgetting can never look like success.
//!
//! The account also bounds what is in flight: events are admitted only while the pipeline holds
//! less than its limits, which is what keeps every queue behind it bounded.

mod account;
mod dedupe;
mod outcome;
mod rescue;
mod result;

pub use account::{Account, Balance, Limits};
pub use dedupe::{Dedupe, DedupeSettings, DedupeStats};
pub use outcome::{Code, Outcome, Refusal};
pub use rescue::{Rescue, rescue_refused};

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use dedupe::ClaimCell;
use rescue::Rescuer;

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
            answer: AtomicU8::new(0),
            worst: AtomicU8::new(0),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        }
    }

    /// The answer that waits for no verdict: only a repeat is known at once.
    fn accepted(&self) -> Answer {
        match self.worst.load(Ordering::Relaxed) {
            worst if worst == Outcome::Duplicate as u8 => Answer::Settled(Outcome::Duplicate, None),
            _ => Answer::Accepted,
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
    /// Who keeps the event if it is refused for good, and its row there.
    rescuer: Option<(Arc<Rescuer>, u32)>,
}

impl Ack {
    /// Says what became of this copy.
    pub fn settle(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    /// Says that this copy was not delivered, and why. Who rescues it settles it then.
    pub fn refuse(mut self, refusal: Refusal) {
        let outcome = refusal.code.outcome();
        if outcome == Outcome::Rejected
            && let Some((rescuer, row)) = self.rescuer.take()
        {
            return rescuer.rescue.rescue(&rescuer.batch, row as usize, refusal, self);
        }
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
            rescuer: None,
        }
    }

    /// Lets the publisher go if it asked only for [`AckMode::Routed`]: this copy now belongs to
    /// a sink that settles later.
    pub fn detach(&mut self) {
        self.let_go(Outcome::Delivered);
    }

    /// Tells `outcome` to a publisher that asked only for [`AckMode::Routed`].
    fn let_go(&mut self, outcome: Outcome) {
        let Some(ledger) = &self.ledger else { return };
        if self.awaited && ledger.mode == AckMode::Routed {
            self.awaited = false;
            ledger.answer(self.index, outcome);
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
            ledger.answer(self.index, outcome);
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.close(Outcome::Lost);
    }
}

impl Ledger {
    /// Opens the books of one request: its receipt, and one ack per slot.
    fn open(account: Arc<Account>, mode: AckMode, slots: Box<[Slot]>) -> (Receipt, Vec<Ack>) {
        let count = u32::try_from(slots.len()).expect("a request holds far fewer events");
        let ledger = Arc::new(Ledger {
            account,
            mode,
            open: AtomicU32::new(count),
            slots,
            refusals: Mutex::default(),
            claims: ClaimCell::new(),
            closed: Notify::new(),
        });
        let awaited = mode != AckMode::Accepted;
        let acks = (0..count)
            .map(|index| Ack { ledger: Some(Arc::clone(&ledger)), index, awaited, rescuer: None })
            .collect();
        (Receipt { ledger }, acks)
    }

    /// What was said about event `index` when it got `outcome`.
    fn refusal(&self, index: u32, outcome: Outcome) -> Option<Refusal> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_this = refusals.iter().filter(|(row, _)| *row == index);
        let said = of_this.find(|(_, refusal)| refusal.code.outcome() == outcome);
        said.map(|(_, refusal)| refusal.clone())
    }

    /// Notes the outcome of one copy that the publisher waits for.
    fn answer(&self, index: u32, outcome: Outcome) {
        let slot = &self.slots[index as usize];
        slot.answer.fetch_max(outcome as u8, Ordering::Relaxed);
        if slot.awaited.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let is_well = slot.answer.load(Ordering::Relaxed) < Outcome::Rejected as u8;
        if let Some(claims) = self.claims.get()
            && is_well
            && slot.copies.load(Ordering::Acquire) > 0
        {
            claims.answered(index);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
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
            } else if slot.awaited.load(Ordering::Acquire) > 0 {
                Answer::Pending
            } else {
                let outcome = Outcome::from_u8(slot.answer.load(Ordering::Relaxed));
                let is_silent = outcome < Outcome::Rejected || is_plain;
                let refusal = if is_silent { None } else { self.ledger.refusal(index, outcome) };
                Answer::Settled(outcome, refusal)
            }
        };
        (0..).zip(&self.ledger.slots).map(answer).collect()
    }
}

#[cfg(test)]
mod tests;
