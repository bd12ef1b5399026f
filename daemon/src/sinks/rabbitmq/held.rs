//! All that a publisher holds: what waits to be published and what waits for a verdict.
//!
//! Also knows since when the broker is away, and gives everything back once patience is over:
//! what was never published as unavailable, the rest as of unknown outcome.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use tokio::time::Instant;

use super::window::Window;
use crate::ack::{Ack, Code, Refusal};
use crate::edge::{Delivery, Inlet};
use crate::event::Batch;

/// Far enough away to mean never.
const NEVER: Duration = Duration::from_secs(86_400);

/// What a publisher holds.
#[derive(Debug)]
pub(super) struct Held {
    /// Messages published and without a verdict.
    pub(super) window: Window,
    input: Inlet,
    /// The delivery that is being published.
    current: Option<Current>,
    /// When input ended.
    ended: Option<Instant>,
    away_since: Option<Instant>,
    /// Why everything new is given back at once, if it is.
    refusal: Option<Refusal>,
    patience: Duration,
    /// How long a message that was published may go without a verdict, and the end of input
    /// without an end of the sink.
    verdict_max: Duration,
}

#[derive(Debug)]
struct Current {
    batch: Arc<Batch>,
    row: usize,
    acks: vec::IntoIter<Ack>,
}

impl Held {
    pub(super) fn new(
        input: Inlet,
        window: Window,
        patience: Duration,
        stall_timeout: Duration,
    ) -> Self {
        Self {
            window,
            input,
            current: None,
            ended: None,
            away_since: None,
            refusal: None,
            patience,
            verdict_max: patience + stall_timeout,
        }
    }

    /// Nothing can be published, as `since` says or from now on.
    pub(super) fn away(&mut self, since: Option<Instant>) {
        self.away_since.get_or_insert_with(|| since.unwrap_or_else(Instant::now));
    }

    /// Messages can be published again.
    pub(super) fn back(&mut self) {
        self.away_since = None;
        self.refusal = None;
    }

    /// Gives everything new back at once until [`back`](Self::back).
    pub(super) fn refuse_new(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    /// Whether input ended and everything has its verdict.
    pub(super) fn is_done(&self) -> bool {
        self.ended.is_some() && self.current.is_none() && self.window.is_empty()
    }

    /// When everything held will be given back, if nothing changes.
    pub(super) fn patience_ends(&self) -> Instant {
        let ends = [
            self.away_since.map(|since| since + self.patience),
            self.ended.map(|ended| ended + self.verdict_max),
            self.window.oldest().map(|begun| begun + self.verdict_max),
        ];
        let first = ends.into_iter().flatten().min();
        // Once it is over nothing is held, so there is nothing to wake up for.
        first.filter(|end| *end > Instant::now()).unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// Takes the next delivery; never resolves while one is held or input has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn receive(&mut self) {
        if self.current.is_some() || self.ended.is_some() {
            return pending().await;
        }
        let received = self.input.recv().await;
        if received.is_none() {
            self.ended = Some(Instant::now());
        }
        self.hold(received);
    }

    /// The next new message, if the window takes one.
    pub(super) fn next_new(&mut self) -> Option<(Arc<Batch>, usize, Ack)> {
        if self.window.is_full() {
            return None;
        }
        loop {
            if self.current.is_none() {
                let next = self.input.try_recv()?;
                self.hold(Some(next));
            }
            let Current { batch, row, acks } = self.current.as_mut()?;
            if let Some(ack) = acks.next() {
                *row += 1;
                return Some((Arc::clone(batch), *row - 1, ack));
            }
            self.current = None;
        }
    }

    /// Tells the publisher of a message that it will not be delivered.
    pub(super) fn refuse(&mut self, seq: u64, refusal: Refusal) {
        if let Some(slot) = self.window.take(seq) {
            slot.ack.refuse(refusal);
        }
    }

    /// Gives back what got no verdict in time, and everything if patience is over; answers how
    /// many messages that were.
    pub(super) fn give_back_if_over(&mut self) -> u64 {
        let mut count = 0;
        while self.window.oldest().is_some_and(|begun| begun.elapsed() >= self.verdict_max) {
            let Some(slot) = self.window.take_oldest() else { break };
            slot.ack.refuse(Refusal::new(Code::Timeout, "the broker does not confirm"));
            count += 1;
        }
        if !self.is_over() {
            return count;
        }
        let away = || Refusal::new(Code::Unavailable, "the broker is away");
        let refusal = self.refusal.clone().unwrap_or_else(away);
        let unknown = Refusal::new(Code::Timeout, "the broker went away before it confirmed");
        for slot in self.window.take_all() {
            slot.ack.refuse(unknown.clone());
            count += 1;
        }
        loop {
            for ack in self.current.take().into_iter().flat_map(|current| current.acks) {
                ack.refuse(refusal.clone());
                count += 1;
            }
            let Some(next) = self.input.try_recv() else { return count };
            self.hold(Some(next));
        }
    }

    fn is_over(&self) -> bool {
        let is_gone = |since: Option<Instant>, limit| since.is_some_and(|at| at.elapsed() >= limit);
        self.refusal.is_some()
            || is_gone(self.away_since, self.patience)
            || is_gone(self.ended, self.verdict_max)
    }

    fn hold(&mut self, delivery: Option<Delivery>) {
        let hold = |Delivery { batch, acks, .. }| Current { batch, row: 0, acks: acks.into_iter() };
        self.current = delivery.map(hold);
    }
}
