//! One subscriber's queue: what waits to be written to it, bounded in events and bytes.
//!
//! The hub pushes, the subscriber's own task takes. What does not fit is not queued: the queue
//! remembers where that began, and the subscriber reads on from the history once it has taken
//! what is queued, or is cut off, as the hub's policy says.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::message::Piece;

/// Room for pieces that an idle queue may keep.
const IDLE_CAPACITY_MAX: usize = 16;

/// What happens to a subscriber that does not take its events fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// It reads on from the history; what is no longer there is announced as a gap.
    #[default]
    Resume,
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
    /// Reads on from the history, from this event.
    Lagging(u64),
    /// Ends.
    Cut,
}

impl Subscriber {
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
        let events = queue.events + piece.count as usize;
        let bytes = queue.bytes + piece.text.len();
        let is_full = events > limits.events_max || bytes > limits.bytes_max;
        let pushed = if is_full && queue.events > 0 {
            match limits.policy {
                SlowPolicy::Resume => queue.lag_from = Some(piece.first),
                SlowPolicy::Disconnect => queue.is_cut = true,
            }
            Pushed::Dropped
        } else {
            queue.events = events;
            queue.bytes = bytes;
            queue.waiting.push_back(piece.clone());
            Pushed::Queued
        };
        let sleeper = queue.sleeper.take();
        drop(queue);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        pushed
    }

    /// Takes waiting pieces of about `len_max` bytes, or says what else is to be done.
    pub(super) fn poll_take(&self, cx: &Context<'_>, len_max: usize) -> Poll<Taken> {
        let mut queue = self.lock();
        if queue.is_cut {
            return Poll::Ready(Taken::Cut);
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

    /// Notes how far the subscriber has read on; `None` once it has all there is. To be called
    /// under the hub's lock, so that nothing is published meanwhile.
    pub(super) fn set_lag(&self, lag_from: Option<u64>) {
        self.lock().lag_from = lag_from;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
