//! What runs, for those who only look: the admin API and the metrics.
//!
//! A view is immutable; the counters behind it are live.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};

use crate::ack::{Account, Dedupe};
use crate::chain::StepStats;
use crate::component::{ComponentId, Health, PipelineName};
use crate::edge::{Outlet, Sender};
use crate::spool::{LeftBehind, Spool};
use crate::wasm::StepMetrics;

/// The generation in force.
#[derive(Debug, Default)]
pub struct View {
    /// Its number; 0 before the first.
    pub generation: u64,
    /// Its pipelines, by name.
    pub pipelines: Vec<PipelineView>,
    /// How many replaced pipelines still drain.
    pub draining: Arc<AtomicUsize>,
    /// Events on disk that no sink sends.
    pub left_behind: Arc<LeftBehind>,
}

impl View {
    /// The sinks that have a spool.
    pub fn spooled(&self) -> BTreeSet<ComponentId> {
        let components = self.pipelines.iter().flat_map(|pipeline| &pipeline.components);
        let spooled = components.filter(|component| component.spool.is_some());
        spooled.map(|component| component.id.clone()).collect()
    }
}

/// One pipeline.
#[derive(Debug, Clone)]
pub struct PipelineView {
    /// Its name.
    pub name: PipelineName,
    /// What its file says it is for.
    pub description: Option<String>,
    /// The file.
    pub file: PathBuf,
    /// Digest of the file, what it interpolates, and its plugins.
    pub digest: String,
    /// Its books.
    pub account: Arc<Account>,
    /// What keeps repeats back, if something does.
    pub dedupe: Option<Arc<Dedupe>>,
    /// The edge between its sources and its chain.
    pub edge: Sender,
    /// By the name of a transform or sink, where events enter that have come as far as that.
    pub doors: Arc<BTreeMap<String, Outlet>>,
    /// Its transforms, in order.
    pub steps: Vec<StepView>,
    /// Its sources and sinks.
    pub components: Vec<ComponentView>,
}

/// One transform.
#[derive(Debug, Clone)]
pub struct StepView {
    /// Its name.
    pub id: ComponentId,
    /// The plugin that it uses.
    pub plugin: String,
    /// Digest of the plugin's file.
    pub plugin_digest: String,
    /// Its counters.
    pub stats: Arc<StepStats>,
    /// What its plugin counts and measures itself.
    pub metrics: Arc<StepMetrics>,
}

/// Which end of a pipeline a component is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Events come in.
    Source,
    /// Events go out.
    Sink,
}

/// One source or sink.
#[derive(Debug, Clone)]
pub struct ComponentView {
    /// Its name.
    pub id: ComponentId,
    /// Its end of the pipeline.
    pub role: Role,
    /// Its type.
    pub kind: &'static str,
    /// How it is.
    pub health: Arc<Health>,
    /// The edge that feeds it, if it is a sink.
    pub edge: Option<Sender>,
    /// Where its events wait while it is away; gone with the last who uses it.
    pub spool: Option<Weak<Spool>>,
}
