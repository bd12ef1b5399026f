//! Tells when files changed.

/// Watches.
#[derive(Debug)]
pub struct Watcher {}
