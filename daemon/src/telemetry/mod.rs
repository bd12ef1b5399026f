//! What the daemon tells about itself: logs, metrics, and the state that both are read from.

pub mod log;
pub mod metrics;
mod plugins;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::component::{Host, State};
use crate::net::ListenerStats;
use crate::reload::History;
use crate::runtime::View;
use crate::spool::Spool;
use crate::store::Journal;

/// Everything that can be looked at while the daemon runs. Looking never waits for it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The generation in force.
    pub view: Arc<ArcSwap<View>>,
    /// The last reloads.
    pub history: History,
    /// The hubs.
    pub host: Arc<Host>,
    /// The listeners, by name.
    pub listeners: Vec<ListenerView>,
    /// When the daemon started.
    pub started: Instant,
    /// Whether it is going away.
    pub is_draining: Arc<AtomicBool>,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its counters.
    pub stats: Arc<ListenerStats>,
}

impl Observed {
    /// The journals whose files are open, by name.
    pub fn journals(&self) -> Vec<(String, Journal)> {
        let logs = self.host.lent.all::<Journal>().into_iter();
        let logs = logs.map(|(name, journal)| (name, Journal::clone(&journal)));
        let spools = self.host.lent.all::<Spool>().into_iter();
        let spools = spools.map(|(_, spool)| spool.journal());
        let mut all: Vec<_> = logs.chain(spools).chain(self.host.hubs.journals()).collect();
        all.retain(|(_, journal)| journal.stats().next > 0);
        all
    }

    /// Why the daemon should get no traffic; empty when it is ready.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.is_draining.load(Ordering::Relaxed) {
            reasons.push("the daemon is draining".to_owned());
        }
        match self.history.last() {
            None => reasons.push("the first configuration is not in force yet".to_owned()),
            Some(record) if record.is_applied && !record.faults.is_empty() => {
                let faults = record.faults.len();
                reasons.push(format!("pipelines were left out at start: {faults} faults"));
            }
            Some(_) => {}
        }
        reasons.extend(self.host.hubs.iter().filter_map(|(name, hub)| {
            let trouble = hub.closed_because()?;
            Some(format!("hub `{name}` takes no events: {trouble}"))
        }));
        let view = self.view.load();
        let components = view.pipelines.iter().flat_map(|pipeline| &pipeline.components);
        reasons.extend(components.filter_map(|component| {
            let trouble = component.spool.as_ref()?.upgrade()?.trouble()?;
            let is_away = matches!(component.health.snapshot().state, State::Degraded(_));
            let words = || {
                format!("sink `{}` is away and its spool takes nothing: {trouble}", component.id)
            };
            is_away.then(words)
        }));
        reasons
    }
}
