//! The task between a chain and a sink: through memory while the sink confirms, else through disk.
//!
//! Deliveries come in from the chain, go out to the sink's edge, and are settled here. Once the
//! sink gives something back, owes a verdict for too long or says that it is degraded, all that
//! it owes is written in order, and so is everything new; nothing new passes from memory until
//! the file is replayed to its end. Publishers are told `spooled` as soon as the disk has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::flight::{Done, Flights, Place};
use super::{Spool, SpoolSettings};
use crate::ack::{Account, Ack, AckMode, Answer, Code, Limits, Receipt, Refusal, Rescue};
use crate::component::{Health, State};
use crate::edge::{Delivery, Inlet, MERGE, SendError, Sender};
use crate::event::Batch;
use crate::event::pack::pack;
use crate::store::{Dropped, JournalState, JournalStats, Record, StoreError, Stored};
use crate::tasks::Tasks;

mod land;
mod replay;

/// What may be on its way to a healthy sink; more waits in the chain's edge.
const LIVE_MAX: Size = Size { events: 32_768, bytes: 16 << 20 };
/// What may be on its way to disk.
const WRITING_MAX: Size = Size { events: 16_384, bytes: 8 << 20 };
/// Records that may be on their way to disk; the journal's queue takes twice as many.
const RECORDS_MAX: usize = 4_096;
/// How long the disk may take for a record before its publisher is told that nobody knows. Less
/// than the drain limit, so that a disk that hangs never keeps a reload or a stop.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// The pause before what could not be written is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// How long new events wait for the file to be opened, because what is in it goes first.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
/// How long the sink has for its verdicts once the input has ended.
const HANDOVER: Duration = Duration::from_secs(1);
/// How often a front that waits for something looks at the clock.
const TICK: Duration = Duration::from_millis(20);
const IDLE_TICK: Duration = Duration::from_secs(1);
/// How often dropped events are mentioned at most.
const MENTION_EVERY: Duration = Duration::from_secs(10);

type Verdict = (u64, Vec<Answer>);
type Written = (Write, Result<u64, Refusal>);
type ReadRecords = (u64, Result<Vec<Stored>, StoreError>);

/// What to do once something is on disk.
enum Write {
    /// Tell the publishers that their events are kept.
    Keep(Vec<Ack>, Size),
    /// The flights of these numbers, one after the other, are safe now.
    Secure(Vec<u64>, Size),
    /// The events `from..to` were refused for good and are kept elsewhere.
    Rejected { from: u64, to: u64 },
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    events: usize,
    bytes: usize,
}

/// Who writes what a front wants kept.
#[derive(Debug)]
pub struct Keepers {
    /// Where the file's writer runs.
    pub tasks: Tasks,
    /// Who keeps what the sink refuses for good after its publisher was told `spooled`.
    pub rescue: Arc<dyn Rescue>,
}

/// Spools for one sink in one generation.
pub struct Front {
    spool: Arc<Spool>,
    settings: SpoolSettings,
    sink: Sender,
    health: watch::Receiver<State>,
    keepers: Keepers,
    /// The books towards the sink.
    account: Arc<Account>,
    flights: Flights,
    /// The journal as it was seen last.
    journal: JournalStats,
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
    /// When what could not be written is tried again.
    write_again: Instant,
    reading: Option<BoxFuture<'static, ReadRecords>>,
    pauses: replay::Pauses,
    mentioned: (Dropped, Instant),
    started: Instant,
    ended: Option<Instant>,
    /// Whether the sink's time for verdicts is over.
    is_closed: bool,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("spool", &self.spool).finish_non_exhaustive()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.sink.close();
    }
}

