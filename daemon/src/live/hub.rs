//! A hub: one sequence over many channels, its history and its subscribers.
//!
//! Publishers bring batches of posts; each event gets the next number, is encoded once and shared
//! by everybody who gets it. Joining and publishing exclude each other, so whoever joins gets
//! every event exactly once: from the history before that moment, from its queue after it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::access::{Reason, Refusals};
use super::cache::Cache;
use super::cursor::{Cursor, Epoch, EpochCell};
use super::echo::{self, SocketId};
use super::filter::{Filter, Replay};
use super::history::{Entry, History};
use super::index::Index;
use super::keeper::Keeper;
use super::message::{Encoded, GapReason, Missed, Piece, Post, Writer, Written};
use super::pattern::Pattern;
use super::rooms::Rooms;
use super::settings::HubSettings;
use super::subscriber::{Pushed, Subscriber};

/// Events of the history that are looked at before the hub's lock is given back.
const SCAN_MAX: usize = 1_024;

/// One sequence of events over many channels, with its subscribers.
#[derive(Debug)]
pub struct Hub {
    epoch: EpochCell,
    settings: HubSettings,
    /// Where its events are kept and numbered, beside its memory.
    keeper: Keeper,
    /// Held while a batch is handed out or a page of the history is read, never across an await,
    /// hence a std mutex.
    state: Mutex<State>,
    subscribers: AtomicUsize,
    rooms: Rooms,
    refusals: Refusals,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) history: History,
    pub(super) index: Index,
    /// The last events of cache channels, for Pusher clients.
    cache: Cache,
    counts: Counts,
    /// Events before this number may have been lost on their way here.
    pub(super) lost_before: u64,
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
    /// With the last event of a cache channel, then live; for Pusher clients.
    Cached,
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
    /// Whether the last event of the channel comes first.
    pub is_cached: bool,
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
        Self::with(settings, Keeper::Memory)
    }

    /// A hub whose life and numbers are those of its keeper.
    pub(super) fn with(settings: HubSettings, keeper: Keeper) -> Self {
        let is_own = matches!(keeper, Keeper::Memory);
        let epoch = if is_own { Epoch::random() } else { Epoch::UNKNOWN };
        let history = History::new(settings.history);
        let (index, cache, counts) = (Index::default(), Cache::default(), Counts::default());
        let state = State { history, index, cache, counts, lost_before: 0 };
        Self {
            epoch: EpochCell::new(epoch),
            settings,
            keeper,
            state: Mutex::new(state),
            subscribers: AtomicUsize::new(0),
            rooms: Rooms::default(),
            refusals: Refusals::default(),
        }
    }

    /// How it behaves.
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How often somebody was turned away for this reason.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refusals.get(reason)
    }

    /// The life that it is in.
    pub fn epoch(&self) -> Epoch {
        self.epoch.get()
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Begins the life `epoch`, in which the next event is number `next`.
    pub(super) fn begin(&self, epoch: Epoch, next: u64) {
        self.begin_in(&mut self.lock(), epoch, next);
    }

    pub(super) fn begin_in(&self, state: &mut State, epoch: Epoch, next: u64) {
        self.epoch.set(epoch);
        state.history = History::new(self.settings.history);
        state.history.skip_to(next);
    }

    /// The numbers of the oldest event that is kept and of the next one.
    pub(super) fn kept(&self) -> Range<u64> {
        let state = self.lock();
        state.history.first()..state.history.next()
    }

    /// Passes over the numbers before `next`.
    pub(super) fn skip_to(&self, next: u64) {
        self.lock().history.skip_to(next);
    }

    /// The newest event.
    pub fn cursor(&self) -> Cursor {
        self.cursor_at(self.lock().history.next() - 1)
    }

    /// Gives every post its number and hands it to everybody who subscribes to its channel.
    pub(super) fn publish(&self, posts: &[Post<'_>]) -> Cursor {
        self.publish_from(None, posts, Instant::now())
    }

    /// Hands posts from `at` to everybody who subscribes to their channels, with the numbers from
    /// `first` on, or the next ones.
    pub(super) fn publish_from(
        &self,
        first: Option<u64>,
        posts: &[Post<'_>],
        at: Instant,
    ) -> Cursor {
        let encoded = Encoded::new(posts);
        let mut state = self.lock();
        state.history.expire(Instant::now());
        state.history.skip_to(first.unwrap_or(0));
        let mut start = 0;
        for run in posts.chunk_by(|one, other| one.channel == other.channel) {
            self.publish_run(&mut state, &encoded, run, (start, at));
            start += run.len();
        }
        if self.is_open() {
            state.counts.published += posts.len() as u64;
        }
        self.cursor_at(state.history.next() - 1)
    }

    /// Publishes posts that follow each other and go to the same channel.
    fn publish_run(
        &self,
        state: &mut State,
        encoded: &Encoded,
        run: &[Post<'_>],
        (start, at): (usize, Instant),
    ) {
        let State { history, index, cache, counts, .. } = state;
        let channel = run[0].channel;
        let name: Arc<str> = channel.as_str().into();
        let targets = index.find(channel.as_str());
        let mut seq = history.next();
        if self.settings.has_app {
            let mut push = |subscriber: &Subscriber, piece: &Piece| {
                counts.note(subscriber.push(piece, self.settings.queue), piece);
            };
            if let Some(last) = echo::hand_out(run, seq, &targets, &mut push) {
                cache.put(Arc::clone(&name), last, at);
            }
        }
        let is_guarded = self.guards(channel.as_str());
        let mut hand_out = |written: Written| {
            let own = targets.iter().copied().flatten().filter(|own| own.socket().is_none());
            for subscriber in own.filter(|_| !is_guarded) {
                counts.note(subscriber.push(&written.piece, self.settings.queue), &written.piece);
            }
            for piece in written.singles {
                history.push(Entry { channel: Arc::clone(&name), piece, at });
            }
        };
        let mut writer = Writer::new(encoded, channel, self.epoch());
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

    /// Hands `frame`, which is no event of the hub, to the Pusher clients on `channel`, except one.
    pub(super) fn signal(&self, channel: &str, frame: &Bytes, except: Option<SocketId>) {
        let state = self.lock();
        let targets = state.index.find(channel);
        for (subscriber, socket) in echo::listeners(&targets) {
            if except != Some(socket) {
                subscriber.push_signal(frame, self.settings.queue);
            }
        }
    }

    /// The last event of a cache channel as Pusher clients get it, and how long it stays.
    pub(super) fn cached(&self, channel: &str) -> Option<(Bytes, Duration)> {
        self.lock().cache.get(channel, Instant::now())
    }

    /// Whether `channel` is for Pusher clients alone, which show that they may subscribe to it.
    pub(super) fn guards(&self, channel: &str) -> bool {
        self.settings.has_app && echo::is_private(channel)
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

    /// A subscriber that names no channel yet; a Pusher client has a `socket`.
    pub(super) fn enter(&self, socket: Option<SocketId>) -> Arc<Subscriber> {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Subscriber::new(socket))
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
        let mut is_cached = false;
        match start {
            Start::Live => {}
            Start::Cached => {
                let channel = patterns.first().map_or("", Pattern::as_str);
                if let Some((frame, _)) = state.cache.get(channel, Instant::now()) {
                    subscriber.push_signal(&frame, self.settings.queue);
                    is_cached = true;
                }
            }
            Start::Since(cursor) => {
                missed = self.missed_since(&state.history, cursor);
                let is_ours = self.is_ours(&state.history, cursor);
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
        let joined = Joined { cursor: self.cursor_at(next - 1), replayed, missed, is_cached };
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
        let wants = |channel: &str, seq| !self.guards(channel) && replay.wants(channel, seq);
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
        let is_welcome = |channel: &str| subscriber.socket().is_some() || !self.guards(channel);
        let wants = |channel: &str, seq| is_welcome(channel) && filter.wants(channel, seq);
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
            reason: if from < state.lost_before { GapReason::Expired } else { GapReason::Slow },
            from: self.cursor_at(from - 1),
            until: self.cursor_at(first - 1),
        });
        let from = from.max(first);
        let mut page = Page { missed, pieces: Vec::new(), next: until };
        let mut len = 0;
        for (scanned, entry) in state.history.range(from, until).enumerate() {
            if scanned == SCAN_MAX {
                page.next = entry.piece.first;
                break;
            }
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
        if !self.is_ours(history, cursor) {
            return Some(Missed { reason: GapReason::Restarted, from: cursor, until });
        }
        let is_gone = cursor.seq < until.seq;
        is_gone.then_some(Missed { reason: GapReason::Expired, from: cursor, until })
    }

    /// Whether this hub gave out `cursor` in this life. A place that it has not reached is from
    /// another, even if the name of the life is the same: its disk went back in time.
    fn is_ours(&self, history: &History, cursor: Cursor) -> bool {
        cursor.epoch == self.epoch() && cursor.seq < self.keeper.reach(history.next())
    }

    fn cursor_at(&self, seq: u64) -> Cursor {
        Cursor { epoch: self.epoch(), seq }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
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
