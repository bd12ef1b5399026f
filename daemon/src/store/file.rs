//! A journal's file while it is open: records and marks in one database.
//!
//! Every change is one transaction with one sync; the marks are written with it, so they are
//! right whatever happens in between.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::disk::{Disk, Watch};
use super::error::StoreError;
use super::frame;
use super::queue::Waiting;
use super::settings::{JournalSettings, Stored, WhenFull};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const MARKS: TableDefinition<'_, &str, u64> = TableDefinition::new("marks");
/// Pages kept in memory for each journal: reads are in order, so more would not be hit.
const CACHE: usize = 8 << 20;

/// Why the file cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is no journal or no longer one; it must be set aside.
    Broken(String),
    /// Another process has it open.
    Locked,
    /// The disk failed; the file must be opened again.
    Disk(String),
}

impl Failure {
    pub(super) fn of(error: impl Into<redb::Error>) -> Self {
        use redb::Error as E;
        let error = error.into();
        let text = error.to_string();
        match error {
            E::DatabaseAlreadyOpen | E::LockProtocolMismatch => Self::Locked,
            E::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Broken(text),
                _ => Self::Disk(text),
            },
            E::Corrupted(_)
            | E::UpgradeRequired(_)
            | E::RepairAborted
            | E::TableTypeMismatch { .. }
            | E::TableIsMultimap(_)
            | E::TypeDefinitionChanged { .. } => Self::Broken(text),
            _ => Self::Disk(text),
        }
    }
}

/// What holds for all records together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) epoch: u64,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

impl Marks {
    fn named(&mut self) -> [(&'static str, &mut u64); 5] {
        [
            ("epoch", &mut self.epoch),
            ("first", &mut self.first),
            ("next", &mut self.next),
            ("events", &mut self.events),
            ("bytes", &mut self.bytes),
        ]
    }
}

/// What one transaction did.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// One answer per append, in order.
    pub(super) answers: Vec<Result<u64, StoreError>>,
    pub(super) appended: u64,
    pub(super) dropped_full: u64,
    pub(super) dropped_age: u64,
    /// Events taken out by name.
    pub(super) removed: usize,
}

/// Records read, and the numbers of those that were damaged.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Stored>,
    pub(super) damaged: Vec<(u64, u32)>,
}

#[derive(Debug)]
pub(super) struct Open {
    database: Database,
    pub(super) marks: Marks,
    /// When the oldest record was stored; 0 without one.
    pub(super) oldest_at: u64,
}

impl Open {
    /// Opens the file at `path`, or begins one whose first event gets the number `next`.
    pub(super) fn new(path: &Path, watch: &Arc<Watch>, next: u64) -> Result<Self, Failure> {
        let on_disk = |error: io::Error| Failure::Disk(error.to_string());
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(on_disk)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(on_disk)?;
        let disk = Disk::new(file, Arc::clone(watch)).map_err(Failure::of)?;
        let mut builder = Database::builder();
        let database =
            builder.set_cache_size(CACHE).create_with_backend(disk).map_err(Failure::of)?;
        let mut open = Self { database, marks: Marks::default(), oldest_at: 0 };
        open.load(next)?;
        sync_dir(dir).map_err(on_disk)?;
        Ok(open)
    }

    /// Reads the marks, or writes the first ones.
    fn load(&mut self, next: u64) -> Result<(), Failure> {
        let transaction = self.database.begin_write().map_err(Failure::of)?;
        let mut is_new = false;
        {
            let records = transaction.open_table(RECORDS).map_err(Failure::of)?;
            let mut table = transaction.open_table(MARKS).map_err(Failure::of)?;
            let mut marks = Marks::default();
            for (name, mark) in marks.named() {
                let known = table.get(name).map_err(Failure::of)?;
                is_new |= known.is_none();
                *mark = known.map_or(0, |known| known.value());
            }
            if is_new {
                if records.first().map_err(Failure::of)?.is_some() {
                    return Err(Failure::Broken("its marks are missing".to_owned()));
                }
                marks = Marks { epoch: fastrand::u64(1..), first: next, next, ..marks };
                write_marks(&mut table, marks)?;
            }
            self.marks = marks;
            self.oldest_at = oldest(&records)?.map_or(0, |(_, at, _)| at);
        }
        if is_new {
            transaction.commit().map_err(Failure::of)
        } else {
            transaction.abort().map_err(Failure::of)
        }
    }

