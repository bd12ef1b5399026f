//! One subscriber's queue: what waits to be written to it, bounded in events and bytes.
//!
//! The hub pushes, the subscriber's own task takes. What does not fit is not queued: the queue
//! remembers where that began, and the subscriber reads on from the history once it has taken
//! what is queued, or is cut off, as the hub's policy says.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::echo::SocketId;
use super::message::Piece;

/// Room for pieces that an idle queue may keep.
const IDLE_CAPACITY_MAX: usize = 16;

/// What happens to a subscriber that does not take its events fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// It reads on from the history; what is no longer there is announced as a gap.
    #[default]
    Resume,
    /// What waits longest is dropped and announced as a gap: it gets the newest events.
    Latest,
    /// Its connection is closed.
    Disconnect,
}

/// The bounds of a subscriber's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Events waiting.
    pub events_max: usize,
    /// Bytes waiting.
    pub bytes_max: usize,
    /// What happens beyond these.
    pub policy: SlowPolicy,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { events_max: 1_024, bytes_max: 1 << 20, policy: SlowPolicy::Resume }
    }
}

/// The hub's end of a subscription. The [`Subscription`](super::Subscription) takes from it.
#[derive(Debug, Default)]
pub(super) struct Subscriber {
    /// Of a Pusher client.
    socket: Option<SocketId>,
    /// Held for a push or a take only, hence a std mutex. Taken after the hub's, never before.
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Piece>,
    events: usize,
    bytes: usize,
    /// The newest event that was pushed or passed over.
    last: u64,
    /// The first event that did not fit.
    lag_from: Option<u64>,
    /// The first and the last event that were dropped to make room for newer ones.
    skipped: Option<(u64, u64)>,
    is_cut: bool,
    /// Set while the subscriber's task sleeps.
    sleeper: Option<Waker>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits now.
    Queued,
    /// It was there already, through another pattern.
    Known,
    /// It did not fit.
    Dropped,
}

/// What a subscriber's task does next.
#[derive(Debug)]
pub(super) enum Taken {
    /// Writes these.
    Pieces(Vec<Piece>),
    /// Tells that events from the first to the second are lost.
    Skipped(u64, u64),
    /// Reads on from the history, from this event.
    Lagging(u64),
    /// Ends.
    Cut,
}

impl Subscriber {
    /// A queue with nothing in it; `socket` is given for a Pusher client.
    pub(super) fn new(socket: Option<SocketId>) -> Self {
        Self { socket, ..Self::default() }
    }

    /// The Pusher client's socket, if it is one.
    pub(super) fn socket(&self) -> Option<SocketId> {
        self.socket
    }

    /// Queues `piece` if it fits.
    pub(super) fn push(&self, piece: &Piece, limits: QueueLimits) -> Pushed {
        let mut queue = self.lock();
        if piece.first <= queue.last {
            return Pushed::Known;
        }
        queue.last = piece.last();
        if queue.lag_from.is_some() || queue.is_cut {
            return Pushed::Dropped;
        }
        if limits.policy == SlowPolicy::Latest {
            queue.make_room(piece, limits);
        }
        let events = queue.events + piece.count as usize;
        let bytes = queue.bytes + piece.text.len();
        let is_full = events > limits.events_max || bytes > limits.bytes_max;
        let pushed = if is_full && queue.events > 0 {
            match limits.policy {
                SlowPolicy::Resume => queue.lag_from = Some(piece.first),
                // What is left in the queue cannot be dropped.
                SlowPolicy::Latest | SlowPolicy::Disconnect => queue.is_cut = true,
            }
            Pushed::Dropped
        } else {
            queue.events = events;
            queue.bytes = bytes;
            queue.waiting.push_back(piece.clone());
            Pushed::Queued
        };
        wake(queue);
        pushed
    }

    /// Queues a frame that is no event of the hub and so cannot be read again: a subscriber that has
    /// no room for it is cut off.
    pub(super) fn push_signal(&self, frame: &Bytes, limits: QueueLimits) {
        let mut queue = self.lock();
        if queue.is_cut {
            return;
        }
        let bytes = queue.bytes + frame.len();
        if queue.events >= limits.events_max || bytes > limits.bytes_max {
            queue.is_cut = true;
        } else {
            queue.events += 1;
            queue.bytes = bytes;
            queue.waiting.push_back(Piece { first: 0, count: 1, text: frame.clone() });
        }
        wake(queue);
    }

    /// Makes it read on from the history from event `from` on, unless it does from an older one.
    pub(super) fn lag(&self, from: u64) {
        let mut queue = self.lock();
        queue.lag_from.get_or_insert(from);
        wake(queue);
    }

    /// Cuts it off.
    pub(super) fn cut(&self) {
        let mut queue = self.lock();
        queue.is_cut = true;
        wake(queue);
    }

    /// Takes waiting pieces of about `len_max` bytes, or says what else is to be done.
    pub(super) fn poll_take(&self, cx: &Context<'_>, len_max: usize) -> Poll<Taken> {
        let mut queue = self.lock();
        if queue.is_cut {
            return Poll::Ready(Taken::Cut);
        }
        if let Some((from, until)) = queue.skipped.take() {
            return Poll::Ready(Taken::Skipped(from, until));
        }
        if queue.waiting.is_empty() {
            if let Some(from) = queue.lag_from {
                return Poll::Ready(Taken::Lagging(from));
            }
            let is_same = queue.sleeper.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
            if !is_same {
                queue.sleeper = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let mut taken: Vec<Piece> = Vec::new();
        let mut len = 0;
        while let Some(piece) = queue.waiting.front() {
            len += piece.text.len() + 1;
            if len > len_max && !taken.is_empty() {
                break;
            }
            taken.extend(queue.waiting.pop_front());
        }
        queue.events -= taken.iter().map(|piece| piece.count as usize).sum::<usize>();
        queue.bytes -= taken.iter().map(|piece| piece.text.len()).sum::<usize>();
        if queue.waiting.is_empty() && queue.waiting.capacity() > IDLE_CAPACITY_MAX {
            // A burst does not leave a large buffer behind.
            queue.waiting = VecDeque::new();
        }
        Poll::Ready(Taken::Pieces(taken))
    }

    /// Whether all that was pushed is taken.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        let is_whole = queue.lag_from.is_none() && queue.skipped.is_none();
        queue.waiting.is_empty() && is_whole && !queue.is_cut
    }

    /// Notes how far the subscriber has read on; `None` once it has all there is. To be called
    /// under the hub's lock, so that nothing is published meanwhile.
    pub(super) fn set_lag(&self, lag_from: Option<u64>) {
        self.lock().lag_from = lag_from;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Drops the oldest events until `piece` fits, or nothing is left that can be read as lost.
    fn make_room(&mut self, piece: &Piece, limits: QueueLimits) {
        while self.events + piece.count as usize > limits.events_max
            || self.bytes + piece.text.len() > limits.bytes_max
        {
            // What has no number is no event of the hub.
            let oldest = self.waiting.iter().position(|waiting| waiting.first > 0);
            let Some(dropped) = oldest.and_then(|place| self.waiting.remove(place)) else { return };
            self.events -= dropped.count as usize;
            self.bytes -= dropped.text.len();
            let from = self.skipped.map_or(dropped.first, |(from, _)| from);
            self.skipped = Some((from, dropped.last()));
        }
    }
}

/// Gives `queue` back and wakes the subscriber's task if it sleeps.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let sleeper = queue.sleeper.take();
    drop(queue);
    if let Some(sleeper) = sleeper {
        sleeper.wake();
    }
}
