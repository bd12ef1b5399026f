//! One pipeline at work.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::error;

use crate::ack::{Account, AckMode, Dedupe, Limits};
use crate::chain::{Chain, Legacy, SinkLink};
use crate::component::{ComponentId, Host};
use crate::edge::{Capacity, Inlet, Outlet, Sender, Target, edge};
use crate::net::Mount;
use crate::runtime::build::{Built, BuiltSink, BuiltSource};
use crate::runtime::rescue::{self, Rescues};
use crate::runtime::supervise::{self, SinkSeat, SourceSeat};
use crate::runtime::view::{ComponentView, PipelineView, Role};
use crate::spool::{Front, Keepers};
use crate::tasks::{Stop, Stopper, Tasks};

/// How much more than the account admits an edge holds: transforms may turn one event into many.
const AMPLIFICATION: usize = 4;

/// The edge between a front and its sink; the front itself holds less.
const FRONT: Capacity = Capacity { events: 65_536, bytes: 64 << 20 };

/// The running parts of a pipeline.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) digest: String,
    pub(super) account: Arc<Account>,
    pub(super) mounts: Vec<Mount>,
    pub(super) view: PipelineView,
    /// Into the chain; closed when this pipeline is replaced.
    intake: Sender,
    /// The sources' outlets, with the entry that each takes.
    outlets: Vec<(Arc<Outlet>, u16)>,
    ack: AckMode,
    dedupe: Option<Arc<Dedupe>>,
    /// Asks the sources to stop.
    sources: Stopper,
    /// Asked when the chain has handed everything to the sinks.
    chain_ended: Stop,
    /// What the chain leaves to the next one.
    legacy: Arc<Legacy>,
    /// For each sink by name, how its end is known.
    sinks_ended: HashMap<ComponentId, Ended>,
    /// The edges of the sinks.
    sinks: Vec<Sender>,
    /// Everything that runs for this pipeline.
    pub(super) tasks: Tasks,
}

/// What a chain has before and after it.
struct ChainSeat {
    /// The chain that it replaces.
    before: Option<Before>,
    /// Where it leaves what it does not finish.
    legacy: Arc<Legacy>,
}

/// A chain that is replaced.
struct Before {
    /// Asked when it has handed everything to the sinks.
    ended: Stop,
    /// What it leaves.
    legacy: Arc<Legacy>,
}

/// How the end of a sink is known.
#[derive(Debug)]
struct Ended {
    /// Asked when it has returned.
    sink: Stop,
    /// Asked when what stands before it has settled everything, if it has a spool.
    front: Option<Stop>,
}

impl Running {
    /// Starts every part. No event comes in before [`take_over`](Self::take_over).
    pub(super) fn start(
        mut built: Built,
        host: &Arc<Host>,
        generation: u64,
        old: Option<&Self>,
    ) -> Self {
        let tasks = Tasks::default();
        let sources = Stopper::default();
        let limits = Limits::default();
        let capacity = Capacity {
            events: limits.events_max * AMPLIFICATION,
            bytes: limits.bytes_max * AMPLIFICATION,
        };
        let (intake, inlet) = edge(capacity);
        if let (Some(dedupe), Some(settings)) = (&built.dedupe, built.pipeline.dedupe) {
            dedupe.resize(settings);
        }
        let rescues = Rescues::open(&mut built, host, generation);
        let doors = Arc::new(rescue::doors(&mut built, &intake));
        let mut components = Vec::new();
        let mut outlets = Vec::new();
        for (source, entry) in built.sources.into_iter().zip(&built.graph.source_entries) {
            components.push(source_view(&source));
            outlets.push((Arc::clone(&source.outlet), *entry));
            let BuiltSource { spec, source, outlet, health } = source;
            let seat = SourceSeat { spec, host: Arc::clone(host), outlet, health };
            drop(tasks.spawn(supervise::source(source, seat, sources.stop())));
        }
        let mut links = Vec::new();
        let mut sinks_ended = HashMap::new();
        for sink in built.sinks {
            let sender = rescues.guard(edge(capacity).0, &sink.spec);
            components.push(sink_view(&sink, &sender));
            links.push(SinkLink { sender: sender.clone(), is_durable: sink.spec.kind.is_durable });
            let before = old.and_then(|old| old.sinks_ended.get(&sink.spec.id));
            let id = sink.spec.id.clone();
            sinks_ended.insert(id, start_sink(sink, sender, before, &rescues, &tasks));
        }
        let sinks = links.iter().map(|link| link.sender.clone()).collect();
        let account = Arc::clone(&built.account);
        let chain = Chain::new(built.graph.entries, built.steps, links, account);
        let view = PipelineView {
            name: built.name,
            description: built.pipeline.description.clone(),
            file: built.pipeline.file.path.clone(),
            digest: built.digest.clone(),
            account: Arc::clone(&built.account),
            dedupe: built.dedupe.clone(),
            edge: intake.clone(),
            doors,
            steps: built.step_views,
            components,
        };
        let legacy = Arc::default();
        let seat = ChainSeat { before: old.map(Before::of), legacy: Arc::clone(&legacy) };
        let chain_ended = run_chain(chain, inlet, seat, &view, &tasks);
        Self {
            digest: built.digest,
            account: built.account,
            mounts: built.mounts.into_iter().map(|(mount, _)| mount).collect(),
            view,
            intake,
            outlets,
            ack: built.ack,
            dedupe: built.dedupe,
            sources,
            chain_ended,
            legacy,
            sinks_ended,
            sinks,
            tasks,
        }
    }

