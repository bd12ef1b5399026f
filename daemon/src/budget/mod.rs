//! The memory that events may take, and what happens as it fills.
//!
//! Every byte is charged while it is held: of bodies that are being read by a [`Lease`], of events
//! in flight by their pipeline's account. As the budget fills, publishers are told to come back
//! later, stage by stage, long before the system would end the daemon.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// How much of the memory that the daemon may take is for events, in percent. The rest is for
/// plugins, histories, sockets and what the allocator keeps.
const SHARE: usize = 50;

/// How far below its threshold use falls before a stage is over, in percent of the budget.
const HYSTERESIS: usize = 5;

/// How full the budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// There is room.
    Normal = 0,
    /// From 80 %: connections that fall idle, or are refused something, are closed soon.
    Tight = 1,
    /// From 90 %: new events are refused.
    Refusing = 2,
    /// From 95 %: new connections are refused.
    Closed = 3,
}

impl Stage {
    /// The stages above normal, the highest first, with the percentage at which each begins.
    const THRESHOLDS: [(Self, usize); 3] =
        [(Self::Closed, 95), (Self::Refusing, 90), (Self::Tight, 80)];

    /// The name in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Tight => "tight",
            Self::Refusing => "refusing",
            Self::Closed => "closed",
        }
    }

    fn of(used: usize, max: usize) -> Self {
        let reached = |percent: usize| used >= max / 100 * percent;
        let found = Self::THRESHOLDS.into_iter().find(|(_, percent)| reached(*percent));
        found.map_or(Self::Normal, |(stage, _)| stage)
    }

    fn from_u8(value: u8) -> Self {
        let found = Self::THRESHOLDS.into_iter().find(|(stage, _)| *stage as u8 == value);
        found.map_or(Self::Normal, |(stage, _)| stage)
    }
}

/// The memory that events may take.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
    /// The [`Stage`] in force, which lags behind use on the way down.
    stage: AtomicU8,
    refused: AtomicU64,
}

impl Default for Budget {
    /// A budget without a bound.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        let (used, stage) = (AtomicUsize::new(0), AtomicU8::new(Stage::Normal as u8));
        Self { max, used, stage, refused: AtomicU64::new(0) }
    }

    /// The budget of a daemon that may take `memory` bytes.
    pub fn within(memory: usize) -> Self {
        Self::new(memory / 100 * SHARE)
    }

    /// The bound, in bytes.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Requests, batches and connections that were refused because of it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How full it is.
    pub fn stage(&self) -> Stage {
        let now = Stage::from_u8(self.stage.load(Ordering::Relaxed));
        let used = self.used();
        let reached = Stage::of(used, self.max);
        let left = Stage::of(used.saturating_add(self.max / 100 * HYSTERESIS), self.max);
        let next = if reached > now { reached } else { left.min(now) };
        // Whoever looks corrects what another thread stored late.
        if next != now {
            self.stage.store(next as u8, Ordering::Relaxed);
        }
        next
    }

    /// Whether `stage` is reached, so that somebody is refused; counts that.
    pub fn refuses(&self, stage: Stage) -> bool {
        let is_refused = self.stage() >= stage;
        if is_refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_refused
    }

    /// Takes `bytes` if they fit; what is alone always does, or it could never be taken.
    pub fn take(&self, bytes: usize) -> bool {
        let held = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = held == 0 || held.saturating_add(bytes) <= self.max;
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        // Notes the stage on the way up, however short it is.
        self.stage();
        fits
    }

    /// Gives `bytes` back.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes taken from a budget for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Lease {
    /// A lease of nothing yet.
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Takes `bytes` more; answers whether they fit.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.budget.take(bytes);
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// Gives `bytes` back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.give_back(bytes);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
