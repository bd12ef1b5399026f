//! What an app counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a client or a server was refused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A signature that is wrong, or made for another connection or time.
    Signature,
    /// The name of a channel or an event, or what a user tells of itself.
    Grammar,
    /// More than a limit allows.
    Limit,
    /// Faster than allowed.
    Rate,
    /// Not for this connection, or not switched on.
    Forbidden,
    /// A page of a foreign origin.
    Origin,
    /// Not a message of the protocol.
    Message,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Signature,
        Self::Grammar,
        Self::Limit,
        Self::Rate,
        Self::Forbidden,
        Self::Origin,
        Self::Message,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Grammar => "grammar",
            Self::Limit => "limit",
            Self::Rate => "rate",
            Self::Forbidden => "forbidden",
            Self::Origin => "origin",
            Self::Message => "message",
        }
    }
}

/// The counters of one app.
#[derive(Debug, Default)]
pub(super) struct Counts {
    refused: [AtomicU64; Refused::ALL.len()],
    client_events: AtomicU64,
}

/// An app at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStats {
    /// Connections now.
    pub connections: usize,
    /// Channels that somebody is on.
    pub channels: usize,
    /// Events that clients published, so far.
    pub client_events: u64,
    /// Notices that webhooks took and that were dropped, so far.
    pub notices: (u64, u64),
    /// What was refused so far, and why.
    pub refused: [(Refused, u64); Refused::ALL.len()],
}

impl Counts {
    pub(super) fn refuse(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn client_event(&self) {
        self.client_events.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(
        &self,
        (connections, channels): (usize, usize),
        notices: (u64, u64),
    ) -> AppStats {
        let refused = |why| (why, self.refused[why as usize].load(Ordering::Relaxed));
        AppStats {
            connections,
            channels,
            notices,
            client_events: self.client_events.load(Ordering::Relaxed),
            refused: Refused::ALL.map(refused),
        }
    }
}
