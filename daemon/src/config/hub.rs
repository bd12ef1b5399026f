//! `[hub.NAME]` of `weir.toml`: how a live hub behaves.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use serde::Deserialize;
use toml::Spanned;

use crate::auth::jwt::{SECRET_LEN_MIN, Terms, Verifier};
use crate::backplane::{self, Backplane};
use crate::component::BuildError;
use crate::live::{Access, HistoryLimits, HubSettings, Pattern, QueueLimits, SlowPolicy};
use crate::units::{Size, Time};

/// The most events that a hub may keep in memory.
const HISTORY_EVENTS_MAX: usize = 1_000_000;

/// The most bytes that they may take.
const HISTORY_BYTES_MAX: Size = Size(1 << 30);

/// The keys of one hub.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HubKeys {
    history: HistoryKeys,
    origins: Vec<String>,
    /// Channels and patterns that one connection may subscribe to.
    channels: Option<usize>,
    /// What happens to a subscriber that does not take its events fast enough.
    slow: SlowKey,
    access: Option<AccessKeys>,
    /// The broker through which several daemons share the hub.
    backplane: Option<Spanned<backplane::Keys>>,
}

/// What is done about slow subscribers.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SlowKey {
    /// They read on from the history.
    #[default]
    Resume,
    /// They get the newest events; what is dropped is announced.
    Latest,
    /// They are cut off.
    Disconnect,
}

/// Who may subscribe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessKeys {
    jwt: Spanned<JwtKeys>,
    /// Channels and patterns that anybody may subscribe to.
    #[serde(default)]
    anonymous: Vec<Spanned<String>>,
}

/// How tokens are checked: by a secret or by a set of keys, never both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtKeys {
    /// What HS256 tokens are signed with.
    secret: Option<String>,
    /// The file or the address of a JWK set, read again when it changes.
    jwks: Option<Spanned<String>>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKeys").field("jwks", &self.jwks).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HistoryKeys {
    events: Option<Spanned<usize>>,
    bytes: Option<Spanned<Size>>,
    age: Option<Time>,
    /// Whether the history is kept on disk as well and survives a restart.
    durable: Option<Spanned<bool>>,
}

impl HubKeys {
    /// The settings of the hub `name` that the keys say; what is faulty goes to `faults`.
    /// Paths are relative to `dir`.
    pub(super) fn settings(
        self,
        name: &str,
        dir: &Path,
        faults: &mut Vec<BuildError>,
    ) -> (HubSettings, Option<Backplane>) {
        let defaults = HubSettings::default();
        let durable = self.history.durable.as_ref().filter(|durable| *durable.get_ref());
        let is_durable = durable.is_some();
        let span = durable.map(Spanned::span);
        let history = self.history.limits(defaults.history, faults);
        let keeps_nothing =
            history.events_max == 0 || history.bytes_max == 0 || history.age_max.is_zero();
        if let Some(span) = span.filter(|_| keeps_nothing) {
            let message = "a history that keeps nothing cannot be durable";
            let help = "`events`, `bytes` and `age` are larger than 0";
            faults.push(BuildError::new("W0114", message).help(help).at(span));
        }
        let channels_max = self.channels.unwrap_or(defaults.channels_max);
        let access = self.access.and_then(|access| access.take(dir, faults));
        let origins = self.origins;
        let backplane = self.backplane.and_then(|keys| {
            let span = keys.span();
            let taken = keys
                .into_inner()
                .take(name, history)
                .and_then(|backplane| if is_durable { Err(both_kept()) } else { Ok(backplane) });
            let at = |error: BuildError| if error.span.is_some() { error } else { error.at(span) };
            taken.map_err(|error| faults.push(at(error))).ok()
        });
        let is_shared = backplane.is_some();
        let policy = match self.slow {
            SlowKey::Resume => SlowPolicy::Resume,
            SlowKey::Latest => SlowPolicy::Latest,
            SlowKey::Disconnect => SlowPolicy::Disconnect,
        };
        let settings = HubSettings {
            history,
            queue: QueueLimits { policy, ..defaults.queue },
            is_durable,
            is_shared,
            channels_max,
            origins,
            access,
            ..defaults
        };
        (settings, backplane)
    }
}

