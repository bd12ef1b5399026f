//! Who leaves and comes back within a moment was never away: neither is told.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Notice;

/// How long a leave is held back.
const MOMENT: Duration = Duration::from_secs(3);

/// Leaves that are held back; beyond that the oldest is told at once.
const HELD_MAX: usize = 1_000;

/// Leaves that may yet be undone, oldest first.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    held: VecDeque<(Instant, Notice)>,
}

impl Debounce {
    /// Takes `notice` and appends what is to be told now to `ready`.
    pub(super) fn take(&mut self, notice: Notice, now: Instant, ready: &mut Vec<Notice>) {
        if notice.is_leaving() {
            self.held.push_back((now + MOMENT, notice));
            if self.held.len() > HELD_MAX {
                ready.extend(self.held.pop_front().map(|(_, oldest)| oldest));
            }
            return;
        }
        let undone = notice.opposite();
        let place = self.held.iter().position(|(_, held)| Some(held) == undone.as_ref());
        match place {
            Some(place) => drop(self.held.remove(place)),
            None => ready.push(notice),
        }
    }

    /// When the next leave is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.front().map(|(at, _)| *at)
    }

    /// Appends the leaves whose time has come to `ready`.
    pub(super) fn release(&mut self, now: Instant, ready: &mut Vec<Notice>) {
        while let Some((_, notice)) = self.held.pop_front_if(|(at, _)| *at <= now) {
            ready.push(notice);
        }
    }
}
