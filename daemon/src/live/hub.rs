//! A hub: one sequence over many channels.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One sequence of events over many channels, with its subscribers.
#[derive(Debug, Default)]
pub struct Hub {}

/// All hubs of the daemon, by name.
#[derive(Debug, Default)]
pub struct Hubs {
    hubs: BTreeMap<String, Arc<Hub>>,
}

impl Hubs {
    /// The hub `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.get(name).cloned()
    }

    /// The names of all hubs.
    pub fn names(&self) -> Vec<&str> {
        self.hubs.keys().map(String::as_str).collect()
    }
}
