//! Other servers to measure beside the daemon: child processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::artifacts::repository;
use crate::directory::Directory;
use crate::wait::eventually;

/// A server in a process of its own; killed on drop.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Kept open, so that the server may go on printing.
    _stdout: Option<BufReader<ChildStdout>>,
    /// Its files, if it has any.
    _directory: Option<Directory>,
}

impl Peer {
    /// Starts a server that prints `listening ADDRESS` as its first line.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a server can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a server prints text");
        let address = line.trim().strip_prefix("listening ").and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{command:?} printed {line:?}"));
        Self { child, address, _stdout: Some(stdout), _directory: None }
    }

    /// The stack that Weir replaces: express and socket.io, and amqplib with confirms if there is
    /// a broker at `amqp_url`. `None` where there is no Node or its packages cannot be had.
    pub fn express_socketio(amqp_url: Option<&str>) -> Option<Self> {
        let folder = express_socketio_folder();
        if !folder.join("node_modules/socket.io").is_dir() {
            let mut install = Command::new("npm");
            install.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]);
            install.current_dir(&folder).stdout(Stdio::null());
            install.status().ok().filter(|status| status.success())?;
        }
        let mut node = Command::new("node");
        node.arg("server.js").current_dir(&folder).env("NODE_ENV", "production");
        if let Some(url) = amqp_url {
            node.env("AMQP_URL", url);
        }
        Some(Self::start(node))
    }

    /// NATS with a WebSocket listener, and where it speaks its own protocol. `None` where there is
    /// no `nats-server`.
    pub async fn nats() -> Option<(Self, SocketAddr)> {
        let directory = Directory::fresh();
        let folder = directory.path().display().to_string();
        let listen = "listen: \"127.0.0.1:-1\"";
        directory.put(
            "nats.conf",
            format!(
                "{listen}\nports_file_dir: \"{folder}\"\nping_interval: \"10m\"\n\
                 websocket {{ {listen}, no_tls: true }}\n"
            ),
        );
        let mut nats = Command::new("nats-server");
        nats.args(["-c", &format!("{folder}/nats.conf")]).stderr(Stdio::null());
        let child = nats.spawn().ok()?;
        let ports = directory.path().join(format!("nats-server_{}.ports", child.id()));
        let told = eventually("the ports of nats-server", async || {
            serde_json::from_str::<Value>(&fs::read_to_string(&ports).ok()?).ok()
        });
        let told = told.await;
        let address = |kind: &str| {
            let url = told[kind][0].as_str().and_then(|url| url.rsplit_once('/'));
            url.and_then(|(_, address)| address.parse().ok()).expect("a URL for each listener")
        };
        let (address, own) = (address("websocket"), address("nats"));
        Some((Self { child, address, _stdout: None, _directory: Some(directory) }, own))
    }

    /// Sockudo with one app: id, key and secret. `None` where there is no `sockudo`.
    pub async fn sockudo(app: (&str, &str, &str)) -> Option<Self> {
        let directory = Directory::fresh();
        let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = probe.local_addr().expect("a bound listener has an address");
        drop(probe);
        let mut sockudo = Command::new("sockudo");
        sockudo
            .current_dir(directory.path())
            .envs([("HOST", "127.0.0.1"), ("PORT", &address.port().to_string())])
            .envs([("ADAPTER_DRIVER", "local"), ("CACHE_DRIVER", "memory")])
            .envs([("QUEUE_DRIVER", "memory"), ("APP_MANAGER_DRIVER", "memory")])
            .envs([("RATE_LIMITER_ENABLED", "false"), ("METRICS_ENABLED", "false")])
            .envs([("SOCKUDO_DEFAULT_APP_ID", app.0), ("SOCKUDO_DEFAULT_APP_KEY", app.1)])
            .envs([("SOCKUDO_DEFAULT_APP_SECRET", app.2)])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = sockudo.spawn().ok()?;
        let peer = Self { child, address, _stdout: None, _directory: Some(directory) };
        eventually("sockudo listens", async || TcpStream::connect(address).ok()).await;
        Some(peer)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn express_socketio_folder() -> PathBuf {
    repository().join("tests/bench/peers/express-socketio")
}
