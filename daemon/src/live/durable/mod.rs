//! The history of a hub on disk, and the task that keeps it.
//!
//! A journal has the hub's events, and its numbers are the hub's: an event is appended, and only
//! when the disk has it does the keeper hand it to the subscribers and settle it, in the order of
//! the journal. So whatever a subscriber ever saw is there after a crash, with the same cursor.
//! What a hub remembers in memory bounds the journal too; a start fills the one from the other.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use crate::ack::{Code, Refusal};
use crate::event::encode::CHANNEL_MARK;
use crate::event::pack::unpack;
use crate::live::cursor::Epoch;
use crate::live::history::HistoryLimits;
use crate::live::hub::Hub;
use crate::live::message::Post;
use crate::live::parcel::Parcel;
use crate::live::pattern::Channel;
use crate::store::{
    Appending, EXTENSION, Journal, JournalSettings, JournalState, StoreError, Stored, WhenFull,
};
use crate::tasks::{Stop, Tasks};
use crate::units::now_micros;

/// The folder of the journals of all hubs in the data directory.
pub const FOLDER: &str = "hubs";

/// Parcels that may wait for the disk; enough to fill a sync while the one before it lasts. What
/// is in them is bounded by what pipelines admit.
const WAITING_MAX: usize = 1_024;

/// How long the disk may take for a parcel before its publishers are told to try again.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// How often a journal that does not open is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of records that are read at a time.
const PAGE: usize = 1 << 20;

/// Bytes of records beyond the history's own, which are counted in another form and are taken out a
/// little later.
const SLACK: u64 = 64 << 20;

/// A hub's journal, and the way to its keeper.
#[derive(Debug)]
pub(in crate::live) struct Durable {
    journal: Journal,
    /// The keeper holds the other end.
    inbox: mpsc::Sender<Waiting>,
    /// The keeper's end until it is started. Touched once, hence a std mutex.
    outbox: Mutex<Option<mpsc::Receiver<Waiting>>>,
    /// Held for one append, so that parcels wait in the order of the journal; hence a std mutex.
    order: Mutex<()>,
    /// Whether the history is there.
    open: watch::Sender<bool>,
}

/// What the keeper does next.
#[derive(Debug)]
enum Waiting {
    Parcel {
        parcel: Parcel,
        appending: Appending,
        until: Instant,
    },
    /// Somebody who wants to know that it got this far.
    Mark(oneshot::Sender<()>),
}

impl Durable {
    /// A journal for the hub `name` that keeps what `limits` says. No I/O happens here.
    pub(in crate::live) fn new(data_dir: &Path, name: &str, limits: HistoryLimits) -> Self {
        let journal = Journal::new(JournalSettings {
            path: data_dir.join(FOLDER).join(format!("{name}.{EXTENSION}")),
            bytes_max: (limits.bytes_max as u64).saturating_mul(2).saturating_add(SLACK),
            age_max: Some(limits.age_max),
            when_full: WhenFull::DropOldest,
        });
        let (inbox, outbox) = mpsc::channel(WAITING_MAX);
        let outbox = Mutex::new(Some(outbox));
        Self { journal, inbox, outbox, order: Mutex::default(), open: watch::Sender::new(false) }
    }

    pub(in crate::live) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes `parcel` for the disk; its keeper hands it out and settles it.
    pub(in crate::live) async fn take(&self, parcel: Parcel) {
        if !self.is_open() {
            return parcel.refuse(&refusal(&self.closed_because()));
        }
        let record = parcel.record();
        let Ok(place) = self.inbox.reserve().await else {
            return parcel.refuse(&refusal(&StoreError::Closed));
        };
        let until = Instant::now() + WRITE_LIMIT;
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let appending = self.journal.append(record);
        place.send(Waiting::Parcel { parcel, appending, until });
    }

    /// Resolves once all that was taken before this call is settled.
    pub(in crate::live) async fn settled(&self) {
        if !self.is_open() {
            return;
        }
        let (mark, reached) = oneshot::channel();
        // Both fail only when nothing waits any more.
        if self.inbox.send(Waiting::Mark(mark)).await.is_ok() {
            drop(reached.await);
        }
    }

    /// Whether the history is there.
    pub(in crate::live) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Resolves once the history is there.
    pub(in crate::live) async fn opened(&self) {
        drop(self.open.subscribe().wait_for(|is_open| *is_open).await);
    }

    /// Why it takes no events, if it does not.
    pub(in crate::live) fn trouble(&self) -> Option<String> {
        match self.journal.stats().state {
            JournalState::Failed(reason) => Some(reason),
            _ if !self.is_open() => Some("its history is still being read".to_owned()),
            JournalState::Opening | JournalState::Ready | JournalState::Closed => None,
        }
    }

