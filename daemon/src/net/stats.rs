//! The counters of one listener: connections, requests, replies by status.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hyper::StatusCode;

/// The statuses that are counted one by one; the last counter takes all others.
pub const STATUSES: [u16; 24] = [
    101, 200, 202, 204, 207, 301, 304, 400, 401, 403, 404, 405, 406, 408, 409, 413, 414, 415, 422,
    429, 500, 502, 503, 504,
];

/// Why the listener closed a connection that its publisher had not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The bytes were not HTTP, or a head was too large.
    Malformed,
    /// A head was not complete in time.
    SlowHead,
    /// No request came for too long.
    Idle,
    /// The other end took no bytes of a reply for too long.
    SlowRead,
    /// The other end went on sending after it had been refused.
    Unread,
}

impl Cut {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::SlowHead, Self::Idle, Self::SlowRead, Self::Unread];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::SlowRead => "slow_read",
            Self::Unread => "unread",
        }
    }
}

/// What a listener has done so far.
#[derive(Debug, Default)]
pub struct ListenerStats {
    /// Connections open now, upgraded ones not among them.
    open: AtomicUsize,
    /// Connections accepted.
    accepted: AtomicU64,
    /// Connections turned away because there were too many.
    refused: AtomicU64,
    /// Times that the system had no descriptor or memory for a connection.
    exhausted: AtomicU64,
    requests: AtomicU64,
    replies: [AtomicU64; STATUSES.len() + 1],
    cuts: [AtomicU64; Cut::ALL.len()],
}

impl ListenerStats {
    /// Connections open now; one that became a WebSocket belongs to its session.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections turned away because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Times that the system had no descriptor for one more connection.
    pub fn exhausted(&self) -> u64 {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Requests whose head was read.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Replies by status, those that happened; 0 stands for statuses not counted one by one.
    pub fn replies(&self) -> impl Iterator<Item = (u16, u64)> {
        let statuses = STATUSES.into_iter().chain([0]);
        let counts = self.replies.iter().map(|count| count.load(Ordering::Relaxed));
        statuses.zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Connections closed for this reason.
    pub fn cuts(&self, cut: Cut) -> u64 {
        self.cuts[cut as usize].load(Ordering::Relaxed)
    }

    pub(super) fn opened(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn turned_away(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ran_out(&self) {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let known = STATUSES.binary_search(&status.as_u16()).unwrap_or(STATUSES.len());
        self.replies[known].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn cut(&self, cut: Cut) {
        self.cuts[cut as usize].fetch_add(1, Ordering::Relaxed);
    }
}
