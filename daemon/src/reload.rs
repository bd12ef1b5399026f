//! Changed files become the next generation, or a list of faults and nothing changes.
//!
//! Start is a reload from nothing: the one difference is that then a bad file costs only its own
//! pipeline, because there is nothing older to keep.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::component::{BuildError, Host, PipelineName};
use crate::config::{self, DaemonSettings, Fault, Pipeline};
use crate::graph::Graph;
use crate::graph::diff::{Plan, diff};
use crate::lookup::{Fresh, LookupTable};
use crate::net::Mount;
use crate::runtime::{Built, Runtime, Workshop, build, lookup_table, unusable};
use crate::units::now_micros;
use crate::wasm::{Artifact, Wasm};

/// How many faults of one reload are logged; the API tells all of them.
const FAULTS_LOGGED_MAX: usize = 20;

/// How many reloads are remembered.
const HISTORY_MAX: usize = 50;

/// What asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The daemon started.
    Start,
    /// A watched file changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /v1/reload`.
    Api,
}

impl Trigger {
    /// The name in logs and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Signal => "signal",
            Self::Api => "api",
        }
    }
}

/// What a reload did.
#[derive(Debug)]
pub struct Record {
    /// The generation in force afterwards.
    pub generation: u64,
    /// What asked for it.
    pub trigger: Trigger,
    /// When, in microseconds since the Unix epoch.
    pub at: u64,
    /// How long it took until the new generation was in force, or refused.
    pub took: Duration,
    /// What changed, per pipeline; empty when rejected.
    pub plan: Plan,
    /// What is wrong with the files. A reload with faults changes nothing; a start with faults
    /// leaves out the pipelines that have some.
    pub faults: Vec<Fault>,
    /// What deserves a second look in the pipelines that were added or changed.
    pub warnings: Vec<Fault>,
    /// Whether the files are in force now.
    pub is_applied: bool,
    /// The files that pipeline files refer to; a change of one is a change of the pipeline.
    pub files: BTreeSet<PathBuf>,
}

/// The last reloads, newest first; shared with those who only look.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Touched once per reload and per look, hence a std mutex.
    records: Arc<Mutex<VecDeque<Arc<Record>>>>,
}

impl History {
    /// All remembered reloads, newest first.
    pub fn records(&self) -> Vec<Arc<Record>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().cloned().collect()
    }

    /// The newest reload.
    pub fn last(&self) -> Option<Arc<Record>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.front().cloned()
    }

    fn push(&self, record: Arc<Record>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push_front(record);
        records.truncate(HISTORY_MAX);
    }
}

/// Everything that reading and building the files takes.
#[derive(Debug, Clone)]
pub struct Workbench {
    /// The pipeline files, or directories of them.
    pub paths: Vec<PathBuf>,
    /// The daemon's settings.
    pub settings: Arc<DaemonSettings>,
    /// The plugin engine.
    pub wasm: Arc<Wasm>,
    /// What components may borrow.
    pub host: Arc<Host>,
}

/// Reads the files, builds what changed and puts it in force.
///
/// # Cancel safety
/// Not cancel safe; the daemon's main loop awaits it to the end.
pub async fn reload(
    bench: &Workbench,
    runtime: &mut Runtime,
    trigger: Trigger,
    history: &History,
) -> Arc<Record> {
    let since = Instant::now();
    let at = now_micros();
    let running = runtime.digests();
    let mounts: Vec<_> =
        runtime.mounts().map(|(name, mount)| (name.clone(), mount.clone())).collect();
    let bench = bench.clone();
    let prepared = spawn_blocking(move || prepare(&bench, &running, &mounts));
    let prepared = prepared.await.expect("preparing a generation does not panic");
    let is_applied = prepared.faults.is_empty() || trigger == Trigger::Start;
    let generation = if is_applied {
        prepared.tables.into_iter().for_each(|(table, fresh)| put_in_force(&table, fresh));
        runtime.apply(prepared.built, &prepared.plan.removed)
    } else {
        runtime.view().load().generation
    };
    let plan = if is_applied { prepared.plan } else { Plan::default() };
    let Prepared { faults, warnings, files, .. } = prepared;
    let took = since.elapsed();
    let record =
        Record { generation, trigger, at, took, plan, faults, warnings, is_applied, files };
    log(&record);
    let record = Arc::new(record);
    history.push(Arc::clone(&record));
    record
}

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// How many pipelines are without faults.
    pub pipelines: usize,
    /// Every fault of the others.
    pub faults: Vec<Fault>,
    /// What deserves a second look in those without faults.
    pub warnings: Vec<Fault>,
}

/// Checks the files without putting anything in force.
pub fn check(bench: &Workbench) -> Checked {
    let prepared = prepare(bench, &BTreeMap::new(), &[]);
    let Prepared { built, faults, warnings, .. } = prepared;
    Checked { pipelines: built.len(), faults, warnings }
}

/// A generation that is ready, or what is wrong with it.
struct Prepared {
    plan: Plan,
    built: Vec<Built>,
    /// Tables in use whose files have changed.
    tables: Vec<(Arc<LookupTable>, Fresh)>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    files: BTreeSet<PathBuf>,
}

/// A pipeline whose connections are resolved and whose plugins and tables are loaded.
struct Candidate {
    pipeline: Arc<Pipeline>,
    graph: Graph,
    digest: String,
    /// Held so that building the steps finds them loaded.
    tables: Vec<Arc<LookupTable>>,
}