    /// Opens the journal and starts the keeper of `hub`, whose journal this is.
    pub(in crate::live) fn start(&self, hub: &Arc<Hub>, tasks: &Tasks, stop: &Stop) {
        let outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = outbox {
            self.journal.start(tasks);
            drop(tasks.spawn(keep(Arc::clone(hub), waiting, stop.clone())));
        }
    }

    fn closed_because(&self) -> StoreError {
        match self.journal.stats().state {
            JournalState::Failed(reason) => StoreError::Disk(reason),
            JournalState::Opening | JournalState::Ready | JournalState::Closed => StoreError::Busy,
        }
    }
}

/// Hands out what the journal has and settles it, until `stop` is asked and nothing waits.
async fn keep(hub: Arc<Hub>, mut waiting: mpsc::Receiver<Waiting>, mut stop: Stop) {
    let Some(durable) = hub.durable() else { return };
    let journal = &durable.journal;
    tokio::select! {
        () = open(&hub, durable) => {}
        () = stop.asked() => return journal.close(),
    }
    loop {
        let next = tokio::select! {
            biased;
            next = waiting.recv() => next,
            () = stop.asked(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        match next {
            Some(Waiting::Parcel { parcel, appending, until }) => {
                let appended = timeout_at(until, appending).await;
                settle(&hub, journal, parcel, appended.unwrap_or(Err(StoreError::Busy))).await;
            }
            // Whoever asked may be gone.
            Some(Waiting::Mark(mark)) => drop(mark.send(())),
            None => return journal.close(),
        }
    }
}

/// Fills the hub from its journal, as soon as that can be read.
async fn open(hub: &Hub, durable: &Durable) {
    let journal = &durable.journal;
    loop {
        if let Ok(stats) = journal.ready(LOOK).await {
            hub.begin(Epoch::of_journal(stats.epoch), stats.first);
            let read = catch_up(hub, journal, stats.next).await;
            // A file that was set aside meanwhile is not the one that was read.
            if read.is_ok() && journal.stats().epoch == stats.epoch {
                durable.open.send_replace(true);
                let path = journal.settings().path;
                let events = hub.stats().history_events;
                return info!(path = %path.display(), events, "history of the hub is open");
            }
            sleep(LOOK).await;
        }
    }
}

/// Hands out and settles `parcel` if the journal has it, and refuses it if not.
async fn settle(hub: &Hub, journal: &Journal, parcel: Parcel, appended: Result<u64, StoreError>) {
    let first = match appended {
        Ok(first) => first,
        Err(error) => return parcel.refuse(&refusal(&error)),
    };
    // What was refused because the disk failed may be on it all the same, and has a number then.
    if hub.kept().end < first
        && let Err(error) = catch_up(hub, journal, first).await
    {
        warn!(%error, "events that were refused are on disk and cannot be read; passing over them");
    }
    hub.publish_from(Some(first), &parcel.posts(), Instant::now());
    journal.release(hub.kept().start);
    parcel.settle();
}

/// Hands out what the journal has before number `until` and the hub has not.
async fn catch_up(hub: &Hub, journal: &Journal, until: u64) -> Result<(), StoreError> {
    loop {
        let from = hub.kept().end;
        if from >= until {
            return Ok(());
        }
        let records = journal.read(from, PAGE).await?;
        for stored in records.iter().filter(|stored| stored.seq < until) {
            hand_in(hub, stored, from);
        }
        if hub.kept().end == from {
            // What is there and was not read is damaged, which the journal reports.
            hub.skip_to(until);
        }
    }
}

/// Hands out the events of a record from number `from` on.
fn hand_in(hub: &Hub, stored: &Stored, from: u64) {
    let Ok(batch) = unpack(&stored.record.bytes) else {
        error!(
            seq = stored.seq,
            "a record holds no events that this version can read; skipping it"
        );
        return hub.skip_to(stored.seq + u64::from(stored.record.events.max(1)));
    };
    let age = Duration::from_micros(now_micros().saturating_sub(stored.at));
    let now = Instant::now();
    let at = now.checked_sub(age).unwrap_or(now);
    let new = (stored.seq..).zip(batch.iter()).filter(|(seq, _)| *seq >= from);
    let posts = new.filter_map(|(seq, event)| {
        let channel = Channel::new(event.extension(CHANNEL_MARK)?).ok()?;
        Some((seq, Post { channel, event }))
    });
    let posts: Vec<_> = posts.collect();
    // What lacks a channel, and never should, leaves a hole.
    for run in posts.chunk_by(|(one, _), (other, _)| one + 1 == *other) {
        let first = run.first().map(|(seq, _)| *seq);
        let run: Vec<_> = run.iter().map(|(_, post)| *post).collect();
        hub.publish_from(first, &run, at);
    }
}

fn refusal(error: &StoreError) -> Refusal {
    let code = if error.is_transient() { Code::Unavailable } else { Code::TooLarge };
    Refusal::new(code, format!("the hub keeps its history on disk and takes no events: {error}"))
}