    /// Appends, releases, removes and drops, as one transaction.
    pub(super) fn commit(
        &mut self,
        appends: &[Waiting],
        release: u64,
        removals: &[u64],
        settings: &JournalSettings,
    ) -> Result<Committed, Failure> {
        let transaction = self.database.begin_write().map_err(Failure::of)?;
        let mut done = Committed::default();
        let mut changes = Changes { marks: self.marks, at: now() };
        let oldest_at;
        {
            let mut records = transaction.open_table(RECORDS).map_err(Failure::of)?;
            changes.release(&mut records, release.min(self.marks.next))?;
            let before = settings.age_max.map(|age| changes.at.saturating_sub(micros(age)));
            done.dropped_age = changes.expire(&mut records, before.unwrap_or(0))?;
            for waiting in appends {
                let answer = changes.append(&mut records, waiting, settings, &mut done)?;
                done.appended +=
                    answer.as_ref().map_or(0, |_| u64::from(waiting.record.events.max(1)));
                done.answers.push(answer);
            }
            if settings.when_full == WhenFull::DropOldest {
                done.dropped_full += changes.make_room(&mut records, 0, settings.bytes_max)?;
            }
            for seq in removals {
                done.removed += changes.remove(&mut records, *seq)? as usize;
            }
            oldest_at = oldest(&records)?.map_or(0, |(_, at, _)| at);
            let mut table = transaction.open_table(MARKS).map_err(Failure::of)?;
            write_marks(&mut table, changes.marks)?;
        }
        if changes.marks == self.marks {
            transaction.abort().map_err(Failure::of)?;
        } else {
            transaction.commit().map_err(Failure::of)?;
            self.marks = changes.marks;
            self.oldest_at = oldest_at;
        }
        Ok(done)
    }

    /// Gives the disk what the file does not need.
    pub(super) fn compact(&mut self) -> Result<(), Failure> {
        self.database.compact().map(drop).map_err(Failure::of)
    }

    /// Records from the one that holds event `from`.
    pub(super) fn read(&self, from: u64, bytes_max: usize) -> Result<Found, Failure> {
        let transaction = self.database.begin_read().map_err(Failure::of)?;
        let table = transaction.open_table(RECORDS).map_err(Failure::of)?;
        let mut start = from;
        if let Some(before) = table.range(..from).map_err(Failure::of)?.next_back() {
            let (seq, value) = before.map_err(Failure::of)?;
            let events = frame::header(value.value()).map_or(1, |(_, events)| events);
            if seq.value() + u64::from(events) > from {
                start = seq.value();
            }
        }
        let mut found = Found::default();
        let mut bytes = 0;
        for entry in table.range(start..).map_err(Failure::of)? {
            let (seq, value) = entry.map_err(Failure::of)?;
            let (seq, value) = (seq.value(), value.value());
            bytes += value.len();
            if bytes > bytes_max && !found.records.is_empty() {
                break;
            }
            match frame::decode(seq, value) {
                Some(stored) => found.records.push(stored),
                None => found.damaged.push((seq, frame::header(value).map_or(0, |head| head.1))),
            }
        }
        Ok(found)
    }
}

/// A transaction's changes to the records and the marks.
struct Changes {
    marks: Marks,
    at: u64,
}

type Records<'t> = Table<'t, u64, &'static [u8]>;

