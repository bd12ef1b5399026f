//! What `[app.NAME]` in `weir.toml` says.

use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;

use crate::auth::signature::Credentials;

/// How an app behaves.
#[derive(Debug, Clone)]
pub struct AppSettings {
    /// Names it in the paths of the HTTP API; digits.
    pub id: String,
    /// What its servers and clients know it by.
    pub credentials: Credentials,
    /// The hub whose channels are its own.
    pub hub: String,
    /// Whether it serves anybody.
    pub enabled: bool,
    /// Whether clients may publish to each other.
    pub client_events: bool,
    /// Whether clients are told how many subscribe to their channels.
    pub subscription_counts: bool,
    /// Origins whose pages may connect; empty for all.
    pub origins: Vec<String>,
    /// How long a connection may be silent before it is asked whether it is there.
    pub activity_timeout: Duration,
    /// What a proxy takes off the paths of the HTTP API, which requests are signed with.
    pub path_prefix: String,
    /// How much of everything.
    pub limits: AppLimits,
    /// Who is told what happens.
    pub webhooks: Vec<WebhookSettings>,
}

/// How much an app may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppLimits {
    /// Connections at one time.
    pub connections_max: usize,
    /// Channels of one connection.
    pub channels_max: usize,
    /// Users on one presence channel.
    pub members_max: usize,
    /// Bytes of what one user tells of itself.
    pub member_len_max: usize,
    /// Bytes of one event's data.
    pub event_len_max: usize,
    /// Events of clients a second, for each connection.
    pub client_events_rate: usize,
}

impl Default for AppLimits {
    fn default() -> Self {
        Self {
            connections_max: usize::MAX,
            channels_max: 1_000,
            members_max: 100,
            member_len_max: 1 << 10,
            event_len_max: 10 << 10,
            client_events_rate: 10,
        }
    }
}

/// Who is told what happens on an app's channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where it is posted to.
    pub url: Uri,
    /// What is told.
    pub events: Vec<NoticeKind>,
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Somebody is on a channel.
    ChannelOccupied,
    /// Nobody is on it any more.
    ChannelVacated,
    /// A user came to a presence channel.
    MemberAdded,
    /// A user left it.
    MemberRemoved,
    /// A client published.
    ClientEvent,
    /// Somebody came to a cache channel that has nothing.
    CacheMiss,
    /// The number of a channel's connections changed.
    SubscriptionCount,
}

impl NoticeKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::CacheMiss => "cache_miss",
            Self::SubscriptionCount => "subscription_count",
        }
    }
}
