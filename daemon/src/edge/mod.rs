//! Edges: the queues between the parts of a pipeline, bounded in events and bytes.
//!
//! What moves is a [`Delivery`]: a shared batch and the acks of its events. A source publishes
//! through an [`Outlet`], which admits events to the pipeline's account first; a chain of
//! transforms forwards through a [`Sender`]; whoever consumes holds the [`Inlet`].
//! A consumer takes what is waiting and never waits for more.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::ack::{Account, Ack, AckMode, Code, Dedupe, Receipt, Refusal, Rescue, rescue_refused};
use crate::budget::{Budget, Stage};
use crate::event::Batch;

/// Events and the duty to settle each: `acks[i]` belongs to event `i`.
#[derive(Debug)]
pub struct Delivery {
    /// The events, shared with the other sinks that get them.
    pub batch: Arc<Batch>,
    /// One ack per event.
    pub acks: Vec<Ack>,
    /// Which way through the pipeline they take; sources with equal targets share one.
    pub entry: u16,
}

impl Delivery {
    /// The same events once more, for another taker.
    pub fn fork(&self) -> Self {
        Self {
            batch: Arc::clone(&self.batch),
            acks: self.acks.iter().map(Ack::fork).collect(),
            entry: self.entry,
        }
    }

    /// Refuses every event for the same reason.
    pub fn refuse(self, refusal: &Refusal) {
        for ack in self.acks {
            ack.refuse(refusal.clone());
        }
    }
}

/// The bounds of one edge.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Events waiting.
    pub events: usize,
    /// Bytes waiting.
    pub bytes: usize,
}

/// How much a merged take may hold: enough to amortise a Wasm call, small enough to keep a
/// publisher that came first from waiting for one that came last.
pub const MERGE: Capacity = Capacity { events: 256, bytes: 256 << 10 };

