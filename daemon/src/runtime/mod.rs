//! Pipelines at work: a plan and what was built for it go in, the next generation runs.
//!
//! Everything new is started beside the old, then routes are swapped by one pointer store, the
//! sources' outlets are pointed at the new chains, and what was replaced drains by itself.
//! Nothing here waits for a sink, so a reload never does.

mod build;
mod drain;
mod repeats;
mod replay;
mod rescue;
mod running;
mod supervise;
mod view;

pub use build::{Built, Workshop, build, lookup_table, unusable};
pub use drain::DRAIN_LIMIT;
pub use replay::{Range, Replay, Replayed, replay};
pub use view::{ComponentView, PipelineView, Role, StepView, View};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::component::{Host, PipelineName};
use crate::net::{Mount, Routes, SharedRoutes};
use crate::spool::LeftBehind;
use crate::tasks::Tasks;
use running::Running;

/// How long it may take to write down which events came lately.
const REPEATS_LIMIT: Duration = Duration::from_secs(5);

/// How long what was refused at the end may take to be kept.
const DEAD_LIMIT: Duration = Duration::from_secs(5);

/// The pipelines in force and the way to replace them.
#[derive(Debug)]
pub struct Runtime {
    host: Arc<Host>,
    routes: SharedRoutes,
    /// Routes that belong to the daemon, not to a pipeline.
    own_mounts: Vec<Mount>,
    pipelines: BTreeMap<PipelineName, Running>,
    generation: u64,
    view: Arc<ArcSwap<View>>,
    /// Pipelines that were replaced and still drain.
    draining: Arc<AtomicUsize>,
    /// The tasks that wait for them.
    drains: Tasks,
    left_behind: Arc<LeftBehind>,
}

impl Runtime {
    /// A runtime without pipelines; `own_mounts` are served in every generation.
    pub fn new(host: Arc<Host>, routes: SharedRoutes, own_mounts: Vec<Mount>) -> Self {
        let runtime = Self {
            host,
            routes,
            own_mounts,
            pipelines: BTreeMap::new(),
            generation: 0,
            view: Arc::default(),
            draining: Arc::default(),
            drains: Tasks::default(),
            left_behind: Arc::default(),
        };
        runtime.swap_routes();
        runtime
    }

    /// What runs, for those who only look; always the latest.
    pub fn view(&self) -> Arc<ArcSwap<View>> {
        Arc::clone(&self.view)
    }

    /// Names and digests of the pipelines in force, to compare with what the files say.
    pub fn digests(&self) -> BTreeMap<PipelineName, String> {
        let digest = |running: &Running| running.digest.clone();
        self.pipelines.iter().map(|(name, running)| (name.clone(), digest(running))).collect()
    }

    /// The mounts of the pipelines in force, each with the pipeline that serves it.
    pub fn mounts(&self) -> impl Iterator<Item = (&PipelineName, &Mount)> {
        self.pipelines
            .iter()
            .flat_map(|(name, running)| running.mounts.iter().map(move |mount| (name, mount)))
    }

    /// Puts the next generation in force: starts `built`, removes `removed`, keeps the rest.
    /// Answers the number of the generation.
    pub fn apply(&mut self, built: Vec<Built>, removed: &[PipelineName]) -> u64 {
        self.generation += 1;
        let mut replaced = Vec::new();
        for built in built {
            let name = built.name.clone();
            let old = self.pipelines.remove(&name);
            let running = Running::start(built, &self.host, self.generation, old.as_ref());
            replaced.extend(old);
            self.pipelines.insert(name, running);
        }
        replaced.extend(removed.iter().filter_map(|name| self.pipelines.remove(name)));
        self.swap_routes();
        for running in self.pipelines.values() {
            running.take_over();
        }
        let mut retired = Vec::new();
        for old in replaced {
            retired.push(self.retire(old));
        }
        self.publish_view();
        self.look_for_spools(retired);
        self.generation
    }

    /// Stops taking events and drains everything, at most `limit`. Answers how many events were
    /// not settled by then.
    pub async fn stop(&mut self, limit: Duration) -> u64 {
        let accounts: Vec<_> =
            self.pipelines.values().map(|running| Arc::clone(&running.account)).collect();
        let windows: Vec<_> = self
            .pipelines
            .iter()
            .filter_map(|(name, running)| Some((name.clone(), running.dedupe()?)))
            .collect();
        for (_, running) in std::mem::take(&mut self.pipelines) {
            running.leave_outlets();
            drop(self.retire(running));
        }
        self.drains.ended(limit).await;
        drop(tokio::time::timeout(DEAD_LIMIT, self.host.dead.settled()).await);
        let host = Arc::clone(&self.host);
        let keep = move || {
            windows.iter().for_each(|(name, dedupe)| repeats::keep(&host.data_dir, name, dedupe));
        };
        match self.drains.thread("weir-repeats".to_owned(), keep) {
            Ok(()) => drop(self.drains.ended(REPEATS_LIMIT).await),
            Err(error) => warn!(%error, "no thread to keep which events came before the restart"),
        }
        accounts.iter().map(|account| account.balance().in_flight).sum()
    }

    /// How many events of the pipelines in force are not settled.
    pub fn in_flight(&self) -> u64 {
        let running = self.pipelines.values();
        running.map(|running| running.account.balance().in_flight).sum()
    }

    fn retire(&self, old: Running) -> JoinHandle<()> {
        old.ask_to_stop();
        self.draining.fetch_add(1, Ordering::Relaxed);
        let draining = Arc::clone(&self.draining);
        self.drains.spawn(async move {
            drain::drain(old).await;
            draining.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// Looks for spools that nobody sends, once what was `retired` has let its own go.
    fn look_for_spools(&self, retired: Vec<JoinHandle<()>>) {
        let (view, left_behind) = (Arc::clone(&self.view), Arc::clone(&self.left_behind));
        let (host, threads) = (Arc::clone(&self.host), self.drains.clone());
        drop(self.drains.spawn(async move {
            for drained in retired {
                drop(drained.await);
            }
            let look = move || left_behind.look(&host.data_dir, &view.load().spooled());
            if let Err(error) = threads.thread("weir-spools".to_owned(), look) {
                warn!(%error, "no thread to look for spools that no sink sends");
            }
        }));
    }

    fn swap_routes(&self) {
        let mut routes = Routes::default();
        let of_pipelines = self.mounts().map(|(_, mount)| mount);
        for mount in self.own_mounts.iter().chain(of_pipelines) {
            routes.add(mount.clone());
        }
        self.routes.store(Arc::new(routes));
    }

    fn publish_view(&self) {
        let pipelines = self.pipelines.values().map(|running| running.view.clone()).collect();
        self.view.store(Arc::new(View {
            generation: self.generation,
            pipelines,
            draining: Arc::clone(&self.draining),
            left_behind: Arc::clone(&self.left_behind),
        }));
    }
}
