//! What a sink counts, shown through its health.

use std::time::Duration;

use crate::component::{Counter, Health};

/// The counters of one sink.
#[derive(Debug)]
pub(super) struct Stats {
    /// Messages handed to the broker, repeats included.
    pub(super) published: Counter,
    pub(super) confirmed: Counter,
    /// Messages that no queue took.
    pub(super) returned: Counter,
    /// Messages that a queue refused for now.
    pub(super) nacked: Counter,
    /// Messages published again on a new channel or after a refusal.
    pub(super) resent: Counter,
    /// Messages given back without a verdict of the broker.
    pub(super) refused: Counter,
    pub(super) reconnects: Counter,
    /// Messages without a verdict now.
    pub(super) in_window: Counter,
    /// How often a connection was given up because it owed confirmations.
    pub(super) stalls: Counter,
    /// Confirmed messages by how long that took, cumulative.
    latency: [(Duration, Counter); 6],
}

impl Stats {
    /// The counters that `health` shows.
    pub(super) fn new(health: &Health) -> Self {
        let counter = |name| health.counter(name);
        let within = |millis, name| (Duration::from_millis(millis), counter(name));
        Self {
            published: counter("published"),
            confirmed: counter("confirmed"),
            returned: counter("returned"),
            nacked: counter("nacked"),
            resent: counter("resent"),
            refused: counter("refused"),
            reconnects: counter("reconnects"),
            in_window: counter("in_window"),
            stalls: counter("stalls"),
            latency: [
                within(1, "confirmed_within_1ms"),
                within(5, "confirmed_within_5ms"),
                within(25, "confirmed_within_25ms"),
                within(100, "confirmed_within_100ms"),
                within(500, "confirmed_within_500ms"),
                within(2500, "confirmed_within_2500ms"),
            ],
        }
    }

    /// Counts a confirmed message.
    pub(super) fn confirm(&self, took: Duration) {
        self.confirmed.add(1);
        for (limit, counter) in self.latency.iter().rev() {
            if took > *limit {
                break;
            }
            counter.add(1);
        }
    }
}
