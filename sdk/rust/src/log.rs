//! Lines for the daemon's log, marked with the pipeline and the step.
//!
//! The daemon limits how much a plugin may log per batch. A message is rendered only where its
//! level is on, so `log::debug(format_args!(…))` costs next to nothing otherwise.

use std::fmt::Display;

#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::log as host;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step of the work.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happens rarely and is as it should be.
    Info,
    /// Something went wrong and was put right.
    Warn,
    /// Something went wrong and a person should look.
    Error,
}

/// Logs at level `trace`.
pub fn trace(message: impl Display) {
    log(Level::Trace, message);
}

/// Logs at level `debug`.
pub fn debug(message: impl Display) {
    log(Level::Debug, message);
}

/// Logs at level `info`.
pub fn info(message: impl Display) {
    log(Level::Info, message);
}

/// Logs at level `warn`.
pub fn warn(message: impl Display) {
    log(Level::Warn, message);
}

/// Logs at level `error`.
pub fn error(message: impl Display) {
    log(Level::Error, message);
}

/// Whether a line of this level would be written.
#[cfg(target_arch = "wasm32")]
pub fn is_enabled(level: Level) -> bool {
    host::enabled(level.into())
}

/// Logs at `level`.
#[cfg(target_arch = "wasm32")]
pub fn log(level: Level, message: impl Display) {
    let level = level.into();
    if host::enabled(level) {
        host::log(level, &message.to_string());
    }
}

/// Whether a line of this level would be written; in native tests every line is.
#[cfg(not(target_arch = "wasm32"))]
pub fn is_enabled(_level: Level) -> bool {
    true
}

/// Logs at `level`; in native tests into what [`testing::logged`](crate::testing::logged) takes.
#[cfg(not(target_arch = "wasm32"))]
pub fn log(level: Level, message: impl Display) {
    crate::testing::record(level, message.to_string());
}

#[cfg(target_arch = "wasm32")]
impl From<Level> for host::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
