//! The daemon's life: everything that can happen to it, and which part deals with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::admin::{self, Ask};
use crate::backplane;
use crate::budget::Budget;
use crate::component::{DEFAULT_LISTENER, Host};
use crate::config::{DaemonSettings, Watched, Watcher};
use crate::dead::Office;
use crate::demo;
use crate::live::{self, App, Apps, Hubs};
use crate::net::{Listener, Mount, Routes, SharedRoutes};
use crate::reload::{self, History, Record, Trigger, Workbench};
use crate::runtime::Runtime;
use crate::tasks::{Stopper, Tasks};
use crate::telemetry::{ListenerView, Observed};
use crate::wasm::Wasm;

/// How long events in flight may take to settle when the daemon stops.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);
/// How long sessions may take to say goodbye after that.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);
/// How long listeners wait for the histories on disk when the daemon starts.
const HISTORY_LIMIT: Duration = Duration::from_secs(5);
/// Reload requests that wait for the one under way.
const ASKS_MAX: usize = 16;

/// What `weir run` was asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the pipeline files are.
    pub dir: PathBuf,
    /// The daemon's settings.
    pub settings: DaemonSettings,
    /// Whether to serve the demo pages on the default listener.
    pub demo: bool,
}

/// Why the daemon could not start or ended badly.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// A listener's address cannot be used.
    #[error("cannot listen on {address} for `{name}`: {source}")]
    Bind {
        /// The listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The plugin engine does not start.
    #[error("the plugin engine does not start: {0}")]
    Wasm(#[from] crate::wasm::WasmError),
    /// The system refuses signals or threads.
    #[error("the system refuses what a daemon needs: {0}")]
    System(#[from] std::io::Error),
    /// Events were not settled when the time to stop was over.
    #[error("{0} events were not settled before the daemon had to stop")]
    Unsettled(u64),
}

/// Runs until a signal asks to stop.
///
/// # Errors
/// If the daemon cannot start, or had to stop with events in flight.
pub async fn run(options: Options) -> Result<(), DaemonError> {
    let mut daemon = Daemon::start(options).await?;
    loop {
        match daemon.next().await {
            Happening::Stop(name) => return daemon.stop(name).await,
            Happening::Hup => drop(daemon.reload(Trigger::Signal).await),
            Happening::FilesChanged => drop(daemon.reload(Trigger::Files).await),
            Happening::Asked(ask) => daemon.answer(ask).await,
        }
    }
}

/// Everything that can happen to the daemon.
enum Happening {
    Stop(&'static str),
    Hup,
    FilesChanged,
    Asked(Ask),
}

struct Daemon {
    bench: Workbench,
    runtime: Runtime,
    history: History,
    observed: Observed,
    watcher: Watcher,
    /// The admin plane holds the other end.
    asks: mpsc::Receiver<Ask>,
    hup: Signal,
    term: Signal,
    int: Signal,
    /// Asked when the listeners shall take no more connections.
    listeners: Stopper,
    /// The listeners and their connections.
    connections: Tasks,
    /// Dropped last: ends the admin plane.
    _admin: Stopper,
}

impl Daemon {
    async fn start(options: Options) -> Result<Self, DaemonError> {
        let started = Instant::now();
        let settings = Arc::new(options.settings);
        let host = host(&settings);
        host.dead.open_kept(&host.tasks, &host.goodbye.stop());
        host.hubs.start(&host.tasks, &host.goodbye.stop());
        backplane::start(&host.hubs, &settings.backplanes, &host.tasks, &host.goodbye.stop());
        host.apps.start(&host.tasks, &host.goodbye.stop());
        let wasm = Arc::new(Wasm::new(Some(settings.modules_dir()))?.apart());
        let routes = SharedRoutes::default();
        let own = own_mounts(&host, options.demo);
        let mut runtime = Runtime::new(Arc::clone(&host), Arc::clone(&routes), own);
        let history = History::default();
        let watcher = Watcher::new(watched(&options.dir, &settings))?;
        let bench = Workbench { paths: vec![options.dir], settings, wasm, host };
        let record = reload::reload(&bench, &mut runtime, Trigger::Start, &history).await;
        watcher.watch_also(record.files.clone());

        bench.host.hubs.ready(HISTORY_LIMIT).await;
        let listeners = Stopper::default();
        let connections = Tasks::default();
        let mut stats = Vec::new();
        for (name, listener) in &bench.settings.listeners {
            let bound = bind(name, listener.address).await?.with_budget(&bench.host.budget);
            let address = bound.local_addr()?;
            info!(listener = %name, %address, "listening");
            stats.push(ListenerView { name: name.clone(), address, stats: bound.stats() });
            bound.serve(Arc::clone(&routes), &connections, listeners.stop());
        }
        let observed = Observed {
            view: runtime.view(),
            history: history.clone(),
            host: Arc::clone(&bench.host),
            listeners: stats,
            started,
            is_draining: Arc::new(AtomicBool::new(false)),
        };
        let (ask, asks) = mpsc::channel(ASKS_MAX);
        let (admin, address) = start_admin(&bench.settings, &observed, ask).await?;
        announce(&observed, address, options.demo);
        Ok(Self {
            bench,
            runtime,
            history,
            observed,
            watcher,
            asks,
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            listeners,
            connections,
            _admin: admin,
        })
    }

    async fn next(&mut self) -> Happening {
        tokio::select! {
            biased;
            _ = self.term.recv() => Happening::Stop("SIGTERM"),
            _ = self.int.recv() => Happening::Stop("SIGINT"),
            _ = self.hup.recv() => Happening::Hup,
            Some(ask) = self.asks.recv() => Happening::Asked(ask),
            () = self.watcher.changed() => Happening::FilesChanged,
        }
    }

    async fn reload(&mut self, trigger: Trigger) -> Arc<Record> {
        let record = reload::reload(&self.bench, &mut self.runtime, trigger, &self.history).await;
        self.watcher.watch_also(record.files.clone());
        record
    }

    async fn answer(&mut self, ask: Ask) {
        let record = self.reload(Trigger::Api).await;
        // Whoever asked may be gone; the reload is done and remembered all the same.
        drop(ask.send(record));
    }

    /// Drains in the order that loses nothing: no new connections, no new events, what is in
    /// flight settles and reaches the live sessions, then these say goodbye.
    async fn stop(mut self, signal: &'static str) -> Result<(), DaemonError> {
        info!(signal, "stopping");
        self.observed.is_draining.store(true, Ordering::Relaxed);
        self.bench.host.draining.ask();
        self.listeners.ask();
        let settled = self.runtime.stop(SHUTDOWN_LIMIT);
        let unsettled = tokio::select! {
            unsettled = settled => unsettled,
            _ = self.term.recv() => self.runtime.in_flight(),
            _ = self.int.recv() => self.runtime.in_flight(),
        };
        self.bench.host.goodbye.ask();
        let sessions = self.bench.host.tasks.ended(GOODBYE_LIMIT).await;
        let connections = self.connections.ended(GOODBYE_LIMIT).await;
        if sessions + connections > 0 {
            warn!(sessions, connections, "left without a goodbye");
        }
        if unsettled > 0 {
            error!(unsettled, "stopped with events in flight");
            return Err(DaemonError::Unsettled(unsettled));
        }
        info!("stopped");
        Ok(())
    }
}

/// What outlives every generation, as `settings` declare it.
pub fn host(settings: &DaemonSettings) -> Arc<Host> {
    let hubs = Hubs::new(&settings.data_dir, settings.hubs.clone());
    let app = |(name, app): (&String, &live::AppSettings)| {
        let hub = hubs.get(&app.hub).expect("the settings name hubs that there are");
        (name.clone(), App::new(app.clone(), hub))
    };
    let apps = Arc::new(Apps::new(settings.apps.iter().map(app)));
    Arc::new(Host {
        data_dir: settings.data_dir.clone(),
        dead: Office::new(&settings.data_dir),
        hubs,
        apps,
        listeners: settings.listeners.keys().cloned().collect(),
        budget: Arc::new(Budget::within(settings.memory())),
        ..Host::default()
    })
}

/// What a changed file of makes the daemon reload.
fn watched(dir: &Path, settings: &DaemonSettings) -> Watched {
    let plugins = settings.plugins.iter().map(|dir| (dir.clone(), "wasm"));
    Watched {
        dirs: std::iter::once((dir.to_owned(), "toml")).chain(plugins).collect(),
        files: settings.file.iter().cloned().collect(),
    }
}

/// Tells whoever started the daemon by hand where to look.
fn announce(observed: &Observed, admin: SocketAddr, demo: bool) {
    let public = observed.listeners.iter().find(|view| view.name == DEFAULT_LISTENER);
    if let Some(public) = public.filter(|_| demo) {
        info!("publish and watch events live: http://{}{}", public.address, demo::PATH);
    }
    info!("status: http://{admin}/v1/status");
    info!("metrics: http://{admin}/metrics");
}

/// What the daemon itself serves on its listeners.
fn own_mounts(host: &Arc<Host>, demo: bool) -> Vec<Mount> {
    let goodbye = host.goodbye.stop();
    let mut mounts = live::mounts(&host.hubs, DEFAULT_LISTENER, &host.tasks, &goodbye);
    let (apps, budget) = (&host.apps, &host.budget);
    mounts.extend(live::app_mounts((apps, budget), DEFAULT_LISTENER, &host.tasks, &goodbye));
    mounts.push(demo::client::mount(DEFAULT_LISTENER));
    if demo {
        mounts.extend(demo::mounts(DEFAULT_LISTENER));
    }
    mounts
}

async fn bind(name: &str, address: SocketAddr) -> Result<Listener, DaemonError> {
    let failed = |source| DaemonError::Bind { name: name.to_owned(), address, source };
    Listener::bind(name, &address.to_string()).await.map_err(failed)
}

/// Starts the admin plane on a thread and a runtime of its own.
async fn start_admin(
    settings: &DaemonSettings,
    observed: &Observed,
    ask: mpsc::Sender<Ask>,
) -> Result<(Stopper, SocketAddr), DaemonError> {
    const NAME: &str = "admin";
    let stopper = Stopper::default();
    let mut stop = stopper.stop();
    let endpoint = admin::endpoint(observed.clone(), ask);
    let address = settings.admin;
    let (report, bound) = tokio::sync::oneshot::channel();
    let admin_runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || {
        admin_runtime.block_on(async move {
            let listener = match bind(NAME, address).await {
                Ok(listener) => listener,
                Err(error) => return drop(report.send(Err(error))),
            };
            drop(report.send(listener.local_addr().map_err(DaemonError::System)));
            let mut routes = Routes::default();
            routes.add(Mount { listener: NAME.to_owned(), path: "/*".to_owned(), endpoint });
            let tasks = Tasks::default();
            listener.serve(Arc::new(ArcSwap::from_pointee(routes)), &tasks, stop.clone());
            stop.asked().await;
            tasks.ended(Duration::from_secs(1)).await;
        });
    };
    // Not one of the host's tasks: it answers until these have ended.
    Tasks::default().thread("weir-admin".to_owned(), work)?;
    let address = bound.await.expect("the admin thread reports before it ends")?;
    info!(listener = NAME, %address, "listening");
    Ok((stopper, address))
}
