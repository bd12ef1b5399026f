//! Who may subscribe to what: the hub's rules, and what one connection has shown.
//!
//! A token's patterns bound what its bearer may name; channels that are anonymous anybody may. A
//! token is good until it expires, on a connection too, unless another takes its place in time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use tokio::time::Instant;

use super::hub::Hub;
use super::pattern::Pattern;
use super::presence::Member;
use crate::auth::jwt::{TokenError, Verifier};

/// How long a connection may take to show a token where the hub wants one.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// Tokens that are good for longer are looked at again after this time.
const GRANT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Channels, types and patterns of each that are looked at in a token.
const CHANNELS_MAX: usize = 256;

/// Longest name of a user that is shown to others.
const USER_LEN_MAX: usize = 128;

/// Most bytes that a token may say about its user to others.
const INFO_LEN_MAX: usize = 1 << 10;

/// Who may subscribe to a hub.
#[derive(Debug, Clone)]
pub struct Access {
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// What anybody may subscribe to.
    pub anonymous: Vec<Pattern>,
}

/// Why somebody is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No token was shown.
    Missing,
    /// The token is not taken.
    Token(TokenError),
    /// What was shown does not cover this.
    Channel(Pattern),
}

/// Why pages and subscribers were turned away, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Without a token.
    Missing,
    /// With a token that is none, or not signed as it must be.
    Invalid,
    /// While the keys to check tokens with are not known.
    NoKeys,
    /// With a token that is over.
    Expired,
    /// From channels that the token does not name.
    Forbidden,
    /// A page of a foreign origin.
    Origin,
    /// Who subscribes too often.
    Rate,
}

/// How often somebody was turned away.
#[derive(Debug, Default)]
pub(super) struct Refusals([AtomicU64; Reason::ALL.len()]);

/// What one connection or request may do.
#[derive(Debug)]
pub(crate) struct Admission {
    hub: Arc<Hub>,
    grant: Option<Grant>,
    hello_by: Instant,
}

/// Whoever may publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publisher<'a> {
    /// Whom the token is about.
    pub(crate) user: Option<&'a str>,
    types: &'a [Pattern],
}

impl Publisher<'_> {
    /// Whether it may publish events of this type.
    pub(crate) fn covers(&self, event_type: &str) -> bool {
        self.types.iter().any(|own| own.matches(event_type))
    }
}

#[derive(Debug)]
struct Grant {
    channels: Vec<Pattern>,
    /// The types of events that may be published.
    types: Vec<Pattern>,
    until: Instant,
    /// Whom the token is about.
    member: Option<Member>,
}

impl Denied {
    /// The code on the wire.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Token(TokenError::Expired) => "token_expired",
            Self::Token(TokenError::NoKeys) => "unavailable",
            Self::Missing | Self::Token(_) => "unauthorized",
            Self::Channel(_) => "forbidden",
        }
    }

    /// What whoever is turned away may do.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing => {
                Some("show a token, in `hello`, as `authorization: Bearer` or `?token=`")
            }
            Self::Token(TokenError::NoKeys) => Some("try again"),
            Self::Token(_) => Some("fetch another token"),
            Self::Channel(_) => Some("the token's claim `channels` names what it is good for"),
        }
    }

    /// Whether the same may be taken a little later.
    pub(crate) fn is_passing(&self) -> bool {
        *self == Self::Token(TokenError::NoKeys)
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::Missing,
            Self::Token(TokenError::Expired) => Reason::Expired,
            Self::Token(TokenError::NoKeys) => Reason::NoKeys,
            Self::Token(_) => Reason::Invalid,
            Self::Channel(_) => Reason::Forbidden,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("this takes a token"),
            Self::Token(error) => error.fmt(f),
            Self::Channel(pattern) => {
                write!(f, "the token is not good for `{}`", pattern.as_str())
            }
        }
    }
}