    /// Its dedupe window, if it keeps repeats back.
    pub(super) fn dedupe(&self) -> Option<Arc<Dedupe>> {
        self.dedupe.clone()
    }

    /// Points the sources' outlets here.
    pub(super) fn take_over(&self) {
        for (outlet, entry) in &self.outlets {
            outlet.point(Some(Target {
                sender: self.intake.clone(),
                entry: *entry,
                ack: self.ack,
                dedupe: self.dedupe.clone(),
            }));
        }
    }

    /// Points the sources' outlets nowhere.
    pub(super) fn leave_outlets(&self) {
        for (outlet, _) in &self.outlets {
            outlet.point(None);
        }
    }

    /// Asks the sources to stop and lets nothing more in; what is in flight goes on.
    pub(super) fn ask_to_stop(&self) {
        self.intake.close();
        self.sources.ask();
    }

    /// Closes the sinks' edges, for a chain that did not end in time.
    pub(super) fn close_sinks(&self) {
        self.sinks.iter().for_each(Sender::close);
    }

    /// Says what is lost of what the chain has left; for when everything has ended.
    pub(super) fn close_legacy(&self) {
        self.legacy.close();
    }

    /// Resolves once the chain has handed everything to the sinks.
    pub(super) async fn chain_ended(&mut self) {
        self.chain_ended.asked().await;
    }
}

impl Before {
    /// The chain of `old`, which will be replaced.
    fn of(old: &Running) -> Self {
        old.legacy.promise();
        Self { ended: old.chain_ended.clone(), legacy: Arc::clone(&old.legacy) }
    }
}

/// Starts the chain, which waits until the one that it replaces has handed on all its events.
fn run_chain(
    mut chain: Chain,
    mut inlet: Inlet,
    seat: ChainSeat,
    view: &PipelineView,
    tasks: &Tasks,
) -> Stop {
    let ChainSeat { before, legacy } = seat;
    let (predecessor, left) = before.map(|before| (before.ended, before.legacy)).unzip();
    let ended = Stopper::default();
    let stop = ended.stop();
    if chain.has_steps() {
        let threads = tasks.clone();
        let name = format!("weir-{}", view.name);
        drop(tasks.spawn(async move {
            wait_for(predecessor).await;
            let work = move || {
                left.iter().for_each(|left| chain.inherit(left));
                chain.run_blocking(&mut inlet, &legacy);
                ended.ask();
            };
            if let Err(error) = threads.thread(name, work) {
                error!(%error, "no thread for a chain of transforms");
            }
        }));
    } else {
        drop(tasks.spawn(async move {
            wait_for(predecessor).await;
            left.iter().for_each(|left| chain.inherit(left));
            chain.run(inlet).await;
            ended.ask();
        }));
    }
    stop
}

async fn wait_for(predecessor: Option<Stop>) {
    if let Some(mut predecessor) = predecessor {
        drop(tokio::time::timeout(super::DRAIN_LIMIT, predecessor.asked()).await);
    }
}

/// Starts a sink that is fed through `sender` and comes after the one that ends as `before` says.
fn start_sink(
    sink: BuiltSink,
    sender: Sender,
    before: Option<&Ended>,
    rescues: &Rescues,
    tasks: &Tasks,
) -> Ended {
    let (edge, front) = match start_front(&sink, &sender, before, rescues, tasks) {
        Some((edge, front)) => (edge, Some(front)),
        None => (sender, None),
    };
    let BuiltSink { spec, sink, health, .. } = sink;
    let ended = Stopper::default();
    let stop = ended.stop();
    let predecessor = before.map(|before| before.sink.clone());
    let host = Arc::clone(rescues.host());
    let seat = SinkSeat { spec, host, edge, health, predecessor };
    drop(tasks.spawn(async move {
        supervise::sink(sink, seat).await;
        ended.ask();
    }));
    Ended { sink: stop, front }
}

/// Starts what stands between the chain's edge `chain` and a sink with a spool; answers the edge
/// of the sink, and a stop that is asked once the front has settled everything.
fn start_front(
    sink: &BuiltSink,
    chain: &Sender,
    before: Option<&Ended>,
    rescues: &Rescues,
    tasks: &Tasks,
) -> Option<(Sender, Stop)> {
    let spool = Arc::clone(sink.spool.as_ref()?);
    let predecessor = before.and_then(|before| before.front.clone());
    // What the sink refuses after it was on disk is kept as well.
    let edge = edge(FRONT).0.rescued_like(chain);
    let settings = sink.spec.spool.unwrap_or_default();
    let rescue = rescues.last_resort(&sink.spec.id);
    let keepers = Keepers { tasks: rescues.host().tasks.clone(), rescue };
    let front = Front::new(spool, settings, edge.clone(), &sink.health, keepers);
    let input = chain.inlet();
    let ended = Stopper::default();
    let stop = ended.stop();
    drop(tasks.spawn(async move {
        // What the old front took goes to disk before anything that comes after.
        wait_for(predecessor).await;
        front.run(input).await;
        ended.ask();
    }));
    Some((edge, stop))
}

fn source_view(source: &BuiltSource) -> ComponentView {
    ComponentView {
        id: source.spec.id.clone(),
        role: Role::Source,
        kind: source.spec.kind.name,
        health: Arc::clone(&source.health),
        edge: None,
        spool: None,
    }
}

fn sink_view(sink: &BuiltSink, edge: &Sender) -> ComponentView {
    ComponentView {
        id: sink.spec.id.clone(),
        role: Role::Sink,
        kind: sink.spec.kind.name,
        health: Arc::clone(&sink.health),
        edge: Some(edge.clone()),
        spool: sink.spool.as_ref().map(Arc::downgrade),
    }
}