/// A new edge.
pub fn edge(capacity: Capacity) -> (Sender, Inlet) {
    let shared = Arc::new(Shared {
        capacity,
        queue: Mutex::default(),
        passed: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    (Sender { shared: Arc::clone(&shared), rescue: None }, Inlet { shared })
}

#[derive(Debug)]
struct Shared {
    capacity: Capacity,
    /// Held for a push or a pop only, by I/O tasks and worker threads alike, hence a std mutex.
    queue: Mutex<Queue>,
    passed: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Delivery>,
    events: usize,
    bytes: usize,
    is_closed: bool,
    consumer: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an edge holds and has let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeStats {
    /// Events waiting now.
    pub events: usize,
    /// Bytes waiting now.
    pub bytes: usize,
    /// Events that went in so far.
    pub passed: u64,
    /// Events that did not fit.
    pub refused: u64,
}

/// The end of an edge that puts deliveries in. The [`Inlet`] holds the other end.
#[derive(Debug, Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    /// Who keeps what the consumer refuses for good, if anybody does.
    rescue: Option<Arc<dyn Rescue>>,
}

/// Why a delivery did not go in; it comes back whole.
#[derive(Debug)]
pub enum SendError {
    /// The edge holds as much as it may.
    Full(Delivery),
    /// The consumer is gone or going.
    Closed(Delivery),
}

impl Sender {
    /// The same end, with `rescue` for what the consumer refuses for good.
    #[must_use]
    pub fn rescued_by(self, rescue: Arc<dyn Rescue>) -> Self {
        Self { rescue: Some(rescue), ..self }
    }

    /// The same end, with the rescue of `other`, if that has one.
    #[must_use]
    pub fn rescued_like(self, other: &Self) -> Self {
        Self { rescue: other.rescue.clone(), ..self }
    }

    /// Puts `delivery` into the queue, without waiting.
    ///
    /// # Errors
    /// The delivery, if the edge is full or closed.
    pub fn send(&self, mut delivery: Delivery) -> Result<(), SendError> {
        if let Some(rescue) = &self.rescue {
            rescue_refused(rescue, &delivery.batch, &mut delivery.acks);
        }
        let mut queue = self.shared.lock();
        if queue.is_closed {
            return Err(SendError::Closed(delivery));
        }
        let (events, bytes) = (delivery.batch.len(), delivery.batch.bytes());
        let is_full = queue.events + events > self.shared.capacity.events
            || queue.bytes + bytes > self.shared.capacity.bytes;
        if is_full && queue.events > 0 {
            drop(queue);
            self.shared.refused.fetch_add(events as u64, Ordering::Relaxed);
            return Err(SendError::Full(delivery));
        }
        queue.events += events;
        queue.bytes += bytes;
        queue.waiting.push_back(delivery);
        let consumer = queue.consumer.take();
        drop(queue);
        self.shared.passed.fetch_add(events as u64, Ordering::Relaxed);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
        Ok(())
    }

    /// Lets nothing more in; the consumer still gets what is waiting, then the end.
    pub fn close(&self) {
        let mut queue = self.shared.lock();
        queue.is_closed = true;
        let consumer = queue.consumer.take();
        drop(queue);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Another consumer's end, for a component that is built again after it failed.
    pub fn inlet(&self) -> Inlet {
        Inlet { shared: Arc::clone(&self.shared) }
    }

    /// What the edge holds and has let through.
    pub fn stats(&self) -> EdgeStats {
        let queue = self.shared.lock();
        EdgeStats {
            events: queue.events,
            bytes: queue.bytes,
            passed: self.shared.passed.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }
}

/// The end of an edge that takes deliveries out. Ends once the edge is closed and empty.
#[derive(Debug)]
pub struct Inlet {
    shared: Arc<Shared>,
}

impl Inlet {
    /// The next delivery, or `None` at the end of input.
    ///
    /// # Cancel safety
    /// Cancel safe: a delivery is taken only when this resolves.
    pub async fn recv(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll(cx, Queue::pop)).await
    }

    /// The next delivery if one waits.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        self.shared.lock().pop()
    }

    /// All that waits with the same entry, merged into one delivery up to [`MERGE`], or `None`
    /// at the end of input.
    ///
    /// # Cancel safety
    /// Cancel safe: deliveries are taken only when this resolves.
    pub async fn recv_merged(&mut self) -> Option<Delivery> {
        let taken = poll_fn(|cx| self.poll(cx, Queue::pop_merged)).await;
        taken.map(merge)
    }

    /// Like [`recv_merged`](Self::recv_merged), for a worker thread; pending if there was nothing
    /// until the `deadline`.
    pub fn recv_merged_blocking(&mut self, deadline: Option<Instant>) -> Poll<Option<Delivery>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(taken) = self.poll(&cx, Queue::pop_merged) {
                return Poll::Ready(taken.map(merge));
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => return Poll::Pending,
                Some(left) => thread::park_timeout(left),
            }
            // Whoever brought the first event may have more: together they cost less.
            thread::yield_now();
        }
    }

    fn poll<T>(&self, cx: &Context<'_>, pop: impl Fn(&mut Queue) -> Option<T>) -> Poll<Option<T>> {
        let mut queue = self.shared.lock();
        match pop(&mut queue) {
            Some(taken) => Poll::Ready(Some(taken)),
            None if queue.is_closed => Poll::Ready(None),
            None => {
                queue.consumer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Wakes a worker thread that sleeps in [`Inlet::recv_merged_blocking`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.waiting.pop_front()?;
        self.events -= delivery.batch.len();
        self.bytes -= delivery.batch.bytes();
        Some(delivery)
    }

    fn pop_merged(&mut self) -> Option<Vec<Delivery>> {
        let first = self.pop()?;
        let (mut events, mut bytes) = (first.batch.len(), first.batch.bytes());
        let mut taken = vec![first];
        while let Some(next) = self.waiting.front() {
            events += next.batch.len();
            bytes += next.batch.bytes();
            let fits = events <= MERGE.events && bytes <= MERGE.bytes;
            if !fits || next.entry != taken[0].entry {
                break;
            }
            taken.extend(self.pop());
        }
        Some(taken)
    }
}

fn merge(mut taken: Vec<Delivery>) -> Delivery {
    if taken.len() == 1 {
        return taken.swap_remove(0);
    }
    let mut batch = Batch::default();
    let mut acks = Vec::with_capacity(taken.iter().map(|delivery| delivery.acks.len()).sum());
    let entry = taken[0].entry;
    for delivery in taken {
        batch.append(&delivery.batch);
        acks.extend(delivery.acks);
    }
    Delivery { batch: Arc::new(batch), acks, entry }
}

/// What takes less is on its way, however short publishers wait.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Where a source puts its events. Outlives reloads: the runtime points it at the new pipeline.
#[derive(Debug, Clone)]
pub struct Outlet {
    account: Arc<Account>,
    target: Arc<ArcSwapOption<Target>>,
    /// How long a verdict may take for more to be taken whose publishers wait for it.
    wait_max: Duration,
}

/// What an outlet points at.
#[derive(Debug)]
pub struct Target {
    /// The edge into the pipeline.
    pub sender: Sender,
    /// Which way through the pipeline the source's events take.
    pub entry: u16,
    /// What publishers wait for if their source says nothing.
    pub ack: AckMode,
    /// What keeps repeats back, unless the source takes them.
    pub dedupe: Option<Arc<Dedupe>>,
}

impl Outlet {
    /// An outlet that leads nowhere yet, for events booked in `account`.
    pub fn new(account: Arc<Account>) -> Self {
        Self { account, target: Arc::default(), wait_max: Duration::MAX }
    }

    /// The same outlet, for publishers that wait for `ack_timeout`. While a verdict takes half of
    /// that, and a second, it takes no more: that would have its verdict too late, and so would
    /// all that comes behind it.
    #[must_use]
    pub fn for_waiting(self, ack_timeout: Duration) -> Self {
        Self { wait_max: WAIT_MIN.max(ack_timeout / 2), ..self }
    }

    /// Whether the daemon takes no new events for want of memory; counts that somebody asked.
    pub fn is_refusing(&self) -> bool {
        self.account.budget().refuses(Stage::Refusing)
    }

    /// What is charged for events before they are published.
    pub fn budget(&self) -> &Arc<Budget> {
        self.account.budget()
    }

    /// Points the outlet at a pipeline, or at nothing where the source is gone.
    pub fn point(&self, target: Option<Target>) {
        self.target.store(target.map(Arc::new));
    }

    /// Takes events into the pipeline; `mode` is the source's own, if it has one. `named` are the
    /// rows whose id came from the publisher, ascending: of these, repeats are kept back. A source
    /// that may have to publish again keeps a handle to the batch.
    ///
    /// # Errors
    /// [`Code::Overloaded`] or [`Code::Draining`]; nothing was taken then.
    pub fn publish(
        &self,
        batch: impl Into<Arc<Batch>>,
        named: &[u32],
        mode: Option<AckMode>,
    ) -> Result<Receipt, Refusal> {
        let batch = batch.into();
        let gone = || Refusal::new(Code::Draining, "the source is going away");
        let mut target = self.target.load_full().ok_or_else(gone)?;
        let mode = mode.unwrap_or(target.ack);
        if mode == AckMode::Settled && self.account.wait() > self.wait_max {
            let words = "the pipeline's sinks are slower than its publishers";
            return Err(Refusal::new(Code::Overloaded, words));
        }
        let sizes = (0..batch.len()).map(|row| batch.data.get(row).len());
        let (receipt, acks) = self.account.admit(sizes, mode)?;
        let (batch, acks) = match &target.dedupe {
            Some(dedupe) if !named.is_empty() => without_repeats(dedupe, batch, named, acks),
            _ => (batch, acks),
        };
        if batch.is_empty() {
            return Ok(receipt);
        }
        let mut delivery = Delivery { batch, acks, entry: target.entry };
        loop {
            match target.sender.send(delivery) {
                Ok(()) => return Ok(receipt),
                Err(SendError::Full(back)) => {
                    let refusal = Refusal::new(Code::Overloaded, "the pipeline's queue is full");
                    back.refuse(&refusal);
                    return Err(refusal);
                }
                Err(SendError::Closed(back)) => {
                    // A reload closed this edge after it had pointed the outlet at the next one.
                    let next = self.target.load_full().filter(|next| !Arc::ptr_eq(next, &target));
                    let Some(next) = next else {
                        let refusal = gone();
                        back.refuse(&refusal);
                        return Err(refusal);
                    };
                    target = next;
                    delivery = Delivery { entry: target.entry, ..back };
                }
            }
        }
    }
}

fn without_repeats(
    dedupe: &Arc<Dedupe>,
    batch: Arc<Batch>,
    named: &[u32],
    acks: Vec<Ack>,
) -> (Arc<Batch>, Vec<Ack>) {
    match dedupe.sift(&batch, named, acks) {
        (None, acks) => (batch, acks),
        (Some(rows), acks) => (Arc::new(batch.select(&rows)), acks),
    }
}

#[cfg(test)]
mod tests;