impl Reason {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Invalid,
        Self::NoKeys,
        Self::Expired,
        Self::Forbidden,
        Self::Origin,
        Self::Rate,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "no_token",
            Self::Invalid => "bad_token",
            Self::NoKeys => "no_keys",
            Self::Expired => "expired_token",
            Self::Forbidden => "channel",
            Self::Origin => "origin",
            Self::Rate => "rate",
        }
    }
}

impl Refusals {
    pub(super) fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

impl Admission {
    /// A connection to `hub` that has shown nothing.
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, grant: None, hello_by: Instant::now() + HELLO_WITHIN }
    }

    /// Takes what `token` grants in the place of what was granted before.
    ///
    /// # Errors
    /// If the token is not good.
    pub(crate) fn show(&mut self, token: &str) -> Result<(), Denied> {
        let Some(access) = self.access() else { return Ok(()) };
        let claims =
            access.verifier.verify(token).map_err(|error| self.denied(Denied::Token(error)))?;
        let left = claims.until.duration_since(SystemTime::now()).unwrap_or_default();
        // What names no channel and no type grants none.
        let patterns = |names: &[String]| -> Vec<Pattern> {
            names.iter().take(CHANNELS_MAX).filter_map(|name| Pattern::new(name).ok()).collect()
        };
        let (channels, types) = (patterns(&claims.channels), patterns(&claims.publish));
        let user = claims.subject.filter(|user| !user.is_empty() && user.len() <= USER_LEN_MAX);
        let info = claims.info.filter(|info| info.len() <= INFO_LEN_MAX).map(Into::into);
        let member = user.map(|user| Member { user: user.into(), info });
        let until = Instant::now() + left.min(GRANT_MAX);
        self.grant = Some(Grant { channels, types, until, member });
        Ok(())
    }

    /// Whether the connection may subscribe to all of `patterns` now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, patterns: &[Pattern]) -> Result<(), Denied> {
        let Some(pattern) = patterns.iter().find(|pattern| !self.covers(pattern)) else {
            return Ok(());
        };
        Err(self.denied(match &self.grant {
            None => Denied::Missing,
            Some(grant) if grant.until <= Instant::now() => Denied::Token(TokenError::Expired),
            Some(_) => Denied::Channel(pattern.clone()),
        }))
    }

    /// Who publishes, as far as the other end has shown that.
    ///
    /// # Errors
    /// If nothing that it has shown is good.
    pub(crate) fn publisher(&self) -> Result<Publisher<'_>, Denied> {
        match &self.grant {
            None => Err(self.denied(Denied::Missing)),
            Some(grant) if grant.until <= Instant::now() => {
                Err(self.denied(Denied::Token(TokenError::Expired)))
            }
            Some(Grant { types, member, .. }) => {
                Ok(Publisher { user: member.as_ref().map(|member| &*member.user), types })
            }
        }
    }

    /// When the connection ends unless another token is shown.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let access = self.access()?;
        match &self.grant {
            Some(grant) => Some(grant.until),
            None => access.anonymous.is_empty().then_some(self.hello_by),
        }
    }

    /// Why it ends then.
    pub(super) fn lapse(&self) -> Denied {
        self.denied(match &self.grant {
            Some(_) => Denied::Token(TokenError::Expired),
            None => Denied::Missing,
        })
    }

    /// Who the other end is, as far as it has shown that.
    pub(super) fn member(&self) -> Option<&Member> {
        self.grant.as_ref()?.member.as_ref()
    }

    /// Whether what was shown covers `pattern`.
    pub(super) fn covers(&self, pattern: &Pattern) -> bool {
        let Some(access) = self.access() else { return true };
        let now = Instant::now();
        let granted = self.grant.iter().filter(|grant| grant.until > now);
        let granted = granted.flat_map(|grant| &grant.channels);
        access.anonymous.iter().chain(granted).any(|own| own.covers(pattern))
    }

    fn access(&self) -> Option<&Access> {
        self.hub.settings().access.as_ref()
    }

    fn denied(&self, denied: Denied) -> Denied {
        self.hub.refusals().count(denied.reason());
        denied
    }
}

/// The token that a request carries.
pub(crate) fn bearer<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = header.and_then(|value| value.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") { Some(token.trim()) } else { query }
}