fn prepare(
    bench: &Workbench,
    running: &BTreeMap<PipelineName, String>,
    mounts: &[(PipelineName, Mount)],
) -> Prepared {
    let loaded = config::load(&bench.paths, &bench.settings);
    let mut faults = loaded.faults;
    let mut plugins = HashMap::new();
    let mut tables = Vec::new();
    let mut candidates = BTreeMap::new();
    for pipeline in loaded.pipelines {
        match candidate(pipeline, bench, &mut plugins, &mut tables) {
            Ok(candidate) => {
                candidates.insert(candidate.pipeline.name.clone(), candidate);
            }
            Err(own) => faults.extend(own),
        }
    }
    let next = candidates.iter().map(|(name, candidate)| (name.clone(), candidate.digest.clone()));
    let mut plan = diff(running, &next.collect());
    let mut taken = Taken::default();
    for (name, mount) in mounts {
        if plan.unchanged.contains(name) {
            taken.insert(mount, name);
        }
    }
    let workshop = Workshop { host: &bench.host, plugins: &plugins };
    let mut built = Vec::new();
    let mut warnings = Vec::new();
    for name in plan.added.iter().chain(&plan.changed) {
        let Some(candidate) = candidates.remove(name) else { continue };
        let Candidate { pipeline, graph, digest, tables: _held } = candidate;
        let done = build(&pipeline, graph, digest, &workshop)
            .and_then(|built| taken.claim(built, &pipeline));
        match done {
            Ok(mut done) => {
                warnings.append(&mut done.warnings);
                built.push(done);
            }
            Err(own) => faults.extend(own),
        }
    }
    let is_built = |name: &PipelineName| built.iter().any(|built| built.name == *name);
    plan.added.retain(is_built);
    plan.changed.retain(is_built);
    // Found in the order of the work; told in the order of files and lines.
    faults.sort_by_cached_key(|fault| (fault.file.path.clone(), fault.position()));
    Prepared { plan, built, tables, faults, warnings, files: loaded.files }
}

fn candidate(
    pipeline: Pipeline,
    bench: &Workbench,
    plugins: &mut HashMap<String, Arc<Artifact>>,
    changed: &mut Vec<(Arc<LookupTable>, Fresh)>,
) -> Result<Candidate, Vec<Fault>> {
    let graph = Graph::of(&pipeline)?;
    let mut digest = Sha256::new();
    digest.update(&pipeline.digest);
    let mut faults = Vec::new();
    for transform in &pipeline.transforms {
        let loaded = match plugins.get(&transform.plugin) {
            Some(known) => Ok(Arc::clone(known)),
            None => bench.wasm.load(&transform.plugin_path).map_err(|error| unusable(&error)),
        };
        match loaded {
            Ok(artifact) => {
                digest.update(artifact.digest());
                plugins.insert(transform.plugin.clone(), artifact);
            }
            Err(error) => faults.push(pipeline.file.fault(error, transform.plugin_span.clone())),
        }
    }
    let mut tables = Vec::with_capacity(pipeline.tables.len());
    for spec in &pipeline.tables {
        let table = lookup_table(spec, &pipeline, &bench.host);
        match table.prepare() {
            // Nobody uses it yet, and `configure` may want to.
            Ok(Some(fresh)) if !table.is_loaded() => put_in_force(&table, fresh),
            Ok(Some(fresh)) => changed.push((Arc::clone(&table), fresh)),
            Ok(None) => {}
            Err(error) => {
                let error = BuildError::new("W0604", error.to_string());
                faults.push(pipeline.file.fault(error, spec.span.clone()));
            }
        }
        tables.push(table);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let digest = hex(&digest.finalize());
    Ok(Candidate { pipeline: Arc::new(pipeline), graph, digest, tables })
}

fn put_in_force(table: &LookupTable, fresh: Fresh) {
    table.replace(fresh);
    info!(file = %table.file().display(), "table loaded");
}

/// Which pipeline serves which path.
#[derive(Default)]
struct Taken(HashMap<(String, String), PipelineName>);

impl Taken {
    fn insert(&mut self, mount: &Mount, name: &PipelineName) -> Option<PipelineName> {
        self.0.insert((mount.listener.clone(), mount.path.clone()), name.clone())
    }

    /// Takes the paths of `built`, unless one is served already.
    fn claim(&mut self, built: Built, pipeline: &Pipeline) -> Result<Built, Vec<Fault>> {
        let mut faults = Vec::new();
        for (mount, span) in &built.mounts {
            if let Some(other) = self.insert(mount, &built.name) {
                let message = format!("the path `{}` is served by `{other}` already", mount.path);
                let error = BuildError::new("W0304", message)
                    .help("give each source its own `path`, or another `listener`");
                faults.push(pipeline.file.fault(error, span.clone()));
            }
        }
        if faults.is_empty() { Ok(built) } else { Err(faults) }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn log(record: &Record) {
    let Record { generation, trigger, plan, .. } = record;
    let took_ms = record.took.as_millis();
    let (added, changed, removed) = (plan.added.len(), plan.changed.len(), plan.removed.len());
    let trigger = trigger.name();
    for warning in record.warnings.iter().take(FAULTS_LOGGED_MAX) {
        warn!(place = warning.place(), code = warning.code, help = warning.help, "{warning}");
    }
    if record.faults.is_empty() {
        info!(generation, trigger, added, changed, removed, took_ms, "configuration in force");
        return;
    }
    let faults = record.faults.len();
    for fault in record.faults.iter().take(FAULTS_LOGGED_MAX) {
        warn!(place = fault.place(), code = fault.code, help = fault.help, "{fault}");
    }
    if record.is_applied {
        warn!(generation, trigger, faults, "started without the pipelines that have faults");
    } else {
        warn!(generation, trigger, faults, "reload rejected; the old configuration runs on");
    }
}
