//! The open sessions, all of them in the step's state.
//!
//! | key | value |
//! |---|---|
//! | `k` and a key | the id of its session |
//! | `s` and an id | the session |
//! | `t`, a slot of time and a page | ids of sessions that may end then |
//! | `p` and a slot | its last page |
//! | `m` | [`Meta`] |
//!
//! A session is in one slot, the one that its idle time ended in when it was put there. When that is
//! over it has ended, or is put into the slot that its last event says. An event therefore changes
//! its session and nothing else.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use weir_plugin::{Event, Failure, kv};

/// Slots of an idle time.
const SLOTS: u64 = 256;

/// The shortest slot, in microseconds.
const SLOT_MIN: u64 = 250_000;

/// Ids on one page.
const PAGE: usize = 32;

/// Bytes of an id.
const ID: usize = 16;

/// Calls to the host that closing may take: the daemon allows 1,000.
const CALLS_MAX: usize = 950;

/// Calls that one page may take.
const PAGE_CALLS: usize = 4 + PAGE * 6;

/// Bytes of keys that closing may hand out: what is made of them must fit into a megabyte.
const BYTES_MAX: usize = 64 << 10;

type Id = [u8; ID];

/// The sessions of a step.
#[derive(Debug)]
pub(crate) struct Book {
    /// How long after its last event a session ends, in microseconds.
    pub(crate) idle: u64,
    /// How many may be open.
    pub(crate) sessions_max: u64,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) key: String,
    /// The time of its first event, in microseconds since the Unix epoch.
    pub(crate) started: u64,
    /// The time of its last event.
    pub(crate) ended: u64,
    /// How many there were.
    pub(crate) events: u64,
    /// When the last one came.
    seen: u64,
}

/// What is known of all sessions.
#[derive(Debug, Clone, Copy)]
struct Meta {
    /// How long a slot is, in microseconds; as long as there are sessions it stays the same.
    width: u64,
    /// The first slot that is not closed.
    next: u64,
    /// The last slot that has a session.
    newest: u64,
    /// Open sessions.
    open: u64,
}

/// What closing has used.
#[derive(Default)]
struct Used {
    calls: usize,
    bytes: usize,
}

impl Book {
    /// Enters an event that comes at `now`; answers the id of its session.
    pub(crate) fn enter(&self, key: &str, event: &Event<'_>, now: u64) -> Result<String, Failure> {
        let time = event.time();
        if let Some((id, session)) = open_of(key)?
            && now < session.seen.saturating_add(self.idle)
        {
            let (started, ended) = (session.started.min(time), session.ended.max(time));
            let events = session.events + 1;
            Session { started, ended, events, seen: now, ..session }.write(&id)?;
            return Ok(hex(&id));
        }
        let id = id(key, event);
        let session =
            Session { key: key.to_owned(), started: time, ended: time, events: 1, seen: now };
        self.begin(&id, &session)?;
        Ok(hex(&id))
    }

    fn begin(&self, id: &Id, session: &Session) -> Result<(), Failure> {
        let width = (self.idle / SLOTS).max(SLOT_MIN);
        let first = Meta { width, next: session.seen / width, newest: 0, open: 0 };
        let mut meta = Meta::read()?.unwrap_or(first);
        if meta.open >= self.sessions_max {
            let words = format!("{} sessions are open, and that is the most", meta.open);
            return Err(Failure::transient(words));
        }
        meta.open += 1;
        // A slot without its session does no harm; a session without a slot would stay for ever.
        meta.put(id, session.seen.saturating_add(self.idle))?;
        meta.write()?;
        let by_key = named('k', &session.key);
        let written = session.write(id).and_then(|()| Ok(kv::set(&by_key, id, None)?));
        if written.is_err() {
            kv::delete(&named('s', &hex(id)))?;
            meta.open -= 1;
            meta.write()?;
        }
        written
    }

    /// Closes the sessions that have ended by `now`, as many as one call may.
    pub(crate) fn close(&self, now: u64) -> Result<Vec<(String, Session)>, Failure> {
        let Some(mut meta) = Meta::read()? else { return Ok(Vec::new()) };
        let mut ended = Vec::new();
        let mut used = Used::default();
        while meta.next <= meta.newest && meta.next.saturating_mul(meta.width) <= now {
            if !self.close_slot(&mut meta, now, &mut used, &mut ended)? {
                break;
            }
            meta.next += 1;
        }
        if meta.next > meta.newest {
            kv::delete("m")?;
        } else {
            meta.write()?;
        }
        Ok(ended)
    }

