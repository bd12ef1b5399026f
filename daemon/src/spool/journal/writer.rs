//! The thread that writes a journal.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, Table};
use tracing::{info, warn};

use super::file::{self, BYTES, FIRST, MARKS, NEXT, RECORDS};
use super::{Append, Command, JournalSettings, Shared, StoreError, WhenFull, lock};
use crate::units::now_micros;

/// Records in one group at most.
const GROUP_MAX: usize = 1024;
/// How often the file learns what is done with while nothing is appended.
const IDLE: Duration = Duration::from_millis(50);
/// The pause before a file that failed is opened again.
const REOPEN: Duration = Duration::from_millis(200);

/// Writes until nobody holds the journal any more.
pub(super) fn run(shared: &Arc<Shared>, commands: &Receiver<Command>) {
    let mut waiting = VecDeque::new();
    let mut is_over = false;
    while !is_over {
        let opened = file::open(&shared.settings().path).and_then(|database| {
            recall(shared, &database)?;
            Ok(database)
        });
        let error = match opened {
            Ok(database) => {
                let database = Arc::new(database);
                *lock(&shared.database) = Some(Arc::clone(&database));
                shared.is_opened.store(true, Ordering::Release);
                is_over = write(shared, commands, &mut waiting, &database);
                // A reader under way keeps the file open a moment longer; opening waits for it.
                *lock(&shared.database) = None;
                continue;
            }
            Err(error) => error,
        };
        trouble(shared, &error);
        for append in waiting.drain(..) {
            answer(append, Err(error.clone()));
        }
        is_over = refuse_for(commands, &error, REOPEN);
    }
}

/// Refuses what comes in for a while; answers whether nobody is left to ask.
fn refuse_for(commands: &Receiver<Command>, error: &StoreError, pause: Duration) -> bool {
    const SLICE: Duration = Duration::from_millis(10);
    let slices = pause.as_millis() / SLICE.as_millis();
    for _ in 0..slices {
        loop {
            match commands.try_recv() {
                Ok(Command::Append(append)) => answer(append, Err(error.clone())),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return true,
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
            }
        }
        thread::sleep(SLICE);
    }
    false
}

/// Writes groups until the file fails or nobody is left to ask; answers whether it is the latter.
fn write(
    shared: &Shared,
    commands: &Receiver<Command>,
    waiting: &mut VecDeque<Append>,
    database: &Database,
) -> bool {
    loop {
        let mut is_over = false;
        match commands.recv_timeout(IDLE) {
            Ok(Command::Append(append)) => waiting.push_back(append),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => is_over = true,
        }
        while waiting.len() < GROUP_MAX {
            let Ok(Command::Append(append)) = commands.try_recv() else { break };
            waiting.push_back(append);
        }
        let mut group = Group::new(shared);
        if !waiting.is_empty() || group.has_releases() || group.may_expire() {
            let written = catch_unwind(AssertUnwindSafe(|| group.write(database, waiting)));
            let written =
                written.unwrap_or_else(|_| Err(StoreError::Disk("the file is damaged".into())));
            if let Err(error) = group.finish(written) {
                trouble(shared, &error);
                return is_over;
            }
        }
        if is_over {
            return true;
        }
    }
}

/// What one transaction does.
struct Group<'a> {
    shared: &'a Shared,
    settings: JournalSettings,
    stats: super::JournalStats,
    oldest_at: u64,
    /// What was taken, with the number that each record got, or why it got none.
    taken: Vec<(Append, Result<u64, StoreError>)>,
}

impl<'a> Group<'a> {
    fn new(shared: &'a Shared) -> Self {
        let stats = shared.stats.borrow().clone();
        let oldest_at = shared.oldest_at.load(Ordering::Relaxed);
        Self { shared, settings: shared.settings(), stats, oldest_at, taken: Vec::new() }
    }

    fn released(&self) -> u64 {
        self.shared.released.load(Ordering::Relaxed).min(self.stats.next)
    }

    fn has_releases(&self) -> bool {
        self.released() > self.stats.first
    }

    /// Records written before this are too old.
    fn expired_before(&self) -> u64 {
        let age = self.settings.age_max.map(|age| u64::try_from(age.as_micros()));
        age.and_then(Result::ok).map_or(0, |age| now_micros().saturating_sub(age))
    }

    fn may_expire(&self) -> bool {
        self.oldest_at > 0 && self.oldest_at < self.expired_before()
    }

