//! What a plugin may use: the keys of `limits` and the `grants` of a step.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::component::BuildError;
use crate::units::{Size, Time};
use crate::wasm::{Limits, wrong_grant};

/// The keys of `limits`.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitKeys {
    /// How long a plugin may work on a batch.
    time: Option<Spanned<Time>>,
    /// What its instance may hold.
    memory: Option<Spanned<Size>>,
    /// What it may keep in `kv`.
    state: Option<Spanned<Size>>,
    /// How long it may wait for servers elsewhere, for each batch.
    http: Option<Spanned<Time>>,
    /// What it may send them and they may answer, in one body.
    http_body: Option<Spanned<Size>>,
}

/// What state a plugin can have: all of it is held in memory too.
const STATE: RangeInclusive<usize> = 1 << 10..=256 << 20;

/// What memory a plugin can have: from one page to what the sandbox reserves for each.
const MEMORY: RangeInclusive<usize> = 64 << 10..=1 << 30;

/// How large a body can be: the plugin holds it too, beside its other memory.
const BODY: RangeInclusive<usize> = 1 << 10..=16 << 20;

/// How long a pipeline can be kept waiting.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The grants of a step, of which none may be unknown or malformed.
pub(super) fn grants(grants: Vec<Spanned<String>>, faults: &mut Vec<BuildError>) -> Vec<String> {
    for grant in &grants {
        if let Some(error) = wrong_grant(grant.get_ref()) {
            let fault = BuildError::new("W0606", error.to_string());
            let help = error.help().unwrap_or_default();
            faults.push(fault.help(help).at(grant.span()));
        }
    }
    grants.into_iter().map(Spanned::into_inner).collect()
}

/// The limits that `keys` say, the usual ones where they say nothing.
pub(super) fn limits(keys: &LimitKeys, faults: &mut Vec<BuildError>) -> Limits {
    let mut limits = Limits::default();
    if let Some(time) = &keys.time {
        limits.time = time.get_ref().0;
        if limits.time.is_zero() {
            let fault = BuildError::new("W0114", "a plugin needs more time than none");
            faults.push(fault.at(time.span()));
        }
    }
    if let Some(http) = &keys.http {
        limits.http = http.get_ref().0;
        if limits.http.is_zero() || limits.http > WAIT_MAX {
            let message = "a plugin waits for servers for more than 0 s and at most 30 s";
            faults.push(BuildError::new("W0114", message).at(http.span()));
        }
    }
    let mut size = |what: &str, key: &Option<Spanned<Size>>, fit: RangeInclusive<usize>| {
        let size = key.as_ref()?;
        let bytes = size.get_ref().0;
        if !fit.contains(&bytes) {
            let (min, max) = (Size(*fit.start()), Size(*fit.end()));
            let message = format!("{what} is between {min} and {max}");
            faults.push(BuildError::new("W0114", message).at(size.span()));
        }
        Some(bytes)
    };
    let Limits { memory, state, http_body, .. } = limits;
    limits.memory = size("a plugin's memory", &keys.memory, MEMORY).unwrap_or(memory);
    limits.state = size("a plugin's state", &keys.state, STATE).unwrap_or(state);
    let body = size("the body of a request or an answer", &keys.http_body, BODY);
    limits.http_body = body.unwrap_or(http_body);
    limits
}
