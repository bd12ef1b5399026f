//! The real daemon on a directory of its own, and what a test may ask of it.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs, thread};

use serde_json::{Value, json};

use crate::artifacts;
use crate::directory::Directory;
use crate::http::{Connection, Reply};
use crate::log::Log;
use crate::process;
use crate::subscriber::Subscriber;
use crate::wait::{eventually, within};

/// What a daemon is started with.
#[derive(Debug)]
pub struct Setup {
    directory: Directory,
    settings: String,
    variables: Vec<(String, String)>,
}

/// A running daemon; killed on drop.
#[derive(Debug)]
pub struct Weir {
    /// Its files: `weir.toml`, `pipelines/`, `data/`, and `plugins/` where a test made that.
    pub directory: Directory,
    variables: Vec<(String, String)>,
    /// Where publishers and subscribers connect to.
    pub public: SocketAddr,
    /// Where the admin API answers.
    pub admin: SocketAddr,
    // Held only to ask whether it has ended.
    child: Mutex<Child>,
    pid: u32,
    log: Arc<Log>,
    /// Kept alive between calls; whoever calls holds it.
    public_connection: tokio::sync::Mutex<Option<Connection>>,
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Exit {
    /// As the kernel says.
    pub status: ExitStatus,
    /// Everything that it logged.
    pub stderr: String,
}

impl Setup {
    /// Adds the pipeline file `name.toml`.
    pub fn pipeline(self, name: &str, text: &str) -> Self {
        self.directory.put(&format!("pipelines/{name}.toml"), text);
        self
    }

    /// Adds a file beside the pipelines, the plugins or the settings.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.directory.put(name, content);
        self
    }

    /// Adds lines to `weir.toml`, top-level keys first.
    ///
    /// Addresses, data directory and plugins are set unless these lines do.
    pub fn settings(mut self, text: &str) -> Self {
        self.settings.push_str(text);
        self.settings.push('\n');
        self
    }