impl Changes {
    fn append(
        &mut self,
        records: &mut Records<'_>,
        waiting: &Waiting,
        settings: &JournalSettings,
        done: &mut Committed,
    ) -> Result<Result<u64, StoreError>, Failure> {
        let size = frame::size(&waiting.record);
        if settings.when_full == WhenFull::DropOldest {
            done.dropped_full += self.make_room(records, size, settings.bytes_max)?;
        }
        if self.marks.bytes + size > settings.bytes_max {
            return Ok(Err(StoreError::Full(settings.bytes_max)));
        }
        let seq = self.marks.next;
        let frame = frame::encode(seq, self.at, &waiting.record);
        records.insert(seq, frame.as_slice()).map_err(Failure::of)?;
        let events = u64::from(waiting.record.events.max(1));
        self.marks.next += events;
        self.marks.events += events;
        self.marks.bytes += size;
        Ok(Ok(seq))
    }

    /// Takes out the records of which every event is before `before`.
    fn release(&mut self, records: &mut Records<'_>, before: u64) -> Result<(), Failure> {
        if before <= self.marks.first {
            return Ok(());
        }
        while let Some((seq, _, events)) = oldest(records)? {
            if seq + events > before {
                break;
            }
            self.pop(records)?;
        }
        self.marks.first = before;
        Ok(())
    }

    /// Takes out what was stored before `before`; answers how many events.
    fn expire(&mut self, records: &mut Records<'_>, before: u64) -> Result<u64, Failure> {
        let mut dropped = 0;
        while let Some((_, at, _)) = oldest(records)? {
            if at >= before {
                break;
            }
            dropped += self.pop(records)?;
        }
        Ok(dropped)
    }

    fn make_room(
        &mut self,
        records: &mut Records<'_>,
        size: u64,
        max: u64,
    ) -> Result<u64, Failure> {
        let mut dropped = 0;
        while self.marks.bytes + size > max && self.marks.bytes > 0 {
            if oldest(records)?.is_none() {
                break;
            }
            dropped += self.pop(records)?;
        }
        Ok(dropped)
    }

    fn pop(&mut self, records: &mut Records<'_>) -> Result<u64, Failure> {
        let Some((seq, _, _)) = oldest(records)? else { return Ok(0) };
        let events = self.remove(records, seq)?;
        self.marks.first = self.marks.first.max(seq + events.max(1));
        Ok(events)
    }

    fn remove(&mut self, records: &mut Records<'_>, seq: u64) -> Result<u64, Failure> {
        let Some(value) = records.remove(seq).map_err(Failure::of)? else { return Ok(0) };
        let events = frame::header(value.value()).map_or(1, |(_, events)| u64::from(events));
        self.marks.events = self.marks.events.saturating_sub(events);
        self.marks.bytes = self.marks.bytes.saturating_sub(value.value().len() as u64);
        Ok(events)
    }
}

/// Number, time and events of the oldest record.
fn oldest(records: &Records<'_>) -> Result<Option<(u64, u64, u64)>, Failure> {
    let Some((seq, value)) = records.first().map_err(Failure::of)? else { return Ok(None) };
    let (at, events) = frame::header(value.value()).unwrap_or((0, 1));
    Ok(Some((seq.value(), at, u64::from(events))))
}

fn write_marks(table: &mut Table<'_, &'static str, u64>, mut marks: Marks) -> Result<(), Failure> {
    for (name, mark) in marks.named() {
        table.insert(name, *mark).map_err(Failure::of)?;
    }
    Ok(())
}

/// A damaged file can make the database panic; then it is broken.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Failure::Broken("the database panicked on it".to_owned())))
}

/// Renames a file that cannot be used; answers its new name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".broken-{}", now()));
    let aside = path.with_file_name(name);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Writes the file anew, so that nothing is taken for synced which a failed sync left in memory.
pub(super) fn rewrite(path: &Path) -> io::Result<()> {
    let copy = path.with_extension("redb.rewritten");
    let copied = fs::copy(path, &copy).and_then(|_| File::open(&copy)?.sync_all());
    if copied.is_err() {
        // A part of it would only take the room that is missing; the next try begins anew.
        drop(fs::remove_file(&copy));
    }
    copied?;
    fs::rename(&copy, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Microseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
