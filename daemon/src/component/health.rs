//! How a component says how it fares: a state with a reason, and named counters.
//!
//! The component writes through the [`Health`] that its build context lends it; status pages and
//! metrics read [`Health::snapshot`]. It is known by the component's name, so it outlives reloads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// How a component fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not ready for the first time yet.
    #[default]
    Starting,
    /// Does what it is there for.
    Running,
    /// Does not, for this reason; a lowercase fragment without secrets.
    Degraded(String),
}

/// What a component tells about itself.
#[derive(Debug, Default)]
pub struct Health {
    state: watch::Sender<State>,
    /// Touched when a component is built and when somebody looks, hence a std mutex.
    counters: Mutex<BTreeMap<&'static str, Counter>>,
}

/// One number that a component counts and others read.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a component tells at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// How it fares.
    pub state: State,
    /// Its counters, by name.
    pub counters: Vec<(&'static str, u64)>,
}

impl Health {
    /// Says that the component is not ready for the first time yet.
    pub fn set_starting(&self) {
        self.set(State::Starting);
    }

    /// Says that the component does what it is there for.
    pub fn set_running(&self) {
        self.set(State::Running);
    }

    /// Says that it does not, and why.
    pub fn set_degraded(&self, reason: impl Into<String>) {
        self.set(State::Degraded(reason.into()));
    }

    /// The counter or gauge `name`, made at 0 if it is new.
    pub fn counter(&self, name: &'static str) -> Counter {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.entry(name).or_default().clone()
    }

    /// Resolves when the state changes; for whoever shows it.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |(name, counter): (&&'static str, &Counter)| (*name, counter.get());
        Snapshot {
            state: self.state.borrow().clone(),
            counters: counters.iter().map(read).collect(),
        }
    }

    fn set(&self, next: State) {
        self.state.send_if_modified(|state| {
            let is_new = *state != next;
            *state = next;
            is_new
        });
    }
}
