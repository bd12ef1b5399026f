//! One sink at work without a daemon around it: books, an edge, and the component itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use weir::ack::{Account, AckMode, Balance, Limits, Receipt, Refusal};
use weir::component::{
    BuildContext, BuildError, ComponentId, Health, Host, PipelineName, RunError, Settings, State,
    Table,
};
use weir::edge::{Capacity, Outlet, Sender, Target, edge};
use weir::event::{Batch, Draft};
use weir::sinks::SINKS;

use crate::wait::{eventually, within};

/// A running sink and the way into it.
#[derive(Debug)]
pub struct Rig {
    /// The sink's books.
    pub account: Arc<Account>,
    /// What the sink says about itself.
    pub health: Arc<Health>,
    outlet: Outlet,
    sender: Sender,
    running: JoinHandle<Result<(), RunError>>,
}

impl Rig {
    /// Builds the sink of the type `kind` from `settings` in TOML and runs it.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn start(host: &Arc<Host>, kind: &str, settings: &str) -> Result<Self, Vec<BuildError>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let pipeline = PipelineName::new("rig").expect("a name");
        let name = format!("{kind}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let id = ComponentId::new(&pipeline, &name).expect("a name");
        let (table, faults) = Table::parse(settings);
        if !faults.is_empty() {
            return Err(faults);
        }
        let sink = SINKS.iter().find(|sink| sink.name == kind).expect("a type of sink");
        let cx = BuildContext::for_sink(&id, host);
        let built = sink.build(&Settings::new(table), &cx)?;
        let limits = Limits { events_max: 200_000, ..Limits::default() };
        let account = Arc::new(Account::new(limits));
        let (sender, inlet) = edge(Capacity { events: 200_000, bytes: 256 << 20 });
        let outlet = Outlet::new(Arc::clone(&account));
        let target =
            Target { sender: sender.clone(), entry: 0, ack: AckMode::Settled, dedupe: None };
        outlet.point(Some(target));
        let running = host.tasks.spawn(built.run(inlet));
        Ok(Self { account, health: host.health(&id), outlet, sender, running })
    }

    /// Publishes a batch.
    ///
    /// # Errors
    /// If the sink holds as much as it may.
    pub fn publish(&self, batch: Batch) -> Result<Receipt, Refusal> {
        self.outlet.publish(batch, &[], None)
    }

    /// Publishes one event.
    pub fn publish_one(&self, draft: &Draft<'_>) -> Receipt {
        let mut batch = Batch::default();
        batch.push(draft);
        self.publish(batch).expect("there is room")
    }

    /// The counter `name` of the sink.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.health.snapshot().counters;
        counters.into_iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
    }

    /// Waits until the sink runs as it should.
    pub async fn running(&self) {
        self.state("the sink runs", |state| *state == State::Running).await;
    }

    /// Waits until the sink says that it does not, for a reason with `words` in it.
    pub async fn degraded(&self, words: &str) {
        let has = |state: &State| matches!(state, State::Degraded(why) if why.contains(words));
        self.state(&format!("the sink says `{words}`"), has).await;
    }

    /// Ends the input, waits for the sink and returns its books.
    ///
    /// # Panics
    /// If the sink fails, or leaves anything unsettled.
    pub async fn finish(self) -> Balance {
        self.sender.close();
        let ended = within("the sink ends with its input", self.running).await;
        ended.expect("the sink does not panic").expect("the sink does not fail");
        let balance = self.account.balance();
        assert_eq!((balance.lost, balance.in_flight), (0, 0), "everything is settled");
        balance
    }

    async fn state(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let probe = async || is_so(&self.health.snapshot().state).then_some(());
        eventually(&format!("{what}, not {:?}", self.health.snapshot().state), probe).await;
    }
}
