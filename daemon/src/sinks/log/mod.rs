//! The log sink: a durable log of events on the local disk, to be read again at any time.
//!
//! What waits becomes one record and settles once it is on the disk; many records share one sync.
//! The log belongs to the sink's name: it outlives reloads and restarts, and forgets its oldest
//! events beyond its bounds.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::ack::{Ack, Code, Outcome, Refusal};
use crate::component::{BuildContext, BuildError, Health, RunError, Sink};
use crate::edge::Inlet;
use crate::event::pack::pack;
use crate::store::{
    Appending, Journal, JournalSettings, JournalState, Record, StoreError, WhenFull,
};
use crate::tasks::Tasks;
use crate::units::{Size, Time};

/// The folder of all logs in the data directory.
pub const FOLDER: &str = "logs";

/// Records on their way to the disk; enough to fill a sync while the one before it lasts.
const UNDER_WAY_MAX: usize = 256;

/// How often the state of the disk is looked at when no event tells it.
const LOOK: Duration = Duration::from_secs(1);

/// The settings of a log sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of events that are kept; beyond it the oldest go. 1 GiB by default.
    pub max_bytes: Size,
    /// How long events are kept. Absent means as long as `max_bytes` lets them.
    pub max_age: Option<Time>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: Size(1 << 30), max_age: None }
    }
}

/// The log sink.
#[derive(Debug)]
pub struct Log {
    journal: Arc<Journal>,
    settings: JournalSettings,
    health: Arc<Health>,
    /// Where the journal's writer runs.
    tasks: Tasks,
}

impl Sink for Log {
    const TYPE: &'static str = "log";
    const IS_DURABLE: bool = true;
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        if config.max_bytes.0 == 0 || config.max_age.is_some_and(|age| age.0.is_zero()) {
            let message = "a log that keeps nothing needs no settings";
            return Err(BuildError::new("W0114", message)
                .help("`max_bytes` and `max_age` are larger than 0")
                .about(if config.max_bytes.0 == 0 { "max_bytes" } else { "max_age" }));
        }
        let key = format!("{FOLDER}/{}", cx.id);
        let settings = JournalSettings {
            path: cx.host.data_dir.join(format!("{key}.redb")),
            bytes_max: config.max_bytes.0 as u64,
            age_max: config.max_age.map(|age| age.0),
            when_full: WhenFull::DropOldest,
        };
        let journal = cx.host.lent.borrow(&key, || Journal::new(settings.clone()));
        Ok(Self { journal, settings, health: cx.health(), tasks: cx.host.tasks.clone() })
    }

    async fn run(self, mut input: Inlet) -> Result<(), RunError> {
        self.journal.adjust(self.settings.clone());
        self.journal.start(&self.tasks);
        // Events wait in the edge meanwhile.
        drop(self.journal.ready(LOOK).await);
        self.look();
        let mut under_way = FuturesOrdered::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_over = false;
        while !is_over || !under_way.is_empty() {
            tokio::select! {
                biased;
                Some((stored, acks)) = under_way.next() => self.settle(&stored, acks),
                taken = input.recv_merged(), if !is_over && under_way.len() < UNDER_WAY_MAX => {
                    match taken {
                        Some(delivery) => {
                            let events = u32::try_from(delivery.batch.len());
                            let events = events.expect("an edge bounds a batch");
                            let bytes = pack(&delivery.batch);
                            let appending = self.journal.append(Record { events, bytes });
                            under_way.push_back(stored(appending, delivery.acks));
                        }
                        None => is_over = true,
                    }
                }
                _ = look.tick() => self.look(),
            }
        }
        Ok(())
    }
}

type Stored = (Result<u64, StoreError>, Vec<Ack>);

async fn stored(appending: Appending, acks: Vec<Ack>) -> Stored {
    (appending.await, acks)
}

impl Log {
    fn settle(&self, stored: &Result<u64, StoreError>, acks: Vec<Ack>) {
        let Err(error) = stored else {
            return acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
        };
        if error.is_transient() {
            self.health.set_degraded(error.to_string());
        }
        let code = if error.is_transient() { Code::Unavailable } else { Code::TooLarge };
        let refusal = Refusal::new(code, format!("the log takes no events: {error}"));
        for ack in acks {
            ack.refuse(refusal.clone());
        }
    }

    /// Says how the disk fares.
    fn look(&self) {
        match self.journal.stats().state {
            JournalState::Ready => self.health.set_running(),
            JournalState::Failed(reason) => self.health.set_degraded(reason),
            JournalState::Opening | JournalState::Closed => {}
        }
    }
}
