//! A hub: one sequence over many channels, its history and its subscribers.
//!
//! Publishers bring batches of posts; each event gets the next number, is encoded once and shared
//! by everybody who gets it. Joining and publishing exclude each other, so whoever joins gets
//! every event exactly once: from the history before that moment, from its queue after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use super::cursor::{Cursor, Epoch};
use super::filter::{Filter, Replay};
use super::history::{Entry, History, HistoryLimits};
use super::index::Index;
use super::message::{Encoded, GapReason, Missed, Piece, Post, Writer, Written};
use super::pattern::Pattern;
use super::subscriber::{Pushed, QueueLimits, Subscriber};

/// Events of the history that are looked at before the hub's lock is given back.
const SCAN_MAX: u64 = 1_024;

/// How a hub behaves.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// How much of the past it keeps.
    pub history: HistoryLimits,
    /// How much waits for one subscriber, and what happens beyond.
    pub queue: QueueLimits,
    /// Channels and patterns that one connection may subscribe to.
    pub channels_max: usize,
    /// Origins whose pages may connect, `*` for all, beside the hub's own.
    pub origins: Vec<String>,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            history: HistoryLimits::default(),
            queue: QueueLimits::default(),
            channels_max: 64,
            origins: Vec::new(),
        }
    }
}

/// One sequence of events over many channels, with its subscribers.
#[derive(Debug)]
pub struct Hub {
    epoch: Epoch,
    settings: HubSettings,
    /// Held while a batch is handed out or a page of the history is read, never across an await,
    /// hence a std mutex.
    state: Mutex<State>,
    subscribers: AtomicUsize,
}

#[derive(Debug)]
struct State {
    history: History,
    index: Index,
    counts: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    published: u64,
    delivered: u64,
    dropped: u64,
    gaps: u64,
}

/// A hub at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HubStats {
    /// Channels that somebody subscribes to by name.
    pub channels: usize,
    /// Subscribers connected.
    pub subscribers: usize,
    /// Events published so far.
    pub published: u64,
    /// Events queued for a subscriber or read by it from the history, so far.
    pub delivered: u64,
    /// Events that did not fit into a subscriber's queue, so far.
    pub dropped: u64,
    /// Gaps announced so far.
    pub gaps: u64,
    /// Events in the history.
    pub history_events: usize,
    /// Bytes in the history.
    pub history_bytes: usize,
}

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    Live,
    /// After this place.
    Since(Cursor),
    /// With the newest events, this many.
    Last(usize),
}

/// What a subscription starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The newest event of the hub.
    pub cursor: Cursor,
    /// Events that come from the history.
    pub replayed: usize,
    /// Events that were asked for and are gone.
    pub missed: Option<Missed>,
}

/// A part of the history, as far as a subscriber wants it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) missed: Option<Missed>,
    pub(super) pieces: Vec<Piece>,
    /// Where to read on.
    pub(super) next: u64,
}

impl Hub {
    /// A hub without events and subscribers, in a life of its own.
    pub fn new(settings: HubSettings) -> Self {
        let history = History::new(settings.history);
        let state = State { history, index: Index::default(), counts: Counts::default() };
        Self {
            epoch: Epoch::random(),
            settings,
            state: Mutex::new(state),
            subscribers: AtomicUsize::new(0),
        }
    }

    /// How it behaves.
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// The life that it is in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest event.
    pub fn cursor(&self) -> Cursor {
        self.cursor_at(self.lock().history.next() - 1)
    }

