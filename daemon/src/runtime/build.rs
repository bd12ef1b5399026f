//! From a pipeline as its file says to parts that can be started. No I/O, nothing spawned:
//! only the plugins' own `configure` runs here, inside the sandbox and within its limits.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::repeats;
use crate::ack::{Account, AckMode, Dedupe, Limits};
use crate::chain::{Step, StepStats};
use crate::component::{
    BuildContext, BuildError, Health, Host, Leavings, PipelineName, RunnableSink, RunnableSource,
};
use crate::config::{Fault, Pipeline, SinkSpec, SourceSpec, TableSpec, TransformSpec};
use crate::edge::Outlet;
use crate::graph::Graph;
use crate::lookup::LookupTable;
use crate::net::{Mount, Outbound};
use crate::runtime::StepView;
use crate::spool::Spool;
use crate::store::{EXTENSION, State};
use crate::wasm::{
    Artifact, KV, LOOKUP, Lends, LoadError, StepHttp, StepMetrics, StepSetup, WasmTransform,
};

/// How often a plugin with a timer is told the time unless its step says so.
const TICK_DEFAULT: Duration = Duration::from_secs(1);

/// What pipelines are built with.
#[derive(Debug)]
pub struct Workshop<'a> {
    /// What components may borrow.
    pub host: &'a Arc<Host>,
    /// The plugins that the pipelines name, loaded.
    pub plugins: &'a HashMap<String, Arc<Artifact>>,
}

/// A pipeline that can be started.
pub struct Built {
    /// Its name.
    pub name: PipelineName,
    /// Digest of everything that it is made of.
    pub digest: String,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) graph: Graph,
    pub(super) account: Arc<Account>,
    pub(super) ack: AckMode,
    pub(super) dedupe: Option<Arc<Dedupe>>,
    pub(super) sources: Vec<BuiltSource>,
    pub(super) steps: Vec<Step>,
    pub(super) step_views: Vec<StepView>,
    pub(super) sinks: Vec<BuiltSink>,
    /// What its sources serve, each with the place of its source in the file.
    pub mounts: Vec<(Mount, Range<usize>)>,
    /// What its author may not want.
    pub warnings: Vec<Fault>,
}

pub(super) struct BuiltSource {
    pub(super) spec: SourceSpec,
    pub(super) source: Box<dyn RunnableSource>,
    /// Held for as long as the pipeline runs: the host lends it only while somebody does.
    pub(super) outlet: Arc<Outlet>,
    pub(super) health: Arc<Health>,
}

