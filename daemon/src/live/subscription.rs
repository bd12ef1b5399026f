//! One connection's view of a hub: what it subscribes to and what it gets next.
//!
//! The same for every protocol: replays of the past come first, then what waits in the queue;
//! whoever lagged reads on from the history. Loss is always announced, by a [`Gap`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;

use super::cursor::Cursor;
use super::echo::{self, SocketId};
use super::filter::{Filter, Replay};
use super::hub::{Hub, Joined, Page, Start};
use super::message::{GapReason, Missed, Piece};
use super::pattern::Pattern;
use super::presence::{Full, Member};
use super::subscriber::{Subscriber, Taken};

/// A connection's subscriptions to one hub.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
    filter: Filter,
    /// One per `sub` that asked for the past and has not got all of it.
    replays: VecDeque<Replay>,
    channels_max: usize,
    /// The channels where it is a member, each with the user that it came as.
    present: Vec<(Box<str>, Box<str>)>,
}

/// What a connection gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Events, after the gap if there is one.
    Burst(Option<Gap>, Vec<Piece>),
    /// Nothing more: the subscriber took too long and the hub's policy is to part.
    Cut,
}

/// Events that a connection cannot get any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    /// The channels and patterns that may have lost events.
    pub channels: Vec<Pattern>,
    /// Which events, and why.
    pub missed: Missed,
}

/// Why somebody cannot subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JoinError {
    /// It subscribes to as much as it may already.
    #[error("a connection subscribes to at most {max} channels")]
    TooMany {
        /// How many it may subscribe to.
        max: usize,
    },
    /// The channel is one of an app, whose clients show that they may subscribe to it.
    #[error("private channels of an app are for its Pusher clients")]
    Guarded,
}

impl Subscription {
    /// A subscription to nothing yet.
    pub fn new(hub: Arc<Hub>) -> Self {
        let channels_max = hub.settings().channels_max;
        Self::enter(hub, None, channels_max)
    }

    /// The subscription of a Pusher client, which takes its frames in that dialect.
    pub(super) fn of_socket(hub: Arc<Hub>, socket: SocketId, channels_max: usize) -> Self {
        Self::enter(hub, Some(socket), channels_max)
    }

    fn enter(hub: Arc<Hub>, socket: Option<SocketId>, channels_max: usize) -> Self {
        let subscriber = hub.enter(socket);
        let (filter, replays) = (Filter::default(), VecDeque::new());
        Self { hub, subscriber, filter, replays, channels_max, present: Vec::new() }
    }

    /// The hub.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Subscribes to `patterns`. An event comes once, even if several patterns name its channel.
    ///
    /// # Errors
    /// If that were more than is allowed, or a channel is for others; nothing is subscribed then.
    pub fn join(&mut self, patterns: &[Pattern], start: Start) -> Result<Joined, JoinError> {
        let max = self.channels_max;
        let is_new = |pattern: &&Pattern| !self.filter.contains(pattern);
        if self.filter.len() + patterns.iter().filter(is_new).count() > max
            || self.replays.len() >= max
        {
            return Err(JoinError::TooMany { max });
        }
        let is_guarded = |pattern: &Pattern| self.hub.guards(pattern.as_str());
        if self.subscriber.socket().is_none() && patterns.iter().any(is_guarded) {
            return Err(JoinError::Guarded);
        }
        let (joined, replay) = self.hub.join(&self.subscriber, &mut self.filter, patterns, start);
        self.replays.extend(replay);
        Ok(joined)
    }

