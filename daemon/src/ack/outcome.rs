//! What can become of an event, and the words for it on the wire.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// What became of an event, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Outcome {
    /// A transform meant to drop it.
    Filtered = 1,
    /// The same event was taken in before.
    Duplicate = 2,
    /// Every sink has it.
    Delivered = 3,
    /// Safe on disk; a sink gets it later.
    Spooled = 4,
    /// Safe on disk among the events that failed, for a person to look at.
    DeadLettered = 5,
    /// A transform, a limit or the broker said no.
    Rejected = 6,
    /// A sink could not take it; the publisher may try again.
    Unavailable = 7,
    /// An ack was dropped unsettled: a defect of the daemon.
    Lost = 8,
}

impl Outcome {
    /// All outcomes, from best to worst.
    pub const ALL: [Self; 8] = [
        Self::Filtered,
        Self::Duplicate,
        Self::Delivered,
        Self::Spooled,
        Self::DeadLettered,
        Self::Rejected,
        Self::Unavailable,
        Self::Lost,
    ];

    /// The name in metrics and replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Duplicate => "duplicate",
            Self::Delivered => "delivered",
            Self::Spooled => "spooled",
            Self::DeadLettered => "dead-lettered",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
        }
    }

    pub(super) fn from_u8(value: u8) -> Self {
        Self::ALL.into_iter().find(|outcome| *outcome as u8 == value).unwrap_or(Self::Lost)
    }
}

/// Why an event was not delivered, as publishers see it on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The event is malformed.
    BadRequest,
    /// The event is larger than a limit.
    TooLarge,
    /// A content type or encoding that nobody here reads.
    Unsupported,
    /// The publisher shows no token that is good.
    Unauthorized,
    /// The publisher's token does not cover it.
    Forbidden,
    /// A transform or the target said no.
    Rejected,
    /// The broker has no queue for it.
    Unroutable,
    /// The publisher's own quota is used up.
    RateLimited,
    /// The daemon holds as much as it may.
    Overloaded,
    /// The daemon or the pipeline is going away.
    Draining,
    /// A sink cannot take events now.
    Unavailable,
    /// No verdict in time; the event may still be delivered.
    Timeout,
}

impl Code {
    /// The name in replies and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Rejected => "rejected",
            Self::Unroutable => "unroutable",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }

    /// The outcome that a refusal with this code amounts to.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::BadRequest
            | Self::TooLarge
            | Self::Unsupported
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Rejected
            | Self::Unroutable
            | Self::RateLimited => Outcome::Rejected,
            Self::Overloaded | Self::Draining | Self::Unavailable | Self::Timeout => {
                Outcome::Unavailable
            }
        }
    }
}

/// A refusal with words for the publisher. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub code: Code,
    /// What happened, a lowercase fragment.
    pub message: Arc<str>,
}

impl Refusal {
    /// A refusal of the kind `code` because of `message`.
    pub fn new(code: Code, message: impl Into<Arc<str>>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