    fn write(
        &mut self,
        database: &Database,
        waiting: &mut VecDeque<Append>,
    ) -> Result<(), StoreError> {
        let transaction = database.begin_write().map_err(redb::Error::from)?;
        {
            let mut records = transaction.open_table(RECORDS).map_err(redb::Error::from)?;
            self.remove(&mut records)?;
            while self.taken.len() < GROUP_MAX
                && let Some(append) = waiting.pop_front()
            {
                let size = append.record.bytes.len() as u64;
                let is_full = self.stats.bytes + size > self.settings.bytes_max;
                if is_full && self.settings.when_full == WhenFull::DropOldest {
                    self.make_room(&mut records, size)?;
                } else if is_full && self.settings.when_full == WhenFull::Block {
                    waiting.push_front(append);
                    break;
                } else if is_full {
                    self.taken.push((append, Err(StoreError::Full)));
                    continue;
                }
                let at = now_micros();
                let sealed = file::seal(&append.record, at);
                let seq = self.stats.next;
                self.taken.push((append, Ok(seq)));
                records.insert(seq, sealed.as_slice()).map_err(redb::Error::from)?;
                let (append, _) = self.taken.last().expect("it was just put there");
                self.stats.next += u64::from(append.record.events);
                self.stats.appended += u64::from(append.record.events);
                self.stats.bytes += size;
            }
            self.find_oldest(&records)?;
            let mut marks = transaction.open_table(MARKS).map_err(redb::Error::from)?;
            for (name, value) in
                [(FIRST, self.stats.first), (NEXT, self.stats.next), (BYTES, self.stats.bytes)]
            {
                marks.insert(name, value).map_err(redb::Error::from)?;
            }
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// Removes what is done with or too old.
    fn remove(&mut self, records: &mut Table<'_, u64, &'static [u8]>) -> Result<(), StoreError> {
        let (released, before) = (self.released(), self.expired_before());
        let mut first = released.max(self.stats.first);
        loop {
            let Some((seq, at, events, size)) = oldest(records)? else { break };
            let end = seq + u64::from(events);
            let is_done = end <= released;
            if !is_done && at >= before {
                break;
            }
            records.remove(seq).map_err(redb::Error::from)?;
            self.stats.bytes = self.stats.bytes.saturating_sub(size);
            if !is_done {
                self.stats.dropped_expired += end - first.max(seq);
            }
            first = first.max(end);
        }
        self.stats.first = first;
        Ok(())
    }

    fn make_room(
        &mut self,
        records: &mut Table<'_, u64, &'static [u8]>,
        size: u64,
    ) -> Result<(), StoreError> {
        while self.stats.bytes + size > self.settings.bytes_max {
            let Some((seq, _, events, size)) = oldest(records)? else { break };
            records.remove(seq).map_err(redb::Error::from)?;
            let end = seq + u64::from(events);
            self.stats.bytes = self.stats.bytes.saturating_sub(size);
            self.stats.dropped_full += end - self.stats.first.clamp(seq, end);
            self.stats.first = self.stats.first.max(end);
        }
        Ok(())
    }

    fn find_oldest(&mut self, records: &Table<'_, u64, &'static [u8]>) -> Result<(), StoreError> {
        match oldest(records)? {
            Some((_, at, ..)) => self.oldest_at = at,
            None => {
                self.oldest_at = 0;
                self.stats.first = self.stats.next;
            }
        }
        Ok(())
    }

    /// Tells everybody how it went.
    fn finish(mut self, written: Result<(), StoreError>) -> Result<(), StoreError> {
        if written.is_ok() {
            if self.stats.trouble.take().is_some() {
                info!(file = %self.settings.path.display(), "a spool can be written again");
            }
            self.shared.oldest_at.store(self.oldest_at, Ordering::Relaxed);
            self.shared.stats.send_modify(|stats| {
                let damaged = stats.dropped_damaged;
                *stats = self.stats;
                stats.dropped_damaged = damaged;
            });
        }
        for (append, taken) in self.taken {
            answer(append, written.clone().and(taken));
        }
        written
    }
}

/// The first record: its number, when it was written, its events and its size.
fn oldest(
    records: &Table<'_, u64, &'static [u8]>,
) -> Result<Option<(u64, u64, u32, u64)>, StoreError> {
    let first = records.first().map_err(redb::Error::from)?;
    Ok(first.map(|(seq, sealed)| {
        let (at, events) = file::head(sealed.value()).unwrap_or((0, 1));
        let size = sealed.value().len().saturating_sub(17) as u64;
        (seq.value(), at, events, size)
    }))
}

/// Takes over what a file that was opened says of itself.
fn recall(shared: &Shared, database: &Database) -> Result<(), StoreError> {
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let marks = transaction.open_table(MARKS)?;
        let mark = |name| marks.get(name).map(|mark| mark.map_or(0, |mark| mark.value()));
        let records = transaction.open_table(RECORDS)?;
        let oldest = records.first()?.and_then(|(_, sealed)| file::head(sealed.value()));
        Ok((mark(FIRST)?, mark(NEXT)?, mark(BYTES)?, oldest.map_or(0, |(at, _)| at)))
    };
    let read = catch_unwind(AssertUnwindSafe(read));
    let damaged = |_| StoreError::Disk("the file is damaged".into());
    let (first, next, bytes, oldest_at) = read.map_err(damaged)??;
    shared.oldest_at.store(oldest_at, Ordering::Relaxed);
    shared.stats.send_modify(|stats| {
        // A file begun anew must not use a number again.
        stats.next = stats.next.max(next);
        stats.first = if next < stats.next { stats.next } else { first };
        stats.bytes = bytes;
        if stats.trouble.take().is_some() {
            info!(file = %shared.settings().path.display(), "a spool is open again");
        }
    });
    Ok(())
}

fn trouble(shared: &Shared, error: &StoreError) {
    let words = error.to_string();
    shared.stats.send_modify(|stats| {
        if stats.trouble.as_ref() != Some(&words) {
            warn!(file = %shared.settings().path.display(), error = words, "a spool cannot be written");
        }
        stats.trouble = Some(words);
    });
}

fn answer(append: Append, result: Result<u64, StoreError>) {
    // Whoever asked may be gone; the record is kept all the same.
    drop(append.answer.send(result));
}
