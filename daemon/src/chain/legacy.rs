//! What a chain leaves to the one that takes its place: by step, what its ticks emitted and is
//! not settled yet.
//!
//! The chain that ends puts it here, the next one takes what is of its own steps. What nobody
//! takes is lost, and said to be.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::error;

use super::Chain;
use super::tick::Held;
use crate::component::ComponentId;

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
#[derive(Debug)]
struct Left {
    held: Vec<Held>,
}

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
    /// Takes over what the chain before this one has left.
    pub fn inherit(&mut self, legacy: &Legacy) {
        let mut left = mem::take(&mut legacy.lock().left);
        for ticker in &mut self.tickers {
            if let Some(left) = left.remove(&self.steps[ticker.step].id) {
                ticker.held = left.held;
            }
        }
        legacy.lock().left = left;
        legacy.take();
    }

    /// Leaves what the next chain needs.
    pub(super) fn bequeath(&mut self, legacy: &Legacy) {
        let mut left = HashMap::new();
        for ticker in &mut self.tickers {
            let mut held = mem::take(&mut ticker.held);
            held.retain_mut(Held::is_owed);
            if !held.is_empty() {
                left.insert(self.steps[ticker.step].id.clone(), Left { held });
            }
        }
        let mut shelf = legacy.lock();
        if shelf.is_closed { lose(left) } else { shelf.left = left }
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