impl Front {
    /// A front for the sink of `spool`, which is fed through `sink` and fares as `health` says.
    pub fn new(
        spool: Arc<Spool>,
        settings: SpoolSettings,
        sink: Sender,
        health: &Health,
        keepers: Keepers,
    ) -> Self {
        // The bounds of this module count; the account only keeps the books.
        let limits = Limits { events_max: usize::MAX / 2, bytes_max: usize::MAX / 2 };
        let now = Instant::now();
        Self {
            spool,
            settings,
            sink,
            health: health.watch(),
            keepers,
            account: Arc::new(Account::new(limits)),
            flights: Flights::default(),
            journal: JournalStats::default(),
            done: Done::default(),
            cursor: 0,
            is_live: true,
            is_known: false,
            verdicts: FuturesUnordered::new(),
            writes: FuturesUnordered::new(),
            writing: Size::default(),
            write_again: now,
            reading: None,
            pauses: replay::Pauses::default(),
            mentioned: (Dropped::default(), now),
            started: now,
            ended: None,
            is_closed: false,
        }
    }

    /// Works until `input` has ended and everything is settled; then closes the sink's edge.
    pub async fn run(mut self, mut input: Inlet) {
        self.spool.start(self.settings, &self.keepers.tasks);
        self.started = Instant::now();
        let mut health = self.health.clone();
        let mut appended = self.spool.journal.appended();
        loop {
            self.advance();
            if self.is_over() {
                break;
            }
            let (takes, is_live, tick) = (self.takes(), self.is_live, self.tick());
            select! {
                biased;
                Some((number, answers)) = self.verdicts.next() => self.landed(number, &answers),
                Some((write, result)) = self.writes.next() => self.written(write, result),
                (next, records) = next_read(&mut self.reading) => self.read(next, records),
                delivery = receive(&mut input, is_live), if takes => match delivery {
                    Some(delivery) => self.take(delivery),
                    None => self.ended = Some(Instant::now()),
                },
                Ok(()) = health.changed() => {}
                Ok(()) = appended.changed() => {}
                () = sleep(tick) => {}
            }
        }
        let left = self.backlog();
        if left > 0 {
            info!(sink = %self.spool.id, left, "events stay in the spool until the sink runs again");
        }
    }

    fn is_sick(&self) -> bool {
        matches!(*self.health.borrow(), State::Degraded(_))
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() && self.flights.is_empty() && self.writes.is_empty()
    }

    fn tick(&self) -> Duration {
        let is_idle = self.is_live && self.is_known && self.flights.is_empty();
        if is_idle && self.ended.is_none() { IDLE_TICK } else { TICK }
    }

