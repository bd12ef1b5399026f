//! Small durable state with expiry, private to the step. A step grants it with `grants = ["kv"]`.
//!
//! It outlives the instance, a reload and the daemon; a crash may forget the last second. What a
//! run that fails has changed is undone, because parts of its batch are tried again. State is
//! there for events, not in [`configure`](crate::Plugin::configure). Keys have up to 1024 bytes,
//! values up to 262144, and all of them share the step's `limits = { state = "16MiB" }`.

use std::fmt;
use std::time::Duration;

use crate::action::Failure;
#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::kv as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fakes::kv as host;

/// Why a value could not be read or kept. As a [`Failure`] it is one that may pass by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

/// The value of `key`, if there is one that has not expired.
///
/// # Errors
/// If the state cannot be read.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    host::get(key).map_err(Error)
}

/// Sets the value of `key`, for some time or for ever.
///
/// # Errors
/// If it does not fit.
pub fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    host::set(key, value, ttl.map(millis)).map_err(Error)
}

/// Forgets `key`; not an error where there is none.
///
/// # Errors
/// If the state cannot be read.
pub fn delete(key: &str) -> Result<(), Error> {
    host::delete(key).map_err(Error)
}

/// Adds `by` to the number at `key` and returns the sum.
///
/// Where there is none it starts at 0, and expires `ttl` later whatever is added meanwhile: a
/// count per window of time is one call.
///
/// # Errors
/// If what is there is no number, or it does not fit.
pub fn increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    host::increment(key, by, ttl.map(millis)).map_err(Error)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::transient(error.0)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
