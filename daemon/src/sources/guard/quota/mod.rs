//! How much each publisher may publish: the generic cell rate algorithm (ITU-T I.371) per publisher.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Publishers that are told apart at once. Beyond, new ones share what one may publish.
const BOOKS_MAX: usize = 100_000;

/// A publisher.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The user of a token.
    User(Box<str>),
    /// Whoever publishes from an address.
    Address(IpAddr),
}

impl Who {
    /// Whoever is in the network of `address`: with IPv6 one publisher has a whole /64.
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

/// The rates of all publishers of a source.
#[derive(Debug)]
pub(super) struct Quota {
    /// What an event costs.
    cost: Duration,
    /// How much may be owed.
    depth: Duration,
    /// When each would owe nothing. Locked for one look-up, hence a std mutex.
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    free_at: HashMap<Who, Instant>,
    swept_at: Instant,
}

impl Quota {
    pub(super) fn new(events: u32, per: Duration) -> Self {
        let books = Books { free_at: HashMap::new(), swept_at: Instant::now() };
        Self { cost: per / events, depth: per, books: Mutex::new(books) }
    }

    /// Charges for `events` if at least one of them is covered, so that a request of whatever size
    /// passes in its time.
    pub(super) fn take(&self, who: Who, events: usize, now: Instant) -> Result<(), Duration> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let who = books.place(who, now, self.depth);
        let free_at = books.free_at.entry(who).or_insert(now);
        let owed = free_at.saturating_duration_since(now);
        if owed + self.cost > self.depth {
            return Err(owed + self.cost - self.depth);
        }
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        *free_at = now + owed + self.cost.saturating_mul(events);
        Ok(())
    }
}

impl Books {
    /// Under what `who` is kept; forgets who owes nothing where there is no room.
    fn place(&mut self, who: Who, now: Instant, depth: Duration) -> Who {
        if self.free_at.len() < BOOKS_MAX || self.free_at.contains_key(&who) {
            return who;
        }
        if now.saturating_duration_since(self.swept_at) >= depth {
            self.swept_at = now;
            self.free_at.retain(|_, free_at| *free_at > now);
        }
        if self.free_at.len() < BOOKS_MAX {
            who
        } else {
            Who::Address(Ipv6Addr::UNSPECIFIED.into())
        }
    }
}

#[cfg(test)]
mod tests;