    /// Whether there is room for another delivery.
    fn takes(&mut self) -> bool {
        if self.ended.is_some() || !self.is_known && self.started.elapsed() < OPEN_LIMIT {
            return false;
        }
        let (used, max) = if self.is_live {
            (Size { events: self.flights.events, bytes: self.flights.bytes }, LIVE_MAX)
        } else {
            (self.writing, WRITING_MAX)
        };
        let has_room = used.events < max.events && used.bytes < max.bytes;
        has_room && self.writes.len() < RECORDS_MAX && !self.is_holding()
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
    fn advance(&mut self) {
        self.learn();
        let is_sick = self.is_sick();
        if self.is_overdue() || self.is_live && (is_sick || self.backlog() > 0) {
            self.turn();
        }
        if !self.is_live {
            self.catch_up(is_sick);
        }
        if !self.is_closed && self.ended.is_some_and(|ended| ended.elapsed() >= HANDOVER) {
            self.is_closed = true;
            self.turn();
            for number in self.flights.at(|place| matches!(place, Place::Stored(_))) {
                self.leave_on_disk(number);
            }
        }
    }

    /// Whether something in memory waits too long for the sink, or may be tried to be written.
    fn is_overdue(&self) -> bool {
        let now = Instant::now();
        let oldest = self.flights.oldest();
        let is_late = oldest.is_some_and(|flight| now - flight.since >= self.settings.after);
        // Without a disk, memory is the better place.
        let is_possible = !matches!(self.journal.state, JournalState::Failed(_));
        let is_due = now >= self.write_again && (is_late || !self.is_live);
        self.flights.has_unwritten() && is_due && is_possible
    }

    /// Takes over the file's numbers once it is open, and whatever it dropped.
    fn learn(&mut self) {
        self.journal = self.spool.journal.stats();
        if self.journal.next == 0 {
            return;
        }
        if !std::mem::replace(&mut self.is_known, true) {
            (self.done.low, self.cursor) = (self.journal.first, self.journal.first);
            let backlog = self.backlog();
            if backlog > 0 {
                info!(sink = %self.spool.id, backlog, "events wait in the spool");
            }
        }
        if self.journal.first > self.done.low {
            self.done.add(self.done.low, self.journal.first);
            self.cursor = self.cursor.max(self.done.low);
        }
        let Dropped { full, age, damaged } = self.journal.dropped;
        let (mentioned, at) = self.mentioned;
        if self.journal.dropped != mentioned && at.elapsed() >= MENTION_EVERY {
            self.mentioned = (self.journal.dropped, Instant::now());
            error!(sink = %self.spool.id, full, age, damaged, "the spool gave events up");
        }
    }

    /// Events in the file that are not done with.
    fn backlog(&self) -> u64 {
        if self.is_known { self.journal.next.saturating_sub(self.done.low) } else { 0 }
    }

    /// From memory to disk: all that the sink owes is written, in order and in few records.
    fn turn(&mut self) {
        if std::mem::take(&mut self.is_live) {
            let owed = self.flights.events;
            warn!(sink = %self.spool.id, owed, "sink does not confirm; its events go to the spool");
        }
        let mut numbers = Vec::new();
        let mut batches: Vec<Arc<Batch>> = Vec::new();
        let mut size = Size::default();
        for number in self.flights.at(|place| place == Place::Memory) {
            let Some(flight) = self.flights.get_mut(number) else { continue };
            let batch = Arc::clone(&flight.batch);
            self.flights.set_place(number, Place::Writing);
            let is_full = size.events + batch.len() > MERGE.events
                || size.bytes + batch.bytes() > MERGE.bytes;
            if is_full && !batches.is_empty() {
                self.secure(std::mem::take(&mut numbers), &std::mem::take(&mut batches));
                size = Size::default();
            }
            size.events += batch.len();
            size.bytes += batch.bytes();
            numbers.push(number);
            batches.push(batch);
        }
        self.secure(numbers, &batches);
    }

    /// Writes flights as one record.
    fn secure(&mut self, numbers: Vec<u64>, batches: &[Arc<Batch>]) {
        match batches {
            [] => {}
            [batch] => self.write(batch, |size| Write::Secure(numbers, size)),
            [first, others @ ..] => {
                let mut merged = Batch::clone(first);
                others.iter().for_each(|batch| merged.append(batch));
                self.write(&merged, |size| Write::Secure(numbers, size));
            }
        }
    }

    /// Hands events to the sink.
    fn forward(&mut self, batch: Arc<Batch>, acks: Vec<Ack>, place: Place) {
        let number = self.flights.push(Arc::clone(&batch), acks, place);
        let (receipt, acks) = self.admit(&batch);
        match self.sink.send(Delivery { batch, acks, entry: 0 }) {
            Ok(()) => {}
            Err(SendError::Full(back) | SendError::Closed(back)) => {
                let words = "the sink's queue takes nothing";
                back.refuse(&Refusal::new(Code::Unavailable, words));
            }
        }
        let verdict = async move {
            receipt.wait().await;
            (number, receipt.answers())
        };
        self.verdicts.push(verdict.boxed());
    }

    /// Acks for events that are the front's own now, and what becomes of them.
    fn admit(&self, batch: &Batch) -> (Receipt, Vec<Ack>) {
        let sizes = (0..batch.len()).map(|row| batch.data.get(row).len());
        let admitted = self.account.admit(sizes, AckMode::Settled);
        admitted.expect("the account's limits are out of reach")
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
        let written = async move { (write, land::in_time(appending).await) };
        self.writes.push(written.boxed());
    }

    /// Counts what the sink has for good.
    fn delivered(&self, events: usize) {
        self.spool.stats.delivered.fetch_add(events as u64, Ordering::Relaxed);
    }
}

fn sealed(batch: &Batch) -> Record {
    let events = u32::try_from(batch.len()).expect("a batch is bounded");
    Record { events, bytes: pack(batch) }
}

/// The next delivery; for the disk as much as waits, so that few records hold it.
async fn receive(input: &mut Inlet, is_live: bool) -> Option<Delivery> {
    if is_live { input.recv().await } else { input.recv_merged().await }
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
