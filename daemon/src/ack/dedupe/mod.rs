//! Which events were taken in lately, so that a repeat is not delivered twice.
//!
//! An event is known by its source and id; only ids that a publisher gave count. The first of its
//! kind goes on; a repeat is answered [`Outcome::Duplicate`] once the first has settled well, and
//! shares its fate if that is bad: then the id is forgotten and the event may come again.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Ack, Code, Outcome, Refusal};
use crate::event::Batch;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupeSettings {
    /// Ids that are remembered at least, unless they are older than `age`.
    pub events: usize,
    /// How long an id is remembered at least, unless there are more than `events`.
    pub age: Duration,
}

impl Default for DedupeSettings {
    fn default() -> Self {
        Self { events: 100_000, age: Duration::from_secs(300) }
    }
}

/// The dedupe window of a pipeline. Outlives reloads, and as bytes a restart.
#[derive(Debug)]
pub struct Dedupe {
    /// Makes the hashes of this daemon unlike those of any other, so that nobody can aim at one.
    seed: u128,
    /// Held for a look and a note, by sources and by whoever settles, hence a std mutex.
    window: Mutex<Window>,
}

/// What a window holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupeStats {
    /// Ids that would be answered `duplicate`.
    pub ids: usize,
    /// Ids whose first event has no verdict yet.
    pub open: usize,
    /// Bytes that the ids take.
    pub bytes: usize,
}

/// Two generations of ids: when the younger is full or old, the older is forgotten.
#[derive(Debug)]
struct Window {
    settings: DedupeSettings,
    young: Keys,
    old: Keys,
    /// When the younger generation began.
    since: Instant,
    /// Events on their way, and the repeats that wait for them.
    open: HashMap<u128, Open, BuildHasherDefault<Taken>>,
}

type Keys = HashSet<u128, BuildHasherDefault<Taken>>;

/// An event on its way.
#[derive(Debug, Default)]
struct Open {
    /// Whether its publisher has been told well, while sinks that settle later still have it.
    is_answered: bool,
    repeats: Vec<Ack>,
}

impl Open {
    fn push(&mut self, mut ack: Ack) {
        if self.is_answered {
            ack.let_go(Outcome::Duplicate);
        }
        self.repeats.push(ack);
    }
}

impl Dedupe {
    /// An empty window.
    pub fn new(settings: DedupeSettings) -> Self {
        let window = Window {
            settings,
            young: Keys::default(),
            old: Keys::default(),
            since: Instant::now(),
            open: HashMap::default(),
        };
        Self { seed: fastrand::u128(..), window: Mutex::new(window) }
    }

    /// Follows `settings` from now on; what is known stays known.
    pub fn resize(&self, settings: DedupeSettings) {
        self.lock().settings = settings;
    }

    /// What it holds now.
    pub fn stats(&self) -> DedupeStats {
        let window = self.lock();
        let of = |keys: &Keys| keys.capacity() * 8 / 7 * (size_of::<u128>() + 1);
        DedupeStats {
            ids: window.young.len() + window.old.len(),
            open: window.open.len(),
            bytes: of(&window.young) + of(&window.old),
        }
    }

    /// Keeps back repeats among the events at `named`, ascending rows whose publisher gave the id.
    ///
    /// Answers the rows that go on, or `None` if all do, with their acks.
    pub fn sift(
        self: &Arc<Self>,
        batch: &Batch,
        named: &[u32],
        acks: Vec<Ack>,
    ) -> (Option<Vec<u32>>, Vec<Ack>) {
        let named_keys: Vec<u128> = named.iter().map(|row| self.key(batch, *row)).collect();
        let Some(ledger) = acks.first().and_then(|ack| ack.ledger.clone()) else {
            return (None, acks);
        };
        let mut keys = vec![0; acks.len()];
        let mut known = Vec::new();
        let mut kept = Vec::with_capacity(acks.len());
        let mut rows = Vec::with_capacity(acks.len());
        let mut candidates = named.iter().zip(named_keys).peekable();
        let mut window = self.lock();
        window.expire(Instant::now());
        for (row, ack) in (0_u32..).zip(acks) {
            if let Some((_, key)) = candidates.next_if(|(candidate, _)| **candidate == row) {
                if window.knows(key) {
                    known.push(ack);
                    continue;
                }
                if let Some(open) = window.open.get_mut(&key) {
                    open.push(ack);
                    continue;
                }
                window.open.insert(key, Open::default());
                keys[row as usize] = key;
            }
            rows.push(row);
            kept.push(ack);
        }
        drop(window);
        // Before any of the acks can be settled.
        drop(ledger.claims.set(Claims { dedupe: Arc::clone(self), keys: keys.into() }));
        known.into_iter().for_each(|ack| ack.settle(Outcome::Duplicate));
        let is_whole = rows.len() == batch.len();
        ((!is_whole).then_some(rows), kept)
    }

