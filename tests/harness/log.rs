//! The log of a running daemon: JSON lines on its stderr, kept as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

/// What a daemon has logged so far.
#[derive(Debug, Default)]
pub struct Log {
    // Held only to push or to look; the thread that reads the pipe holds the other end.
    lines: Mutex<Vec<String>>,
}

impl Log {
    /// Collects the lines of `stderr` until it closes.
    pub fn of(stderr: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let ours = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                ours.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        log
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The fields of the first entry with this message for which `matches` holds.
    pub fn entry(&self, message: &str, matches: impl Fn(&Value) -> bool) -> Option<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|entry| entry.get("fields").cloned().unwrap_or(entry))
            .find(|fields| fields["message"] == message && matches(fields))
    }

    /// The address that the listener `name` is bound to, once it is.
    pub fn address(&self, name: &str) -> Option<std::net::SocketAddr> {
        let fields = self.entry("listening", |fields| fields["listener"] == name)?;
        fields["address"].as_str()?.parse().ok()
    }
}