    /// Gives every post its number and hands it to everybody who subscribes to its channel.
    pub fn publish(&self, posts: &[Post<'_>]) -> Cursor {
        let encoded = Encoded::new(posts);
        let now = Instant::now();
        let mut state = self.lock();
        state.history.expire(now);
        let mut start = 0;
        for run in posts.chunk_by(|one, other| one.channel == other.channel) {
            self.publish_run(&mut state, &encoded, run, (start, now));
            start += run.len();
        }
        state.counts.published += posts.len() as u64;
        self.cursor_at(state.history.next() - 1)
    }

    /// Publishes posts that follow each other and go to the same channel.
    fn publish_run(
        &self,
        state: &mut State,
        encoded: &Encoded,
        run: &[Post<'_>],
        (start, now): (usize, Instant),
    ) {
        let State { history, index, counts } = state;
        let channel = run[0].channel;
        let name: Arc<str> = channel.as_str().into();
        let targets = index.find(channel.as_str());
        let mut seq = history.next();
        let mut hand_out = |written: Written| {
            for subscriber in targets.iter().copied().flatten() {
                counts.note(subscriber.push(&written.piece, self.settings.queue), &written.piece);
            }
            for piece in written.singles {
                history.push(Entry { channel: Arc::clone(&name), piece, at: now });
            }
        };
        let mut writer = Writer::new(encoded, channel, self.epoch);
        for row in start..start + run.len() {
            if let Some(full) = writer.add(row, seq) {
                hand_out(full);
            }
            seq += 1;
        }
        if let Some(rest) = writer.finish() {
            hand_out(rest);
        }
    }

    /// How the hub is.
    pub fn stats(&self) -> HubStats {
        let state = self.lock();
        HubStats {
            channels: state.index.channels(),
            subscribers: self.subscribers.load(Ordering::Relaxed),
            published: state.counts.published,
            delivered: state.counts.delivered,
            dropped: state.counts.dropped,
            gaps: state.counts.gaps,
            history_events: state.history.len(),
            history_bytes: state.history.bytes(),
        }
    }

    /// A subscriber that names no channel yet.
    pub(super) fn enter(&self) -> Arc<Subscriber> {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Subscriber::default())
    }

    /// Takes a subscriber out.
    pub(super) fn leave(&self, subscriber: &Arc<Subscriber>, filter: &Filter) {
        let mut state = self.lock();
        for pattern in filter.patterns() {
            state.index.remove(pattern, subscriber);
        }
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds subscriptions; answers what they start with and the replay to be read.
    pub(super) fn join(
        &self,
        subscriber: &Arc<Subscriber>,
        filter: &mut Filter,
        patterns: &[Pattern],
        start: Start,
    ) -> (Joined, Option<Replay>) {
        let mut state = self.lock();
        state.history.expire(Instant::now());
        let next = state.history.next();
        let mut replay = filter.replay(patterns, next);
        for pattern in patterns {
            if filter.add(pattern, next) {
                state.index.add(pattern, Arc::clone(subscriber));
            }
        }
        let mut missed = None;
        match start {
            Start::Live => {}
            Start::Since(cursor) => {
                missed = self.missed_since(&state.history, cursor);
                let is_ours = cursor.epoch == self.epoch;
                let from = if is_ours { cursor.seq.saturating_add(1) } else { 1 };
                replay.next = from.clamp(state.history.first(), next);
            }
            Start::Last(count) => {
                let newest = state.history.range(0, next).rev();
                let wanted = newest.filter(|entry| replay.wants(&entry.channel, entry.piece.first));
                replay.next = wanted.take(count).last().map_or(next, |entry| entry.piece.first);
            }
        }
        let entries = state.history.range(replay.next, next);
        let wanted = |entry: &&Entry| replay.wants(&entry.channel, entry.piece.first);
        let replayed = entries.filter(wanted).count();
        filter.note(&replay);
        if missed.is_some() {
            state.counts.gaps += 1;
        }
        let joined = Joined { cursor: self.cursor_at(next - 1), replayed, missed };
        (joined, (replayed > 0).then_some(replay))
    }

    /// Takes subscriptions out.
    pub(super) fn part(
        &self,
        subscriber: &Arc<Subscriber>,
        filter: &mut Filter,
        patterns: &[Pattern],
    ) {
        let mut state = self.lock();
        for pattern in patterns {
            if filter.remove(pattern) {
                state.index.remove(pattern, subscriber);
            }
        }
    }

    /// Reads a page of `replay`.
    pub(super) fn read(&self, replay: &Replay, len_max: usize) -> Page {
        let mut state = self.lock();
        let wants = |channel: &str, seq| replay.wants(channel, seq);
        self.page(&mut state, (replay.next, replay.until), len_max, wants)
    }

    /// Reads a page for a subscriber that lags, which is live again once nothing is left.
    pub(super) fn catch_up(
        &self,
        subscriber: &Subscriber,
        filter: &Filter,
        from: u64,
        len_max: usize,
    ) -> Page {
        let mut state = self.lock();
        let wants = |channel: &str, seq| filter.wants(channel, seq);
        let until = state.history.next();
        let page = self.page(&mut state, (from, until), len_max, wants);
        subscriber.set_lag((page.next < until).then_some(page.next));
        page
    }

    fn page(
        &self,
        state: &mut State,
        (from, until): (u64, u64),
        len_max: usize,
        wants: impl Fn(&str, u64) -> bool,
    ) -> Page {
        state.history.expire(Instant::now());
        let first = state.history.first().min(until);
        let missed = (from < first).then(|| Missed {
            reason: GapReason::Slow,
            from: self.cursor_at(from - 1),
            until: self.cursor_at(first - 1),
        });
        let from = from.max(first);
        let end = until.min(from.saturating_add(SCAN_MAX));
        let mut page = Page { missed, pieces: Vec::new(), next: end };
        let mut len = 0;
        for entry in state.history.range(from, end) {
            if !wants(&entry.channel, entry.piece.first) {
                continue;
            }
            len += entry.piece.text.len() + 1;
            if len > len_max && !page.pieces.is_empty() {
                page.next = entry.piece.first;
                break;
            }
            page.pieces.push(entry.piece.clone());
        }
        state.counts.delivered += page.pieces.len() as u64;
        state.counts.gaps += u64::from(page.missed.is_some());
        page
    }

    fn missed_since(&self, history: &History, cursor: Cursor) -> Option<Missed> {
        let until = self.cursor_at(history.first() - 1);
        if cursor.epoch != self.epoch {
            return Some(Missed { reason: GapReason::Restarted, from: cursor, until });
        }
        let is_gone = cursor.seq < until.seq;
        is_gone.then_some(Missed { reason: GapReason::Expired, from: cursor, until })
    }

    fn cursor_at(&self, seq: u64) -> Cursor {
        Cursor { epoch: self.epoch, seq }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(HubSettings::default())
    }
}

impl Counts {
    fn note(&mut self, pushed: Pushed, piece: &Piece) {
        match pushed {
            Pushed::Queued => self.delivered += u64::from(piece.count),
            Pushed::Dropped => self.dropped += u64::from(piece.count),
            Pushed::Known => {}
        }
    }
}

/// All hubs of the daemon, by name.
#[derive(Debug, Default)]
pub struct Hubs {
    hubs: BTreeMap<String, Arc<Hub>>,
}

impl Hubs {
    /// Hubs with the names and settings of `weir.toml`.
    pub fn new(settings: impl IntoIterator<Item = (String, HubSettings)>) -> Self {
        let hub = |(name, settings)| (name, Arc::new(Hub::new(settings)));
        Self { hubs: settings.into_iter().map(hub).collect() }
    }

    /// The hub `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.get(name).cloned()
    }

    /// The names of all hubs.
    pub fn names(&self) -> Vec<&str> {
        self.hubs.keys().map(String::as_str).collect()
    }

    /// All hubs with their names, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Hub>)> {
        self.hubs.iter().map(|(name, hub)| (name.as_str(), hub))
    }
}