    fn key(&self, batch: &Batch, row: u32) -> u128 {
        let event = batch.event(row as usize);
        let half = |seed: u128| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&seed.to_le_bytes());
            hasher.write_usize(event.source().len());
            hasher.write(event.source().as_bytes());
            hasher.write(event.id().as_bytes());
            u128::from(hasher.finish())
        };
        // 0 marks the events that have none.
        (half(self.seed) << 64 | half(!self.seed)).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of the event `key`, and tells the repeats that waited for it.
    fn settled(&self, key: u128, outcome: Outcome, refusal: impl FnOnce() -> Refusal) {
        let mut window = self.lock();
        let repeats = window.open.remove(&key).map(|open| open.repeats).unwrap_or_default();
        let is_taken = outcome < Outcome::Rejected;
        if is_taken {
            window.remember(key);
        }
        drop(window);
        if repeats.is_empty() {
            return;
        }
        if is_taken {
            return repeats.into_iter().for_each(|ack| ack.settle(Outcome::Duplicate));
        }
        let refusal = refusal();
        repeats.into_iter().for_each(|ack| ack.refuse(refusal.clone()));
    }

    /// Notes that the publisher of the event `key` has its answer, though sinks still have it.
    fn answered(&self, key: u128) {
        if let Some(open) = self.lock().open.get_mut(&key) {
            open.is_answered = true;
            open.repeats.iter_mut().for_each(|ack| ack.let_go(Outcome::Duplicate));
        }
    }
}

impl Window {
    fn knows(&self, key: u128) -> bool {
        self.young.contains(&key) || self.old.contains(&key)
    }

    fn remember(&mut self, key: u128) {
        if self.young.len() >= self.settings.events {
            self.turn(Instant::now());
        }
        self.young.insert(key);
    }

    /// Forgets what is too old at `now`.
    fn expire(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= self.settings.age {
            self.turn(now);
            if age >= self.settings.age.saturating_mul(2) {
                self.turn(now);
            }
        }
    }

    fn turn(&mut self, now: Instant) {
        let room = self.young.len().min(self.settings.events);
        let next = Keys::with_capacity_and_hasher(room, BuildHasherDefault::default());
        self.old = std::mem::replace(&mut self.young, next);
        self.since = now;
    }
}

/// What the events of one request are known by, if their publisher gave them ids.
#[derive(Debug)]
pub(super) struct Claims {
    dedupe: Arc<Dedupe>,
    /// One per event; 0 for those without a claim.
    keys: Box<[u128]>,
}

/// Where a request keeps its claims.
pub(super) type ClaimCell = OnceLock<Claims>;

impl Claims {
    /// Notes what became of event `index`; `said` is the refusal that it got, if any.
    pub(super) fn settled(
        &self,
        index: u32,
        outcome: Outcome,
        said: impl FnOnce() -> Option<Refusal>,
    ) {
        let key = self.keys[index as usize];
        if key == 0 {
            return;
        }
        self.dedupe.settled(key, outcome, || {
            said().unwrap_or_else(|| {
                let code =
                    if outcome == Outcome::Rejected { Code::Rejected } else { Code::Unavailable };
                Refusal::new(code, "the same event, published before, was not delivered")
            })
        });
    }

    /// Notes that the publisher of event `index` has been told well before it is settled.
    pub(super) fn answered(&self, index: u32) {
        if let key @ 1.. = self.keys[index as usize] {
            self.dedupe.answered(key);
        }
    }
}

/// Hashes what is a hash already.
#[derive(Debug, Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only keys are hashed");
    }

    fn write_u128(&mut self, key: u128) {
        // The lower half; both halves are as good.
        self.0 = key as u64;
    }
}