    /// Sets an environment variable for the daemon.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the daemon its own copy of the plugins, which a test may change.
    pub fn own_plugins(mut self) -> Self {
        let folder = self.directory.path().join("plugins");
        fs::create_dir_all(&folder).expect("the temporary directory takes folders");
        for entry in fs::read_dir(artifacts::plugins()).expect("plugins are built").flatten() {
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a file can be copied");
        }
        // Before any table, or the key would belong to that.
        self.settings.insert_str(0, "plugins = [\"./plugins\"]\n");
        self
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(self) -> Weir {
        let weir = self.start_unready().await;
        weir.ready().await;
        weir
    }

    /// Starts the daemon and waits until it listens, ready or not.
    pub async fn start_unready(self) -> Weir {
        self.directory.put("weir.toml", self.weir_toml());
        for folder in ["pipelines", "data"] {
            fs::create_dir_all(self.directory.path().join(folder)).expect("a folder can be made");
        }
        let modules = self.directory.path().join("data/modules");
        symlink(artifacts::modules(), modules).expect("a fresh folder takes a link");
        let running = spawn(&self.directory, &self.variables).await;
        Weir {
            directory: self.directory,
            variables: self.variables,
            public: running.public,
            admin: running.admin,
            pid: running.child.id(),
            child: Mutex::new(running.child),
            log: running.log,
            public_connection: tokio::sync::Mutex::default(),
        }
    }

    /// The text of `weir.toml`.
    fn weir_toml(&self) -> String {
        let mut text = String::new();
        let missing = |key: &str| !self.settings.contains(key);
        if missing("data_dir =") {
            text.push_str("data_dir = \"./data\"\n");
        }
        if missing("plugins =") {
            text.extend(["plugins = [", &json!(artifacts::plugins()).to_string(), "]\n"]);
        }
        text.push_str(&self.settings);
        text.push('\n');
        if missing("[listener.public]") {
            text.push_str("[listener.public]\naddress = \"127.0.0.1:0\"\n");
        }
        if missing("[admin]") {
            text.push_str("[admin]\naddress = \"127.0.0.1:0\"\n");
        }
        text
    }
}

/// A process that listens.
struct Running {
    child: Child,
    log: Arc<Log>,
    public: SocketAddr,
    admin: SocketAddr,
}

/// Starts the daemon in `directory` and waits until it listens.
async fn spawn(directory: &Directory, variables: &[(String, String)]) -> Running {
    let mut command = Command::new(artifacts::weir());
    command.args(["run", "pipelines"]).current_dir(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command.env("WEIR_LOG_FORMAT", "json").env("NO_COLOR", "1");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().expect("the daemon can be started");
    let log = Log::of(child.stderr.take().expect("stderr is a pipe"));
    let addresses = eventually("listening", async || {
        let ended = child.try_wait().expect("a child can be asked");
        assert!(ended.is_none(), "the daemon gave up: {}", log.text());
        Some((log.address("public")?, log.address("admin")?))
    });
    let (public, admin) = addresses.await;
    Running { child, log, public, admin }
}

impl Weir {
    /// A setup with this one pipeline, called `test`.
    pub fn with(pipeline: &str) -> Setup {
        Self::empty().pipeline("test", pipeline)
    }

    /// A setup without a pipeline.
    pub fn empty() -> Setup {
        Setup { directory: Directory::fresh(), settings: String::new(), variables: Vec::new() }
    }

    /// Runs a `weir` command to its end, such as `check`, in the repository.
    pub fn command(arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(artifacts::weir());
        command.args(arguments).current_dir(artifacts::repository()).env("NO_COLOR", "1");
        // Pipelines of the repository may name a broker; checking one never dials it.
        command.env("AMQP_URL", "amqp://127.0.0.1:1/%2f");
        command.stdin(Stdio::null()).output().expect("the binary can be started")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the daemon on the spot, as a crash does.
    pub fn kill9(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        child.kill().expect("it was running");
        child.wait().expect("a child can be waited for");
        *self.public_connection.get_mut() = None;
    }

    /// Starts it again on the same files, at new addresses, and waits until it is ready.
    pub async fn start_again(&mut self) {
        let running = spawn(&self.directory, &self.variables).await;
        self.pid = running.child.id();
        self.child = Mutex::new(running.child);
        (self.log, self.public, self.admin) = (running.log, running.public, running.admin);
        *self.public_connection.get_mut() = None;
        self.ready().await;
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually("ready", async || (self.get("/readyz").await.status() == 200).then_some(()))
            .await;
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.log.text()
    }

    /// Posts JSON to a source, on a connection that is kept.
    pub async fn publish(&self, path: &str, body: &str) -> Reply {
        self.post(path, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Posts anything to a source, on a connection that is kept.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.call("POST", path, headers, body).await
    }

    /// Sends a request to the public listener, on a connection that is kept.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut kept = self.public_connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect().await,
        };
        let reply = within(path, connection.call(method, path, headers, body)).await;
        let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        if reply.header("connection") != Some("close") {
            *kept = Some(connection);
        }
        reply
    }

    /// A connection of one's own to the public listener.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.public).await.expect("the public listener accepts")
    }

    /// Subscribes over Server-Sent Events.
    pub async fn subscribe(&self, hub: &str, channels: &[&str]) -> Subscriber {
        let query: Vec<String> = channels.iter().map(|name| format!("channel={name}")).collect();
        let path = format!("/live/{hub}/sse?{}", query.join("&"));
        Subscriber::sse(self.public, &path, &[]).await
    }

    /// Subscribes over WebSocket.
    pub async fn subscribe_websocket(&self, hub: &str, channels: &[&str]) -> Subscriber {
        let mut subscriber = Subscriber::websocket(self.public, &format!("/live/{hub}/ws")).await;
        subscriber.sub(channels, &Value::Null).await;
        subscriber
    }

    /// Replaces a file of the daemon's directory in one step.
    pub fn edit(&self, file: &str, text: impl AsRef<[u8]>) {
        self.directory.put(file, text);
    }

    /// Asks for a reload and answers what came of it.
    pub async fn reload(&self) -> Reply {
        self.admin("POST", "/v1/reload").await
    }

    /// `GET` from the admin API.
    pub async fn get(&self, path: &str) -> Reply {
        self.admin("GET", path).await
    }

    /// A request to the admin API.
    pub async fn admin(&self, method: &str, path: &str) -> Reply {
        let mut connection = Connection::open(self.admin).await.expect("the admin API accepts");
        let reply = within(path, connection.call(method, path, &[], b"")).await;
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Value {
        self.get("/v1/status").await.json()
    }

    /// The sum of a metric's series that carry all these labels; 0 where there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.get("/metrics").await.text();
        let series = text.lines().filter_map(|line| line.rsplit_once(' '));
        let wanted = series.filter(|(key, _)| {
            let (found, rest) = key.split_once('{').unwrap_or((key, ""));
            let has = |label: &(&str, &str)| rest.contains(&format!("{}=\"{}\"", label.0, label.1));
            found == name && labels.iter().all(has)
        });
        wanted.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric is at least `value`.
    pub async fn metric_reaches(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} >= {value}");
        eventually(&what, async || (self.metric(name, labels).await >= value).then_some(())).await;
    }

    /// Open file descriptors of the daemon.
    pub fn open_files(&self) -> usize {
        process::open_files(self.pid)
    }

    /// Threads of the daemon.
    pub fn threads(&self) -> usize {
        process::threads(self.pid)
    }

    /// Sends a signal such as `HUP`.
    pub fn signal(&self, name: &str) {
        assert!(process::signal(self.pid, name).success(), "no process to signal");
    }

    /// Asks it to stop with SIGTERM and waits until it has, its books balanced.
    pub async fn stop(&self) -> Exit {
        let unaccounted = self.metric("weir_events_unaccounted_total", &[]).await;
        assert!(unaccounted == 0.0, "{unaccounted} events are unaccounted for: {}", self.stderr());
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Exit {
        let status = eventually("the end of the daemon", async || {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            child.try_wait().expect("a child can be asked")
        });
        Exit { status: status.await, stderr: self.stderr() }
    }
}

impl Drop for Weir {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the daemon said")]
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Both fail only when it has ended already.
        child.kill().ok();
        child.wait().ok();
        if thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log.text());
        }
    }
}

impl Exit {
    /// Asserts exit code 0, no panic on the way, and that nobody had to be left behind.
    pub fn clean(&self) -> &Self {
        assert!(!self.stderr.contains("left without a goodbye"), "{}", self.stderr);
        self.regular()
    }

    /// Asserts exit code 0 and no panic on the way.
    pub fn regular(&self) -> &Self {
        let signal = self.status.signal();
        assert_eq!(self.status.code(), Some(0), "signal {signal:?}: {}", self.stderr);
        assert!(!self.stderr.contains("panicked at"), "{}", self.stderr);
        self
    }
}
