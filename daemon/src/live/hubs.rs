//! All hubs of the daemon, by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::backplane::Backplane;
use super::durable::Durable;
use super::hub::Hub;
use super::keeper::Keeper;
use super::settings::HubSettings;
use crate::store::Journal;
use crate::tasks::{Stop, Tasks};

/// All hubs of the daemon, by name.
#[derive(Debug, Default)]
pub struct Hubs {
    hubs: BTreeMap<String, Arc<Hub>>,
}

impl Hubs {
    /// Hubs with the names and settings of `weir.toml`; those that are durable have their journals
    /// below `data_dir`. No I/O happens before they are started.
    pub fn new(data_dir: &Path, settings: impl IntoIterator<Item = (String, HubSettings)>) -> Self {
        let hub = |(name, settings): (String, HubSettings)| {
            let keeper = if settings.is_shared {
                Keeper::Shared(Backplane::new())
            } else if settings.is_durable {
                Keeper::Disk(Durable::new(data_dir, &name, settings.history))
            } else {
                Keeper::Memory
            };
            (name, Arc::new(Hub::with(settings, keeper)))
        };
        Self { hubs: settings.into_iter().map(hub).collect() }
    }

    /// Opens the journals of those that have one, and looks after the keys of others. What works for them is a member of `tasks` and
    /// ends after `stop` is asked.
    pub fn start(&self, tasks: &Tasks, stop: &Stop) {
        for hub in self.hubs.values() {
            hub.start(tasks, stop);
            if let Some(access) = &hub.settings().access {
                access.verifier.start(tasks, stop);
            }
        }
    }

    /// Resolves once all are open, at most after `limit`; those that are not open then go on
    /// trying.
    pub async fn ready(&self, limit: Duration) {
        let all_open = async {
            for hub in self.hubs.values() {
                hub.opened().await;
            }
        };
        drop(timeout(limit, all_open).await);
    }

    /// The journals of those that have one, by the name that operators know them by.
    pub fn journals(&self) -> Vec<(String, Journal)> {
        let journal = |(name, hub): (&String, &Arc<Hub>)| {
            Some((format!("{}/{name}", super::FOLDER), hub.durable()?.journal().clone()))
        };
        self.hubs.iter().filter_map(journal).collect()
    }

    /// The hub `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.get(name).cloned()
    }

    /// The names of all hubs.
    pub fn names(&self) -> Vec<&str> {
        self.hubs.keys().map(String::as_str).collect()
    }

    /// All hubs with their names, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Hub>)> {
        self.hubs.iter().map(|(name, hub)| (name.as_str(), hub))
    }
}
