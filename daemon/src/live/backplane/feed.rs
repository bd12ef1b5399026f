//! A hub that gets its events from elsewhere: with their numbers, and with the news that some are
//! lost or that another life has begun.

use tokio::time::Instant;

use crate::live::cursor::Epoch;
use crate::live::hub::Hub;
use crate::live::message::Post;

impl Hub {
    /// Hands out `posts` with the numbers from `first` on. No event has a number between the last
    /// one and these.
    pub(super) fn feed(&self, first: u64, posts: &[Post<'_>], at: Instant) {
        self.pass_to(first);
        self.publish_from(None, posts, at);
    }

    /// Passes over numbers before `next` that no event has.
    pub(super) fn pass_to(&self, next: u64) {
        self.lock().history.pass_to(next);
    }

    /// Announces that events before number `next` may be lost.
    pub(super) fn lose(&self, next: u64) {
        let mut state = self.lock();
        let from = state.history.next();
        if next > from {
            state.history.skip_to(next);
            state.lost_before = next;
            state.index.for_each(&mut |subscriber| subscriber.lag(from));
        }
    }

    /// Begins the life `epoch`, in which the next event is number `next`. Whoever subscribes is cut
    /// off, comes back and is told.
    pub(super) fn renew(&self, epoch: Epoch, next: u64) {
        let mut state = self.lock();
        self.begin_in(&mut state, epoch, next);
        state.lost_before = 0;
        state.index.for_each(&mut |subscriber| subscriber.cut());
    }
}