pub(super) struct BuiltSink {
    pub(super) spec: SinkSpec,
    pub(super) sink: Box<dyn RunnableSink>,
    pub(super) spool: Option<Arc<Spool>>,
    pub(super) health: Arc<Health>,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Builds every part of `pipeline`.
///
/// # Errors
/// Every fault that the parts find in their settings.
pub fn build(
    pipeline: &Arc<Pipeline>,
    graph: Graph,
    digest: String,
    workshop: &Workshop<'_>,
) -> Result<Built, Vec<Fault>> {
    let name = pipeline.name.clone();
    let host = workshop.host;
    let books = || Account::new(Limits::default()).within(&host.budget);
    let account = host.lent.borrow(name.as_str(), books);
    let mut faults = Vec::new();
    let mut mounts = Vec::new();
    let mut warnings = Vec::new();
    let mut sources = Vec::new();
    for spec in &pipeline.sources {
        match build_source(spec, &account, workshop) {
            Ok((source, own)) => {
                mounts.extend(own.mounts.into_iter().map(|mount| (mount, spec.span.clone())));
                let own = own.warnings.into_iter().map(|warning| spec.settings.locate(warning));
                warnings
                    .extend(own.map(|warning| pipeline.file.warning(warning, spec.span.clone())));
                sources.push(source);
            }
            Err(errors) => faults.extend(located(pipeline, errors, &spec.span)),
        }
    }
    let mut steps = Vec::new();
    let mut step_views = Vec::new();
    for (spec, links) in pipeline.transforms.iter().zip(&graph.links) {
        match build_step(spec, pipeline, workshop) {
            Ok((mut step, view)) => {
                step.links = links.clone();
                steps.push(step);
                step_views.push(view);
            }
            Err(error) => faults.extend(located(pipeline, vec![error], &spec.span)),
        }
    }
    let mut sinks = Vec::new();
    for spec in &pipeline.sinks {
        match build_sink(spec, workshop) {
            Ok(sink) => sinks.push(sink),
            Err(errors) => faults.extend(located(pipeline, errors, &spec.span)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let is_durable = pipeline.sinks.iter().any(|sink| sink.kind.is_durable);
    let ack = if is_durable { AckMode::Settled } else { AckMode::Routed };
    let dedupe = pipeline.dedupe.map(|settings| {
        let recall = || repeats::recall(&workshop.host.data_dir, &name, settings);
        workshop.host.lent.borrow(name.as_str(), recall)
    });
    let pipeline = Arc::clone(pipeline);
    Ok(Built {
        name,
        digest,
        pipeline,
        graph,
        account,
        ack,
        dedupe,
        sources,
        steps,
        step_views,
        sinks,
        mounts,
        warnings,
    })
}

fn located<'a>(
    pipeline: &'a Pipeline,
    errors: Vec<BuildError>,
    span: &'a Range<usize>,
) -> impl Iterator<Item = Fault> + 'a {
    errors.into_iter().map(|error| pipeline.file.fault(error, span.clone()))
}

fn build_source(
    spec: &SourceSpec,
    account: &Arc<Account>,
    workshop: &Workshop<'_>,
) -> Result<(BuiltSource, Leavings), Vec<BuildError>> {
    let host = workshop.host;
    // The outlet is lent by name, so a handler that is under way finds the next generation.
    let outlet = host.lent.borrow(&spec.id.to_string(), || Outlet::new(Arc::clone(account)));
    let cx = BuildContext::for_source(&spec.id, host, Outlet::clone(&outlet));
    let source = spec.kind.build(&spec.settings, &cx)?;
    let health = cx.health();
    let built = BuiltSource { spec: spec.clone(), source, outlet, health };
    Ok((built, cx.into_leavings()))
}

fn build_sink(spec: &SinkSpec, workshop: &Workshop<'_>) -> Result<BuiltSink, Vec<BuildError>> {
    let host = workshop.host;
    let cx = BuildContext::for_sink(&spec.id, host).spooled(spec.spool.is_some());
    let sink = spec.kind.build(&spec.settings, &cx)?;
    let spool = spec.spool.map(|settings| {
        let make = || Spool::new(&spec.id, &host.data_dir, settings);
        host.lent.borrow(&spec.id.to_string(), make)
    });
    Ok(BuiltSink { spec: spec.clone(), sink, spool, health: cx.health() })
}

fn build_step(
    spec: &TransformSpec,
    pipeline: &Pipeline,
    workshop: &Workshop<'_>,
) -> Result<(Step, StepView), BuildError> {
    let artifact = workshop.plugins.get(&spec.plugin).expect("plugins are loaded before");
    let setup = StepSetup {
        id: spec.id.clone(),
        config_json: spec.config_json.clone(),
        limits: spec.limits,
        grants: spec.grants.clone(),
        lends: lends(spec, pipeline, workshop.host),
    };
    let metrics = Arc::clone(&setup.lends.metrics);
    let transform = WasmTransform::new(artifact, setup).map_err(|error| {
        let place = if error.is_configuration() { &spec.config_span } else { &spec.plugin_span };
        unusable(&error).at(place.clone())
    })?;
    let tick = tick(spec, artifact)?;
    let stats = Arc::new(StepStats::default());
    let step = Step {
        id: spec.id.clone(),
        plugin: spec.plugin.clone(),
        transform: Box::new(transform),
        tick,
        on_error: spec.on_error,
        rescue: None,
        links: crate::chain::Links::default(),
        stats: Arc::clone(&stats),
    };
    let view = StepView {
        id: spec.id.clone(),
        plugin: spec.plugin.clone(),
        plugin_digest: artifact.digest().to_owned(),
        stats,
        metrics,
    };
    Ok((step, view))
}

/// How often the step is told the time, if its plugin wants to be.
fn tick(spec: &TransformSpec, artifact: &Artifact) -> Result<Option<Duration>, BuildError> {
    let Some(tick) = &spec.tick else {
        return Ok(artifact.has_timer().then_some(TICK_DEFAULT));
    };
    if !artifact.has_timer() {
        let message = format!("the plugin `{}` has no timer, so nothing ticks", spec.plugin);
        let help = "leave `tick` out, or use a plugin that exports `timer`";
        return Err(BuildError::new("W0605", message).help(help).at(tick.span()));
    }
    Ok(Some(*tick.get_ref()))
}

/// What the step may use; all of it outlives a reload.
fn lends(spec: &TransformSpec, pipeline: &Pipeline, host: &Host) -> Lends {
    let id = spec.id.to_string();
    let grants = |name: &str| spec.grants.iter().any(|grant| grant == name);
    let metrics = host.lent.borrow(&id, StepMetrics::default);
    let tables = pipeline.tables.iter().filter(|_| grants(LOOKUP));
    let tables = tables.map(|table| (table.name.clone(), lookup_table(table, pipeline, host)));
    let file = || host.data_dir.join("state").join(format!("{id}.{EXTENSION}"));
    let state = if grants(KV) {
        host.lent.borrow(&id, || State::new(file()))
    } else {
        Arc::new(State::volatile())
    };
    let outbound = host.lent.borrow("outbound", Outbound::default);
    let http = host.lent.borrow(&id, || StepHttp::new(outbound));
    Lends { metrics, tables: tables.collect(), state, http }
}

/// The table that `spec` declares; the same one for as long as somebody uses it.
pub fn lookup_table(spec: &TableSpec, pipeline: &Pipeline, host: &Host) -> Arc<LookupTable> {
    let key = LookupTable::identity(pipeline.name.as_str(), &spec.name, &spec.settings);
    host.lent.borrow(&key, || LookupTable::new(spec.settings.clone()))
}

/// What an operator is told about a plugin that cannot be used.
pub fn unusable(error: &LoadError) -> BuildError {
    let fault = BuildError::new("W0603", error.to_string());
    match error.help() {
        Some(help) => fault.help(help),
        None => fault,
    }
}
