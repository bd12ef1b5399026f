//! The last event of each cache channel, for Pusher clients that come after it.
//!
//! Bounded in channels, bytes and age; what was put in first goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// Channels whose last event is kept.
const CHANNELS_MAX: usize = 10_000;

/// Bytes of all frames that are kept.
const BYTES_MAX: usize = 16 << 20;

/// How long a frame is kept, as Pusher does.
const AGE_MAX: Duration = Duration::from_secs(1_800);

/// Frames by channel.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: HashMap<Arc<str>, Kept>,
    /// Channels in the order that their frames came; may name frames that were replaced since.
    order: VecDeque<(Arc<str>, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    frame: Bytes,
    at: Instant,
}

impl Cache {
    /// Keeps `frame` in the place of what `channel` had.
    pub(super) fn put(&mut self, channel: Arc<str>, frame: Bytes, at: Instant) {
        self.bytes += frame.len();
        self.order.push_back((Arc::clone(&channel), at));
        if let Some(old) = self.kept.insert(channel, Kept { frame, at }) {
            self.bytes -= old.frame.len();
        }
        while self.kept.len() > CHANNELS_MAX || self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
        if self.order.len() > 2 * self.kept.len() + 64 {
            let kept = &self.kept;
            self.order.retain(|(channel, at)| kept.get(channel).is_some_and(|own| own.at == *at));
        }
    }

    /// The frame of `channel`, and how long it stays.
    pub(super) fn get(&mut self, channel: &str, now: Instant) -> Option<(Bytes, Duration)> {
        let kept = self.kept.get(channel)?;
        let age = now.duration_since(kept.at);
        if age < AGE_MAX {
            return Some((kept.frame.clone(), AGE_MAX - age));
        }
        self.remove(channel);
        None
    }

    fn forget_oldest(&mut self) {
        let Some((channel, at)) = self.order.pop_front() else { return };
        if self.kept.get(&channel).is_some_and(|kept| kept.at == at) {
            self.remove(&channel);
        }
    }

    fn remove(&mut self, channel: &str) {
        if let Some(kept) = self.kept.remove(channel) {
            self.bytes -= kept.frame.len();
        }
    }
}
