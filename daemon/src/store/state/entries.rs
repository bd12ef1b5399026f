//! The values in memory: by key and by when they expire, with what the disk does not have yet.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::StateError;

/// What a value takes beside its key and its bytes.
const ENTRY_BYTES: usize = 96;

/// Expired values that one change takes out, so that they go faster than they come.
const EXPIRED_AT_ONCE: usize = 4;

/// All values of one state.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: HashMap<Arc<str>, Entry>,
    /// Those that expire, the next one first.
    expiring: BTreeSet<(u64, Arc<str>)>,
    bytes: usize,
    /// Keys whose values differ from those on disk.
    changed: HashSet<Arc<str>>,
    /// Whether nothing is known of what the disk has.
    is_all_changed: bool,
}

#[derive(Debug)]
struct Entry {
    value: Box<[u8]>,
    /// When it expires, in milliseconds since the Unix epoch; 0 for never.
    expires: u64,
    /// Whether the disk has this key, so that it must be taken out there too.
    is_stored: bool,
}

/// How values were before the changes of one run, by key: `None` where there was none.
#[derive(Debug, Default)]
pub struct Undo(HashMap<Arc<str>, Kept>);

impl Undo {
    /// Forgets what was, which so stays changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What the writer has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Whether everything that the file holds goes first.
    pub(super) is_all: bool,
    /// Keys with the value and its expiry, or without where it goes.
    pub(super) keys: Vec<(Arc<str>, Kept)>,
}

/// A value and when it expires; `None` where there is none.
pub(super) type Kept = Option<(u64, Box<[u8]>)>;

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the disk has everything.
    pub(super) fn is_clean(&self) -> bool {
        self.changed.is_empty() && !self.is_all_changed
    }

    /// Takes in a value that the disk has.
    pub(super) fn load(&mut self, key: &str, value: &[u8], expires: u64) {
        self.insert(&Arc::from(key), value, expires, true);
    }

    pub(super) fn get(&self, key: &str, now: u64) -> Option<&[u8]> {
        self.expiring(key, now).map(|(value, _)| value)
    }

    /// The value of `key`, and when it expires.
    pub(super) fn expiring(&self, key: &str, now: u64) -> Option<(&[u8], u64)> {
        let entry = self.entries.get(key)?;
        let is_alive = entry.expires == 0 || entry.expires > now;
        is_alive.then_some((&*entry.value, entry.expires))
    }

    pub(super) fn set(
        &mut self,
        key: &str,
        (value, expires): (&[u8], u64),
        now: u64,
        max: usize,
    ) -> Result<(), StateError> {
        self.expire(now, EXPIRED_AT_ONCE);
        let wanted = weight(key, value);
        let freed = self.entries.get(key).map_or(0, |entry| weight(key, &entry.value));
        if self.bytes - freed + wanted > max {
            self.expire(now, usize::MAX);
        }
        let freed = self.entries.get(key).map_or(0, |entry| weight(key, &entry.value));
        if self.bytes - freed + wanted > max {
            return Err(StateError::Full(max));
        }
        self.put(key, value, expires);
        Ok(())
    }

    fn put(&mut self, key: &str, value: &[u8], expires: u64) {
        let is_stored = match self.remove(key) {
            Some(entry) => entry.is_stored,
            // One that was taken out, but not from the disk yet.
            None => self.changed.contains(key),
        };
        let key: Arc<str> = key.into();
        self.insert(&key, value, expires, is_stored);
        self.changed.insert(key);
    }

    pub(super) fn delete(&mut self, key: &str) {
        match self.remove(key) {
            Some(entry) if entry.is_stored => {
                self.changed.insert(key.into());
            }
            Some(_) => {
                self.changed.remove(key);
            }
            None => {}
        }
    }

    /// Notes how `key` is, before its first change.
    pub(super) fn note(&self, key: &str, undo: &mut Undo) {
        if !undo.0.contains_key(key) {
            let was = self.entries.get(key).map(|entry| (entry.expires, entry.value.clone()));
            undo.0.insert(key.into(), was);
        }
    }

    /// Puts everything back as it was noted. It did fit, so no quota is asked.
    pub(super) fn undo(&mut self, undo: &mut Undo) {
        for (key, was) in undo.0.drain() {
            match was {
                Some((expires, value)) => self.put(&key, &value, expires),
                None => self.delete(&key),
            }
        }
    }

    /// Hands the writer what changed, which from now on counts as stored.
    pub(super) fn take_changes(&mut self, now: u64) -> Changes {
        self.expire(now, usize::MAX);
        let is_all = std::mem::take(&mut self.is_all_changed);
        let changed = std::mem::take(&mut self.changed);
        let keys: Vec<Arc<str>> = if is_all {
            self.entries.keys().cloned().collect()
        } else {
            changed.into_iter().collect()
        };
        let keys = keys.into_iter().map(|key| {
            let value = self.entries.get_mut(&key).map(|entry| {
                entry.is_stored = true;
                (entry.expires, entry.value.clone())
            });
            (key, value)
        });
        Changes { is_all, keys: keys.collect() }
    }

    /// Says that what was taken last may not have reached the disk.
    pub(super) fn change_all(&mut self) {
        self.is_all_changed = true;
    }

    /// Says that no disk is to have anything.
    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// Takes out up to `max` values that have expired.
    fn expire(&mut self, now: u64, max: usize) {
        for _ in 0..max {
            let Some((expires, key)) = self.expiring.first() else { return };
            if *expires > now {
                return;
            }
            let key = Arc::clone(key);
            self.delete(&key);
        }
    }

    fn insert(&mut self, key: &Arc<str>, value: &[u8], expires: u64, is_stored: bool) {
        self.bytes += weight(key, value);
        if expires > 0 {
            self.expiring.insert((expires, Arc::clone(key)));
        }
        self.entries.insert(Arc::clone(key), Entry { value: value.into(), expires, is_stored });
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= weight(&key, &entry.value);
        if entry.expires > 0 {
            self.expiring.remove(&(entry.expires, key));
        }
        Some(entry)
    }
}

fn weight(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}
