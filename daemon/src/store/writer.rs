//! The thread that owns a journal's file: takes what waits, commits it, answers.
//!
//! After any failure it lets the file go and opens it again, soon and then ever later up to a
//! second, so that service resumes by itself. What comes meanwhile is refused at once. When the disk
//! is full it gives up its reserve, with which records are read and taken out, and puts nothing in
//! before the reserve is there again.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::error::StoreError;
use super::file::{self, Failure, Marks, Open, guarded};
use super::queue::{Ask, Shared, Waiting, Work};
use super::reserve;
use super::settings::{JournalState, Stored};

/// How long nothing may happen before ages and releases are looked at.
const IDLE: Duration = Duration::from_millis(500);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a full disk is asked for room.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Damaged records whose report is remembered; beyond it they are reported again.
const DAMAGED_MAX: usize = 4_096;

/// Writes until the journal is closed and nothing waits.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut writer = Writer {
        shared,
        open: None,
        failure: None,
        pause: PAUSE_MIN,
        retry_at: Instant::now(),
        is_set_aside: false,
        is_cramped: false,
        ask_at: Instant::now(),
        damaged: BTreeSet::new(),
    };
    loop {
        writer.open();
        if writer.is_set_aside {
            // What waits goes to the new file instead of being refused for the old one.
            writer.retry_at = Instant::now();
            writer.open();
        }
        let marks = writer.marks();
        let limit = if writer.open.is_some() { IDLE } else { writer.pause };
        let work = shared.take(marks.bytes, marks.first, limit);
        let is_last = work.is_closed;
        writer.serve(work);
        if is_last {
            break;
        }
    }
    drop(writer);
    shared.report(|stats| stats.state = JournalState::Closed);
}

struct Writer<'s> {
    shared: &'s Arc<Shared>,
    open: Option<Open>,
    /// Why the file is not open.
    failure: Option<StoreError>,
    pause: Duration,
    retry_at: Instant,
    /// Whether the file has just been set aside and no new one begun.
    is_set_aside: bool,
    /// The disk is full: things are only read and taken out.
    is_cramped: bool,
    /// When a full disk is asked for room.
    ask_at: Instant,
    /// Damaged records that have been reported.
    damaged: BTreeSet<u64>,
}