impl AccessKeys {
    fn take(self, dir: &Path, faults: &mut Vec<BuildError>) -> Option<Access> {
        let span = self.jwt.span();
        let verifier = self.jwt.into_inner().verifier(dir).map_err(|error| match error.span {
            Some(_) => error,
            None => error.at(span),
        });
        let mut anonymous = Vec::new();
        for name in self.anonymous {
            match Pattern::new(name.get_ref()) {
                Ok(pattern) => anonymous.push(pattern),
                Err(error) => {
                    faults.push(BuildError::new("W0202", error.to_string()).at(name.span()));
                }
            }
        }
        match verifier {
            Ok(verifier) => Some(Access { verifier: Arc::new(verifier), anonymous }),
            Err(error) => {
                faults.push(error);
                None
            }
        }
    }
}

impl JwtKeys {
    fn verifier(self, dir: &Path) -> Result<Verifier, BuildError> {
        let terms = Terms { issuer: self.issuer, audience: self.audience };
        match (self.secret, self.jwks) {
            (Some(secret), None) if secret.len() >= SECRET_LEN_MIN => {
                Ok(Verifier::of_secret(secret.as_bytes(), terms))
            }
            (Some(_), None) => {
                let message = format!("a secret has at least {SECRET_LEN_MIN} bytes");
                let help = "make one with `openssl rand -hex 32`";
                Err(BuildError::new("W0114", message).help(help))
            }
            (None, Some(jwks)) => {
                key_set(jwks.get_ref(), dir, terms).map_err(|error| error.at(jwks.span()))
            }
            (None, None) | (Some(_), Some(_)) => {
                let message = "tokens are checked by either `secret` or `jwks`";
                let help = "`secret = \"${file:secrets/hub}\"`, or `jwks = \"keys.json\"`";
                Err(BuildError::new("W0203", message).help(help))
            }
        }
    }
}

/// A hub has its events on one disk or in a stream that daemons share.
fn both_kept() -> BuildError {
    let message = "a hub with a `backplane` has its history there and not on this machine's disk";
    BuildError::new("W0202", message).help("drop `durable` or `backplane`")
}

/// What checks tokens with the JWK set at `place`: an address, or a file relative to `dir`.
fn key_set(place: &str, dir: &Path, terms: Terms) -> Result<Verifier, BuildError> {
    if !place.contains("://") {
        let verifier = Verifier::of_file(&dir.join(place), terms);
        return verifier.map_err(|error| BuildError::new("W0506", format!("no keys: {error}")));
    }
    let url = place.parse::<Uri>().ok().filter(|url| url.host().is_some());
    let is_safe = |url: &Uri| {
        let is_here = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && is_here)
    };
    match url.filter(is_safe) {
        Some(url) => Ok(Verifier::of_url(url, terms)),
        None => {
            let message = "keys are fetched from an `https://` address";
            let help = "`http://` does only on this machine: who is between could put in own keys";
            Err(BuildError::new("W0202", message).help(help))
        }
    }
}

impl HistoryKeys {
    fn limits(self, defaults: HistoryLimits, faults: &mut Vec<BuildError>) -> HistoryLimits {
        if let Some(events) = self.events.as_ref().filter(|&n| *n.get_ref() > HISTORY_EVENTS_MAX) {
            let message = format!("a hub keeps at most {HISTORY_EVENTS_MAX} events");
            faults.push(BuildError::new("W0114", message).at(events.span()));
        }
        if let Some(bytes) =
            self.bytes.as_ref().filter(|size| size.get_ref().0 > HISTORY_BYTES_MAX.0)
        {
            let message = format!("a hub keeps at most {HISTORY_BYTES_MAX} of events");
            faults.push(BuildError::new("W0114", message).at(bytes.span()));
        }
        HistoryLimits {
            events_max: self.events.map_or(defaults.events_max, Spanned::into_inner),
            bytes_max: self.bytes.map_or(defaults.bytes_max, |size| size.into_inner().0),
            age_max: self.age.map_or(defaults.age_max, |time| time.0),
        }
    }
}
