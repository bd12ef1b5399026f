//! The task between a chain and a sink: through memory while the sink confirms, else through disk.
//!
//! Deliveries come in from the chain, go out to the sink's edge, and are settled here. Once the
//! sink gives something back, owes a verdict for too long or says that it is degraded, all that
//! it owes is written in order, and so is everything new; nothing new passes from memory until
//! the file is replayed to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::flight::{Done, Flights, Place};
use super::journal::{Record, StoreError, Stored};
use super::{Spool, SpoolSettings, record};
use crate::ack::{Account, Ack, AckMode, Answer, Limits};
use crate::component::{ComponentId, Health, State};
use crate::edge::{Delivery, Inlet, SendError, Sender};
use crate::event::Batch;
use crate::tasks::Tasks;

mod land;
mod replay;

/// What may be on its way to a healthy sink; more waits in the chain's edge.
const LIVE_MAX: (usize, usize) = (32_768, 32 << 20);
/// What may be on its way to disk.
const WRITING_MAX: (usize, usize) = (16_384, 16 << 20);
/// How long the sink has for its verdicts once the input has ended.
const HANDOVER: Duration = Duration::from_secs(1);
/// How often a front that waits for something looks at the clock.
const TICK: Duration = Duration::from_millis(20);
const IDLE_TICK: Duration = Duration::from_secs(1);

type Verdict = (u64, Vec<Answer>);
type Written = (Write, Result<u64, StoreError>);
type ReadRecords = (u64, Result<Vec<Stored>, StoreError>);

/// What to do once something is on disk.
enum Write {
    /// Tell the publishers that their events are kept.
    Keep(Vec<Ack>, Size),
    /// The flight of this number is safe now.
    Secure(u64, Size),
    /// The events `from..to` were refused for good and are kept elsewhere.
    Rejected { from: u64, to: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Size {
    events: usize,
    bytes: usize,
}

/// Spools for one sink in one generation.
pub struct Front {
    id: ComponentId,
    spool: Arc<Spool>,
    settings: SpoolSettings,
    sink: Sender,
    health: Arc<Health>,
    /// The books towards the sink.
    account: Arc<Account>,
    flights: Flights,
    done: Done,
    /// The event to read next.
    cursor: u64,
    /// Whether deliveries pass through memory.
    is_live: bool,
    /// Whether the file's numbers are known.
    is_known: bool,
    verdicts: FuturesUnordered<BoxFuture<'static, Verdict>>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    writing: Size,
    reading: Option<BoxFuture<'static, ReadRecords>>,
    pauses: replay::Pauses,
    ended: Option<Instant>,
    /// Whether the sink's time for verdicts is over.
    is_closed: bool,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.sink.close();
    }
}

impl Front {
    /// A front for the sink `id` that is fed through `sink` and fares as `health` says.
    pub fn new(
        id: ComponentId,
        spool: Arc<Spool>,
        settings: SpoolSettings,
        sink: Sender,
        health: Arc<Health>,
    ) -> Self {
        // The bounds of this module count; the account only keeps the books.
        let limits = Limits { events_max: usize::MAX / 2, bytes_max: usize::MAX / 2 };
        Self {
            id,
            spool,
            settings,
            sink,
            health,
            account: Arc::new(Account::new(limits)),
            flights: Flights::default(),
            done: Done::default(),
            cursor: 0,
            is_live: true,
            is_known: false,
            verdicts: FuturesUnordered::new(),
            writes: FuturesUnordered::new(),
            writing: Size { events: 0, bytes: 0 },
            reading: None,
            pauses: replay::Pauses::default(),
            ended: None,
            is_closed: false,
        }
    }

    /// Works until `input` has ended and everything is settled; then closes the sink's edge.
    /// The file's writer runs as one of `tasks`.
    pub async fn run(mut self, mut input: Inlet, tasks: Tasks) {
        self.spool.start(&self.settings, &tasks);
        let mut health = self.health.watch();
        let mut journal = self.spool.journal.watch();
        loop {
            self.advance(&tasks);
            if self.is_over() {
                break;
            }
            let takes = self.takes();
            let is_idle = self.is_live && self.flights.all.is_empty() && self.is_known;
            let tick = if is_idle && self.ended.is_none() { IDLE_TICK } else { TICK };
            select! {
                biased;
                Some((number, answers)) = self.verdicts.next() => self.landed(number, &answers),
                Some((write, result)) = self.writes.next() => self.written(write, result),
                (next, records) = next_read(&mut self.reading) => self.read(next, records),
                delivery = input.recv(), if takes => match delivery {
                    Some(delivery) => self.take(delivery),
                    None => self.ended = Some(Instant::now()),
                },
                Ok(()) = health.changed() => {}
                Ok(()) = journal.changed() => {}
                () = sleep(tick) => {}
            }
        }
        let left = self.spool.balance().events;
        if left > 0 {
            info!(sink = %self.id, left, "events stay in the spool until the sink runs again");
        }
    }

    fn is_sick(&self) -> bool {
        matches!(*self.health.watch().borrow(), State::Degraded(_))
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() && self.flights.all.is_empty() && self.writes.is_empty()
    }