    /// Closes the next slot, page after page; answers whether that was possible.
    fn close_slot(
        &self,
        meta: &mut Meta,
        now: u64,
        used: &mut Used,
        ended: &mut Vec<(String, Session)>,
    ) -> Result<bool, Failure> {
        let slot = meta.next;
        let pages = named('p', &slot.to_string());
        used.calls += 1;
        let mut page = kv::get(&pages)?.map(|page| number(&page, 0));
        while let Some(at) = page {
            if used.calls + PAGE_CALLS > CALLS_MAX || used.bytes > BYTES_MAX {
                return Ok(false);
            }
            let name = page_name(slot, at);
            let ids = kv::get(&name)?.unwrap_or_default();
            for id in ids.chunks_exact(ID) {
                let id = id.try_into().expect("chunks have that size");
                ended.extend(self.settle(&id, meta, now, used)?);
            }
            kv::delete(&name)?;
            page = at.checked_sub(1);
            match page {
                Some(before) => kv::set(&pages, &before.to_le_bytes(), None)?,
                None => kv::delete(&pages)?,
            }
            used.calls += 3;
        }
        Ok(true)
    }

    /// Ends the session, or puts it where it may end.
    fn settle(
        &self,
        id: &Id,
        meta: &mut Meta,
        now: u64,
        used: &mut Used,
    ) -> Result<Option<(String, Session)>, Failure> {
        used.calls += 1;
        let Some(session) = Session::read(id)? else { return Ok(None) };
        let due = session.seen.saturating_add(self.idle);
        if now < due {
            used.calls += 4;
            meta.put(id, due)?;
            return Ok(None);
        }
        used.calls += 3;
        used.bytes += session.key.len() + 64;
        let hex = hex(id);
        kv::delete(&named('s', &hex))?;
        let by_key = named('k', &session.key);
        if kv::get(&by_key)?.as_deref() == Some(id) {
            kv::delete(&by_key)?;
        }
        meta.open = meta.open.saturating_sub(1);
        Ok(Some((hex, session)))
    }
}

impl Session {
    fn read(id: &Id) -> Result<Option<Self>, Failure> {
        let Some(bytes) = kv::get(&named('s', &hex(id)))? else { return Ok(None) };
        let key = bytes.get(32..).unwrap_or_default();
        Ok(Some(Self {
            key: String::from_utf8_lossy(key).into_owned(),
            started: number(&bytes, 0),
            ended: number(&bytes, 1),
            events: number(&bytes, 2),
            seen: number(&bytes, 3),
        }))
    }

    fn write(&self, id: &Id) -> Result<(), Failure> {
        let numbers = [self.started, self.ended, self.events, self.seen];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend_from_slice(self.key.as_bytes());
        Ok(kv::set(&named('s', &hex(id)), &bytes, None)?)
    }
}

impl Meta {
    fn read() -> Result<Option<Self>, Failure> {
        let Some(bytes) = kv::get("m")? else { return Ok(None) };
        let [width, next, newest, open] = [0, 1, 2, 3].map(|index| number(&bytes, index));
        Ok(Some(Self { width: width.max(1), next, newest, open }))
    }

    fn write(&self) -> Result<(), Failure> {
        let numbers = [self.width, self.next, self.newest, self.open];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok(kv::set("m", &bytes, None)?)
    }

    /// Puts a session into the slot after which it may have ended.
    fn put(&mut self, id: &Id, due: u64) -> Result<(), Failure> {
        let slot = (due / self.width + 1).max(self.next);
        let pages = named('p', &slot.to_string());
        let last = kv::get(&pages)?.map(|page| number(&page, 0));
        let page = last.unwrap_or(0);
        let mut ids = kv::get(&page_name(slot, page))?.unwrap_or_default();
        let is_full = ids.len() >= PAGE * ID;
        let page = if is_full { page + 1 } else { page };
        if is_full {
            ids.clear();
        }
        ids.extend_from_slice(id);
        kv::set(&page_name(slot, page), &ids, None)?;
        if last != Some(page) {
            kv::set(&pages, &page.to_le_bytes(), None)?;
        }
        self.newest = self.newest.max(slot);
        Ok(())
    }
}

/// The session of `key` that is open.
fn open_of(key: &str) -> Result<Option<(Id, Session)>, Failure> {
    let id = kv::get(&named('k', key))?.and_then(|id| Id::try_from(id).ok());
    let Some(id) = id else { return Ok(None) };
    Ok(Session::read(&id)?.map(|session| (id, session)))
}

/// The id of a session: nobody can make one that is another's.
fn id(key: &str, event: &Event<'_>) -> Id {
    let mut hash = Sha256::new();
    for part in [key, event.source(), event.id()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(event.time().to_le_bytes());
    let hash = hash.finalize();
    hash[..ID].try_into().expect("a hash is longer")
}

fn hex(id: &Id) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text grows");
        text
    })
}

fn named(kind: char, name: &str) -> String {
    format!("{kind}{name}")
}

fn page_name(slot: u64, page: u64) -> String {
    format!("t{slot}.{page}")
}

/// The number at place `index` of a value; 0 where it is too short.
fn number(bytes: &[u8], index: usize) -> u64 {
    let bytes = bytes.get(index * 8..index * 8 + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}
