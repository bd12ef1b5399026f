//! What a chain leaves to the one that takes its place: by step, what its plugin knows, and what
//! its ticks emitted and is not settled yet.
//!
//! The chain that ends puts it here, the next one takes what is of its own steps. Events that
//! nobody takes are lost, and said to be.

use std::collections::HashMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{error, warn};

use super::tick::Held;
use super::{Chain, Step, panicked};
use crate::component::{ComponentId, TransformError};

/// The legacy of one chain.
#[derive(Debug, Default)]
pub struct Legacy {
    /// Whether another chain will take it.
    has_heir: AtomicBool,
    /// Touched when one chain ends and when the next begins, hence a std mutex.
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    left: HashMap<ComponentId, Left>,
    /// Whether nobody comes any more.
    is_closed: bool,
}

/// What one step leaves.
#[derive(Debug, Default)]
struct Left {
    held: Vec<Held>,
    /// What its plugin knows, with the name of that.
    state: Option<(String, Saved)>,
}

type Saved = Result<Vec<u8>, TransformError>;

impl Legacy {
    /// Says that another chain will take it.
    pub fn promise(&self) {
        self.has_heir.store(true, Ordering::Relaxed);
    }

    /// Ends it once everything has drained, unless another chain will take it.
    pub fn close(&self) {
        if !self.has_heir.load(Ordering::Relaxed) {
            self.take();
        }
    }

    /// Loses what nobody has taken.
    fn take(&self) {
        let mut shelf = self.lock();
        shelf.is_closed = true;
        lose(mem::take(&mut shelf.left));
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chain {
    /// Takes over what the chain before this one has left; for the thread that the chain runs on.
    pub fn inherit(&mut self, legacy: &Legacy) {
        let mut left = mem::take(&mut legacy.lock().left);
        for ticker in &mut self.tickers {
            if let Some(left) = left.get_mut(&self.steps[ticker.step].id) {
                ticker.held = mem::take(&mut left.held);
            }
        }
        for step in &mut self.steps {
            match left.get_mut(&step.id).and_then(|left| left.state.take()) {
                Some((plugin, state)) if plugin == step.plugin => step.take_over(state),
                _ => {}
            }
        }
        legacy.lock().left = left;
        legacy.take();
    }

    /// Leaves what the next chain needs.
    pub(super) fn bequeath(&mut self, legacy: &Legacy) {
        let mut left: HashMap<ComponentId, Left> = HashMap::new();
        for ticker in &mut self.tickers {
            let mut held = mem::take(&mut ticker.held);
            held.retain_mut(Held::is_owed);
            left.entry(self.steps[ticker.step].id.clone()).or_default().held = held;
        }
        if legacy.has_heir.load(Ordering::Relaxed) {
            for step in &mut self.steps {
                let saved = step.save().map(|saved| (step.plugin.clone(), saved));
                left.entry(step.id.clone()).or_default().state = saved;
            }
        }
        let mut shelf = legacy.lock();
        if shelf.is_closed { lose(left) } else { shelf.left = left }
    }
}

impl Step {
    fn save(&mut self) -> Option<Saved> {
        let saved = catch_unwind(AssertUnwindSafe(|| self.transform.save()));
        saved.unwrap_or_else(|_| Some(Err(panicked())))
    }

    /// Begins with what the plugin knew before, or without where that fails.
    fn take_over(&mut self, state: Saved) {
        let mut restore = |state| catch_unwind(AssertUnwindSafe(|| self.transform.restore(state)));
        let restored = state.and_then(|state| restore(state).unwrap_or_else(|_| Err(panicked())));
        if let Err(error) = restored {
            self.stats.run_failed(error.reason);
            let (step, reason) = (&self.id, error.reason);
            warn!(%step, reason, %error, "state not handed over; the step begins without");
        }
    }
}

/// Says what is lost.
fn lose(left: HashMap<ComponentId, Left>) {
    for (step, mut left) in left {
        left.held.retain_mut(Held::is_owed);
        let events: usize = left.held.iter().map(Held::len).sum();
        if events > 0 {
            error!(%step, events, "events that a tick emitted were not taken and are lost");
        }
    }
}
