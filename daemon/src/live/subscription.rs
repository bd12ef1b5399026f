//! One connection's view of a hub: what it subscribes to and what it gets next.
//!
//! The same for every protocol: replays of the past come first, then what waits in the queue;
//! whoever lagged reads on from the history. Loss is always announced, by a [`Gap`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;

use super::filter::{Filter, Replay};
use super::hub::{Hub, Joined, Page, Start};
use super::message::{Missed, Piece};
use super::pattern::Pattern;
use super::subscriber::{Subscriber, Taken};

/// A connection's subscriptions to one hub.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
    filter: Filter,
    /// One per `sub` that asked for the past and has not got all of it.
    replays: VecDeque<Replay>,
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
#[error("a connection subscribes to at most {max} channels")]
pub struct TooMany {
    /// How many it may subscribe to.
    pub max: usize,
}

impl Subscription {
    /// A subscription to nothing yet.
    pub fn new(hub: Arc<Hub>) -> Self {
        let subscriber = hub.enter();
        Self { hub, subscriber, filter: Filter::default(), replays: VecDeque::new() }
    }

    /// The hub.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Subscribes to `patterns`. An event comes once, even if several patterns name its channel.
    ///
    /// # Errors
    /// If that were more than the hub allows; nothing is subscribed then.
    pub fn join(&mut self, patterns: &[Pattern], start: Start) -> Result<Joined, TooMany> {
        let max = self.hub.settings().channels_max;
        let is_new = |pattern: &&Pattern| !self.filter.contains(pattern);
        if self.filter.len() + patterns.iter().filter(is_new).count() > max
            || self.replays.len() >= max
        {
            return Err(TooMany { max });
        }
        let (joined, replay) = self.hub.join(&self.subscriber, &mut self.filter, patterns, start);
        self.replays.extend(replay);
        Ok(joined)
    }

    /// Ends the subscription to `patterns`. To be called once all there is was taken: what only
    /// these patterns still had to bring is dropped.
    pub fn part(&mut self, patterns: &[Pattern]) {
        self.hub.part(&self.subscriber, &mut self.filter, patterns);
        self.replays.retain_mut(|replay| replay.drop_patterns(patterns));
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
                Poll::Ready(Taken::Cut) => return Poll::Ready(Next::Cut),
                Poll::Ready(Taken::Lagging(from)) => from,
            };
            let page = self.hub.catch_up(&self.subscriber, &self.filter, from, len_max);
            let burst = burst(page, || self.filter.patterns().cloned().collect());
            if let Some(burst) = burst {
                return Poll::Ready(burst);
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
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