    /// What it subscribes to.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.filter.patterns()
    }

    /// Becomes a member of `channel`, which it subscribes to; answers the frame that says who is
    /// there. Who comes and goes is told from then on.
    pub(super) fn attend(&mut self, channel: &str, member: &Member) -> Result<Vec<u8>, Full> {
        let limits = self.hub.settings().queue;
        self.leave(|own| own == channel);
        let members = self.hub.rooms().enter(&self.subscriber, channel, member, limits)?;
        self.present.push((channel.into(), member.user.clone()));
        Ok(members)
    }

    /// Is no longer a member of `channels`.
    pub(super) fn withdraw(&mut self, channels: &[Pattern]) {
        self.leave(|own| channels.iter().any(|channel| channel.as_str() == own));
    }

    fn leave(&mut self, mut is_left: impl FnMut(&str) -> bool) {
        let limits = self.hub.settings().queue;
        for (channel, user) in self.present.extract_if(.., |(channel, _)| is_left(channel)) {
            self.hub.rooms().leave(&self.subscriber, (&channel, &user), limits);
        }
    }

    /// Ends the subscription to `patterns`. To be called once all there is was taken: what only
    /// these patterns still had to bring is dropped.
    pub fn part(&mut self, patterns: &[Pattern]) {
        self.withdraw(patterns);
        self.hub.part(&self.subscriber, &mut self.filter, patterns);
        self.replays.retain_mut(|replay| replay.drop_patterns(patterns));
    }

    /// The newest event of the hub, if nothing up to there is still to be taken.
    ///
    /// Whoever resumes from it skips what went to channels that are none of its own.
    pub fn reached(&self) -> Option<Cursor> {
        // Read first: what comes later only makes it older than it could be.
        let cursor = self.hub.cursor();
        (self.replays.is_empty() && self.subscriber.is_idle()).then_some(cursor)
    }

    /// Events of about `len_max` bytes, as soon as there are any.
    ///
    /// # Cancel safety
    /// Cancel safe: events are taken only when this resolves.
    pub async fn next(&mut self, len_max: usize) -> Next {
        poll_fn(|cx| self.poll_next(cx, len_max)).await
    }

    /// Like [`next`](Self::next), as a poll.
    pub fn poll_next(&mut self, cx: &Context<'_>, len_max: usize) -> Poll<Next> {
        loop {
            if let Some(replay) = self.replays.front_mut() {
                let page = self.hub.read(replay, len_max);
                replay.next = page.next;
                let burst = burst(page, || replay.patterns().to_vec());
                if replay.next >= replay.until {
                    self.replays.pop_front();
                }
                match burst {
                    Some(burst) => return Poll::Ready(burst),
                    None => continue,
                }
            }
            let from = match self.subscriber.poll_take(cx, len_max) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Taken::Pieces(pieces)) => {
                    return Poll::Ready(Next::Burst(None, pieces));
                }
                Poll::Ready(Taken::Skipped(from, until)) => {
                    return Poll::Ready(self.skipped(from, until));
                }
                Poll::Ready(Taken::Cut) => return Poll::Ready(Next::Cut),
                Poll::Ready(Taken::Lagging(from)) => from,
            };
            let mut page = self.hub.catch_up(&self.subscriber, &self.filter, from, len_max);
            if let Some(socket) = self.subscriber.socket() {
                page.pieces = echo::translated(&page.pieces, socket);
            }
            let burst = burst(page, || self.filter.patterns().cloned().collect());
            if let Some(burst) = burst {
                return Poll::Ready(burst);
            }
        }
    }
}

impl Subscription {
    /// The gap of a subscriber that wants the newest events.
    fn skipped(&self, from: u64, until: u64) -> Next {
        let epoch = self.hub.epoch();
        let missed = Missed {
            reason: GapReason::Slow,
            from: Cursor { epoch, seq: from - 1 },
            until: Cursor { epoch, seq: until },
        };
        let channels = self.filter.patterns().cloned().collect();
        Next::Burst(Some(Gap { channels, missed }), Vec::new())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave(|_| true);
        self.hub.leave(&self.subscriber, &self.filter);
    }
}

/// What a page brings, if anything.
fn burst(page: Page, channels: impl FnOnce() -> Vec<Pattern>) -> Option<Next> {
    if page.missed.is_none() && page.pieces.is_empty() {
        return None;
    }
    let gap = page.missed.map(|missed| Gap { channels: channels(), missed });
    Some(Next::Burst(gap, page.pieces))
}
