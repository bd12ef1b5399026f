//! What the daemon tells about itself: logs, metrics, and the state that both are read from.

pub mod log;
pub mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::component::Host;
use crate::net::ListenerStats;
use crate::reload::History;
use crate::runtime::View;

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
        reasons
    }
}
