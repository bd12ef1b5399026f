//! How log lines look: text for people, JSON for machines, always on stderr.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// What shows when nothing else is asked for.
const DEFAULT_FILTER: &str = "info,lapin=error,wasmtime=warn,cranelift=warn,hyper=warn";

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per record.
    #[default]
    Text,
    /// One JSON object per record.
    Json,
}

/// Starts logging; `filter` is a list of levels as in `info,weir::live=debug`.
///
/// Called once, first thing in the process; a second call changes nothing.
pub fn start(format: LogFormat, filter: Option<&str>, color: bool) {
    let filter = EnvFilter::new(filter.unwrap_or(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Text => {
            builder.with_ansi(color && stderr().is_terminal()).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    drop(started);
}