    /// Whether there is room for another delivery.
    fn takes(&mut self) -> bool {
        let (used, (events, bytes)) = if self.is_live {
            (Size { events: self.flights.events, bytes: self.flights.bytes }, LIVE_MAX)
        } else {
            (self.writing, WRITING_MAX)
        };
        self.ended.is_none() && used.events < events && used.bytes < bytes && !self.is_holding()
    }

    fn take(&mut self, delivery: Delivery) {
        let Delivery { batch, acks, .. } = delivery;
        if self.is_live {
            self.forward(batch, acks, Place::Memory);
        } else {
            self.keep(&batch, acks);
        }
    }

    /// Does what time and others' states ask for.
    fn advance(&mut self, tasks: &Tasks) {
        self.learn();
        let is_sick = self.is_sick();
        let front = self.flights.all.front();
        let is_overdue = front.is_some_and(|flight| {
            flight.place == Place::Memory && flight.since.elapsed() >= self.settings.after
        });
        if is_overdue || self.is_live && (is_sick || self.backlog() > 0) {
            self.turn();
        }
        if !self.is_live {
            self.catch_up(is_sick, tasks);
        }
        if !self.is_closed && self.ended.is_some_and(|ended| ended.elapsed() >= HANDOVER) {
            self.is_closed = true;
            self.turn();
            let stored = self.flights.all.iter();
            let stored = stored.filter(|flight| matches!(flight.place, Place::Stored(_)));
            for number in stored.map(|flight| flight.number).collect::<Vec<_>>() {
                self.leave_on_disk(number);
            }
        }
    }

    /// Takes over the file's numbers once it is open, and whatever it dropped.
    fn learn(&mut self) {
        if !self.spool.journal.is_opened() {
            return;
        }
        let stats = self.spool.journal.stats();
        if !self.is_known {
            self.is_known = true;
            (self.done.low, self.cursor) = (stats.first, stats.first);
            let backlog = stats.next - stats.first;
            if backlog > 0 {
                info!(sink = %self.id, backlog, "events wait in the spool");
            }
        }
        if stats.first > self.done.low {
            self.done.add(self.done.low, stats.first);
            self.cursor = self.cursor.max(self.done.low);
        }
    }

    /// Events in the file that are not done with.
    fn backlog(&self) -> u64 {
        if self.is_known { self.spool.journal.stats().next - self.done.low } else { 0 }
    }

    /// From memory to disk: all that the sink owes is written, in order.
    fn turn(&mut self) {
        if std::mem::take(&mut self.is_live) {
            let owed = self.flights.events;
            warn!(sink = %self.id, owed, "sink does not confirm; its events go to the spool");
        }
        let unwritten = self.flights.all.iter().filter(|flight| flight.place == Place::Memory);
        for number in unwritten.map(|flight| flight.number).collect::<Vec<_>>() {
            let Some(flight) = self.flights.get_mut(number) else { continue };
            let batch = Arc::clone(&flight.batch);
            if flight.is_back {
                let acks = std::mem::take(&mut flight.acks);
                self.flights.take(number);
                self.keep(&batch, acks);
            } else {
                flight.place = Place::Writing;
                self.write(&batch, |size| Write::Secure(number, size));
            }
        }
    }

    /// Hands events to the sink.
    fn forward(&mut self, batch: Arc<Batch>, acks: Vec<Ack>, place: Place) {
        let number = self.flights.push(Arc::clone(&batch), acks, place);
        let sizes = (0..batch.len()).map(|row| batch.data.get(row).len());
        let admitted = self.account.admit(sizes, AckMode::Settled);
        let (receipt, acks) = admitted.expect("the account's limits are out of reach");
        let delivery = Delivery { batch, acks, entry: 0 };
        match self.sink.send(delivery) {
            Ok(()) => {}
            Err(SendError::Full(back) | SendError::Closed(back)) => {
                back.refuse(&land::unavailable("the sink's queue takes nothing"));
            }
        }
        let verdict = async move {
            receipt.wait().await;
            (number, receipt.answers())
        };
        self.verdicts.push(verdict.boxed());
    }

    /// Writes events that nobody sends before they are read again.
    fn keep(&mut self, batch: &Batch, acks: Vec<Ack>) {
        self.write(batch, |size| Write::Keep(acks, size));
    }

    fn write(&mut self, batch: &Batch, then: impl FnOnce(Size) -> Write) {
        let size = Size { events: batch.len(), bytes: batch.bytes() };
        self.writing.events += size.events;
        self.writing.bytes += size.bytes;
        let write = then(size);
        let appending = self.spool.journal.append(sealed(batch));
        self.writes.push(async move { (write, appending.await) }.boxed());
    }

    /// Counts what the sink has for good.
    fn delivered(&self, events: usize) {
        self.spool.stats.delivered.fetch_add(events as u64, Ordering::Relaxed);
    }
}

fn sealed(batch: &Batch) -> Record {
    let events = u32::try_from(batch.len()).expect("a batch is bounded");
    Record { events, bytes: record::encode(batch) }
}

/// Resolves with what is read, or never.
async fn next_read(reading: &mut Option<BoxFuture<'static, ReadRecords>>) -> ReadRecords {
    match reading {
        Some(under_way) => {
            let records = under_way.await;
            *reading = None;
            records
        }
        None => std::future::pending().await,
    }
}
