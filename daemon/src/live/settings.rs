//! What `[hub.NAME]` in `weir.toml` says.

use super::access::Access;
use super::history::HistoryLimits;
use super::subscriber::QueueLimits;

/// How a hub behaves.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// How much of the past it keeps.
    pub history: HistoryLimits,
    /// Whether it keeps that on disk as well, so that cursors survive a restart.
    pub is_durable: bool,
    /// Whether several daemons share it through a stream at a broker.
    pub is_shared: bool,
    /// How much waits for one subscriber, and what happens beyond.
    pub queue: QueueLimits,
    /// Channels and patterns that one connection may subscribe to.
    pub channels_max: usize,
    /// Origins whose pages may connect, `*` for all, beside the hub's own.
    pub origins: Vec<String>,
    /// Who may subscribe to what; absent means everybody to everything.
    pub access: Option<Access>,
    /// Whether an app serves Pusher clients from it. Its private channels are theirs alone then.
    pub has_app: bool,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            history: HistoryLimits::default(),
            is_durable: false,
            is_shared: false,
            queue: QueueLimits::default(),
            channels_max: 64,
            origins: Vec::new(),
            access: None,
            has_app: false,
        }
    }
}
