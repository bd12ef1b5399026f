//! One pipeline at work.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::error;

use crate::ack::{Account, AckMode, Limits};
use crate::chain::{Chain, SinkLink};
use crate::component::{ComponentId, Host};
use crate::edge::{Capacity, Inlet, Outlet, Sender, Target, edge};
use crate::net::Mount;
use crate::runtime::build::{Built, BuiltSink, BuiltSource};
use crate::runtime::supervise::{self, SinkSeat, SourceSeat};
use crate::runtime::view::{ComponentView, PipelineView, Role};
use crate::spool::{Front, Spool};
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
    /// Asks the sources to stop.
    sources: Stopper,
    /// Asked when the chain has handed everything to the sinks.
    chain_ended: Stop,
    /// For each sink by name, asked when it has returned.
    sinks_ended: HashMap<ComponentId, Stop>,
    /// The same for what stands before those with a spool.
    fronts_ended: HashMap<ComponentId, Stop>,
    /// The edges of the sinks.
    sinks: Vec<Sender>,
    /// Everything that runs for this pipeline.
    pub(super) tasks: Tasks,
}

impl Running {
    /// Starts every part. No event comes in before [`take_over`](Self::take_over).
    pub(super) fn start(built: Built, host: &Arc<Host>, old: Option<&Self>) -> Self {
        let tasks = Tasks::default();
        let sources = Stopper::default();
        let limits = Limits::default();
        let capacity = Capacity {
            events: limits.events_max * AMPLIFICATION,
            bytes: limits.bytes_max * AMPLIFICATION,
        };
        let (intake, inlet) = edge(capacity);
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
        let mut fronts_ended = HashMap::new();
        for sink in built.sinks {
            let (sender, _) = edge(capacity);
            components.push(sink_view(&sink, &sender));
            links.push(SinkLink { sender: sender.clone(), is_durable: sink.spec.kind.is_durable });
            let predecessor = old.and_then(|old| old.sinks_ended.get(&sink.spec.id).cloned());
            let edge = match &sink.spool {
                Some(spool) => {
                    let before = old.and_then(|old| old.fronts_ended.get(&sink.spec.id).cloned());
                    let (edge, ended) = start_front(&sink, spool, &sender, before, (host, &tasks));
                    fronts_ended.insert(sink.spec.id.clone(), ended);
                    edge
                }
                None => sender,
            };
            let BuiltSink { spec, sink, health, .. } = sink;
            let ended = Stopper::default();
            sinks_ended.insert(spec.id.clone(), ended.stop());
            let seat = SinkSeat { spec, host: Arc::clone(host), edge, health, predecessor };
            drop(tasks.spawn(async move {
                supervise::sink(sink, seat).await;
                ended.ask();
            }));
        }
        let sinks = links.iter().map(|link| link.sender.clone()).collect();
        let chain = Chain { entries: built.graph.entries, steps: built.steps, sinks: links };
        let view = PipelineView {
            name: built.name,
            description: built.pipeline.description.clone(),
            file: built.pipeline.file.path.clone(),
            digest: built.digest.clone(),
            account: Arc::clone(&built.account),
            edge: intake.clone(),
            steps: built.step_views,
            components,
        };
        let predecessor = old.map(|old| old.chain_ended.clone());
        let chain_ended = run_chain(chain, inlet, predecessor, &view, &tasks);
        Self {
            digest: built.digest,
            account: built.account,
            mounts: built.mounts.into_iter().map(|(mount, _)| mount).collect(),
            view,
            intake,
            outlets,
            ack: built.ack,
            sources,
            chain_ended,
            sinks_ended,
            fronts_ended,
            sinks,
            tasks,
        }
    }

    /// Points the sources' outlets here.
    pub(super) fn take_over(&self) {
        for (outlet, entry) in &self.outlets {
            outlet.point(Some(Target {
                sender: self.intake.clone(),
                entry: *entry,
                ack: self.ack,
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

    /// Resolves once the chain has handed everything to the sinks.
    pub(super) async fn chain_ended(&mut self) {
        self.chain_ended.asked().await;
    }
}

/// Starts the chain, which waits until the one that it replaces has handed on all its events.
fn run_chain(
    chain: Chain,
    mut inlet: Inlet,
    predecessor: Option<Stop>,
    view: &PipelineView,
    tasks: &Tasks,
) -> Stop {
    let ended = Stopper::default();
    let stop = ended.stop();
    if chain.has_steps() {
        let threads = tasks.clone();
        let name = format!("weir-{}", view.name);
        drop(tasks.spawn(async move {
            wait_for(predecessor).await;
            let work = move || {
                chain.run_blocking(&mut inlet);
                ended.ask();
            };
            if let Err(error) = threads.thread(name, work) {
                error!(%error, "no thread for a chain of transforms");
            }
        }));
    } else {
        drop(tasks.spawn(async move {
            wait_for(predecessor).await;
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

/// Starts what stands between the chain's edge `chain` and a sink with a spool; answers the edge
/// of the sink, and a stop that is asked once the front has settled everything.
fn start_front(
    sink: &BuiltSink,
    spool: &Arc<Spool>,
    chain: &Sender,
    predecessor: Option<Stop>,
    (host, tasks): (&Arc<Host>, &Tasks),
) -> (Sender, Stop) {
    let (edge, _) = edge(FRONT);
    let settings = sink.spec.spool.unwrap_or_default();
    let (id, health) = (sink.spec.id.clone(), Arc::clone(&sink.health));
    let front = Front::new(id, Arc::clone(spool), settings, edge.clone(), health);
    let (input, writers) = (chain.inlet(), host.tasks.clone());
    let ended = Stopper::default();
    let stop = ended.stop();
    drop(tasks.spawn(async move {
        // What the old front took goes to disk before anything that comes after.
        wait_for(predecessor).await;
        front.run(input, writers).await;
        ended.ask();
    }));
    (edge, stop)
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
