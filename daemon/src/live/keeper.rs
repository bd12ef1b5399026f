//! Where a hub's events are kept and numbered beside its memory: nowhere, on the disk, or in a
//! stream that several daemons share.

use std::sync::Arc;

use super::backplane::{Backplane, NUMBERS};
use super::durable::Durable;
use super::hub::Hub;
use super::parcel::Parcel;
use crate::tasks::{Stop, Tasks};

/// What keeps and numbers the events of a hub.
#[derive(Debug)]
pub(super) enum Keeper {
    /// The hub alone.
    Memory,
    /// A journal; its numbers are the hub's.
    Disk(Durable),
    /// A stream at a broker; a place in it is a place in the hub.
    Shared(Backplane),
}

impl Keeper {
    /// The first number that nobody who keeps these events can have given away, where `next` is
    /// the next one here.
    pub(super) fn reach(&self, next: u64) -> u64 {
        match self {
            Self::Memory | Self::Disk(_) => next,
            // A daemon that is cut off numbers what it hands out behind what it has of the stream.
            Self::Shared(_) => next.next_multiple_of(NUMBERS),
        }
    }
}

impl Hub {
    /// Hands the events of `parcel` to everybody who subscribes to their channels, then settles
    /// them; on a durable or shared hub once they are on the disk or in the stream.
    pub async fn deliver(&self, parcel: Parcel) {
        if parcel.is_empty() {
            return;
        }
        match self.keeper() {
            Keeper::Disk(durable) => durable.take(parcel).await,
            Keeper::Shared(backplane) => backplane.take(parcel).await,
            Keeper::Memory => {
                self.publish(&parcel.posts());
                parcel.settle();
            }
        }
    }

    /// Resolves once all that was delivered before this call is settled.
    pub async fn settled(&self) {
        match self.keeper() {
            Keeper::Memory => {}
            Keeper::Disk(durable) => durable.settled().await,
            Keeper::Shared(backplane) => backplane.settled().await,
        }
    }

    /// Whether its history is there. Nobody may subscribe before.
    pub fn is_open(&self) -> bool {
        match self.keeper() {
            Keeper::Memory => true,
            Keeper::Disk(durable) => durable.is_open(),
            Keeper::Shared(backplane) => backplane.is_open(),
        }
    }

    /// Resolves once its history is there.
    pub(super) async fn opened(&self) {
        match self.keeper() {
            Keeper::Memory => {}
            Keeper::Disk(durable) => durable.opened().await,
            Keeper::Shared(backplane) => backplane.opened().await,
        }
    }

    /// What is wrong with it, if anything.
    pub fn trouble(&self) -> Option<String> {
        match self.keeper() {
            Keeper::Memory => None,
            Keeper::Disk(durable) => durable.trouble(),
            Keeper::Shared(backplane) => backplane.trouble(),
        }
    }

    /// Why it takes no events, if it does not. A shared hub goes on without its broker.
    pub fn closed_because(&self) -> Option<String> {
        match self.keeper() {
            Keeper::Shared(backplane) if backplane.is_open() => None,
            Keeper::Memory | Keeper::Disk(_) | Keeper::Shared(_) => self.trouble(),
        }
    }

    /// Starts the keeper of a durable hub.
    pub(super) fn start(self: &Arc<Self>, tasks: &Tasks, stop: &Stop) {
        if let Some(durable) = self.durable() {
            durable.start(self, tasks, stop);
        }
    }

    /// What keeps the history on disk, if it is kept there.
    pub(super) fn durable(&self) -> Option<&Durable> {
        match self.keeper() {
            Keeper::Disk(durable) => Some(durable),
            Keeper::Memory | Keeper::Shared(_) => None,
        }
    }

    /// What shares the hub with other daemons, if they share it.
    pub(super) fn backplane(&self) -> Option<&Backplane> {
        match self.keeper() {
            Keeper::Shared(backplane) => Some(backplane),
            Keeper::Memory | Keeper::Disk(_) => None,
        }
    }
}