impl Writer<'_> {
    fn marks(&self) -> Marks {
        self.open.as_ref().map_or_else(Marks::default, |open| open.marks)
    }

    /// Opens the file unless it is open or was tried just now.
    fn open(&mut self) {
        if self.open.is_some() || Instant::now() < self.retry_at {
            return;
        }
        let path = self.shared.settings().path;
        if self.shared.disk.sync_failed.load(Ordering::Relaxed) {
            if let Err(error) = file::rewrite(&path) {
                return self.fail(Failure::Disk(error.to_string()));
            }
            self.shared.disk.sync_failed.store(false, Ordering::Relaxed);
        }
        let stats = self.shared.stats();
        let next = match (stats.next, stats.set_aside) {
            (0, 0) => 1,
            // What the lost file had handed out is unknown; the clock is beyond it.
            (0, _) => file::now(),
            (known, _) => known,
        };
        match guarded(|| Open::new(&path, &self.shared.disk, next)) {
            Ok(open) => {
                self.pause = PAUSE_MIN;
                self.is_set_aside = false;
                self.open = Some(open);
                if self.is_cramped {
                    self.publish(|_| ());
                } else {
                    self.reserve(false);
                }
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Puts things in only where there is room to take them out again.
    fn reserve(&mut self, headroom: bool) {
        let path = self.shared.settings().path;
        self.ask_at = Instant::now() + ASK_EVERY;
        match reserve::hold(&path, headroom) {
            Ok(()) => {
                self.is_cramped = false;
                if self.failure.take().is_some() {
                    info!(path = %path.display(), "journal resumed");
                }
                self.publish(|stats| stats.state = JournalState::Ready);
            }
            Err(error) => {
                let reason = format!("no room is left: {error}");
                if self.failure.is_none() {
                    warn!(path = %path.display(), reason, "journal takes no records; trying again");
                }
                self.is_cramped = true;
                self.publish(|stats| stats.state = JournalState::Failed(reason.clone()));
                self.failure = Some(StoreError::Disk(reason));
            }
        }
    }

    /// Refuses what is to be put in on a full disk, and asks it for room now and then; answers what
    /// may be put in.
    fn refuse(&mut self, appends: Vec<Waiting>) -> Vec<Waiting> {
        let error = self.failure.clone().unwrap_or(StoreError::Closed);
        for waiting in appends {
            drop(waiting.reply.send(Err(error.clone())));
        }
        let is_empty = self.open.as_ref().is_some_and(|open| open.marks.events == 0);
        if is_empty && Instant::now() >= self.ask_at {
            // If this fails the file is opened again.
            self.with_file(Open::compact).ok();
        }
        if self.open.is_some() && Instant::now() >= self.ask_at {
            self.reserve(true);
        }
        Vec::new()
    }

    fn serve(&mut self, work: Work) {
        let Work { appends, asks, release, .. } = work;
        let mut reads = Vec::new();
        let mut removals = Vec::new();
        for ask in asks {
            match ask {
                Ask::Read { from, bytes_max, reply } => reads.push((from, bytes_max, reply)),
                Ask::Remove { seqs, reply } => removals.push((seqs, reply)),
            }
        }
        let settings = self.shared.settings();
        let appends = if self.is_cramped { self.refuse(appends) } else { appends };
        let committed = self.with_file(|open| open.commit(&appends, release, &[], &settings));
        match committed {
            Ok(done) => {
                self.publish(|stats| {
                    stats.appended += done.appended;
                    stats.dropped.full += done.dropped_full;
                    stats.dropped.age += done.dropped_age;
                });
                for (waiting, answer) in appends.into_iter().zip(done.answers) {
                    drop(waiting.reply.send(answer));
                }
            }
            Err(error) => {
                for waiting in appends {
                    drop(waiting.reply.send(Err(error.clone())));
                }
            }
        }
        for (seqs, reply) in removals {
            let done = self.with_file(|open| open.commit(&[], 0, &seqs, &settings));
            self.publish(|_| ());
            drop(reply.send(done.map(|done| done.removed)));
        }
        for (from, bytes_max, reply) in reads {
            self.read(from, bytes_max, reply);
        }
    }

    fn read(
        &mut self,
        from: u64,
        bytes_max: usize,
        reply: oneshot::Sender<Result<Vec<Stored>, StoreError>>,
    ) {
        let found = self.with_file(|open| open.read(from, bytes_max));
        let records = found.map(|found| {
            for (seq, events) in found.damaged {
                self.report_damaged(seq, events);
            }
            found.records
        });
        drop(reply.send(records));
    }

    fn report_damaged(&mut self, seq: u64, events: u32) {
        if self.damaged.len() >= DAMAGED_MAX {
            self.damaged.clear();
        }
        if self.damaged.insert(seq) {
            let path = self.shared.settings().path;
            error!(path = %path.display(), seq, events, "a record is damaged; skipping it");
            self.publish(|stats| stats.dropped.damaged += u64::from(events));
        }
    }

    /// Does something with the open file; lets the file go if that fails.
    fn with_file<T>(
        &mut self,
        work: impl FnOnce(&mut Open) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let Some(open) = &mut self.open else {
            return Err(self.failure.clone().unwrap_or(StoreError::Closed));
        };
        match guarded(|| work(open)) {
            Ok(done) => Ok(done),
            Err(failure) => {
                // Closing a file whose disk failed may fail again; it is opened anew either way.
                let open = self.open.take();
                drop(catch_unwind(AssertUnwindSafe(|| drop(open))));
                self.fail(failure);
                Err(self.failure.clone().unwrap_or(StoreError::Closed))
            }
        }
    }

    /// Notes why the file is not open and when to try again.
    fn fail(&mut self, failure: Failure) {
        let path = self.shared.settings().path;
        let shown = path.display();
        let is_first = self.failure.is_none();
        let error = match failure {
            Failure::Locked => StoreError::Locked(shown.to_string()),
            Failure::Disk(reason) => StoreError::Disk(reason),
            Failure::Broken(reason) => match file::set_aside(&path) {
                Ok(aside) => {
                    error!(path = %shown, aside = %aside.display(), reason, "journal cannot be read; set it aside and begin a new one");
                    self.is_set_aside = true;
                    self.shared.report(|stats| stats.set_aside += 1);
                    StoreError::Disk(format!("the journal was set aside: {reason}"))
                }
                Err(error) => StoreError::Disk(format!("{reason}; {error}")),
            },
        };
        if is_first {
            warn!(path = %shown, %error, "journal takes no records; trying again");
        }
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if self.shared.disk.is_full.swap(false, Ordering::Relaxed) {
            self.is_cramped = true;
            self.ask_at = Instant::now() + ASK_EVERY;
            if reserve::give_up(&path) {
                // Now there is room to go on with.
                self.retry_at = Instant::now();
            }
        }
        self.shared.report(|stats| {
            stats.failures += 1;
            stats.state = JournalState::Failed(error.to_string());
        });
        self.failure = Some(error);
    }

    /// Shows the marks and whatever `change` changes.
    fn publish(&self, change: impl FnOnce(&mut super::JournalStats)) {
        let open = self.open.as_ref().map(|open| (open.marks, open.oldest_at));
        self.shared.report(|stats| {
            if let Some((marks, oldest_at)) = open {
                stats.oldest_at = oldest_at;
                stats.epoch = marks.epoch;
                stats.first = marks.first;
                stats.next = marks.next;
                stats.events = marks.events;
                stats.bytes = marks.bytes;
            }
            change(stats);
        });
    }
}
