//! Other servers to measure beside the daemon: child processes that say where they listen.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::artifacts::repository;

/// A server in a process of its own; killed on drop.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Kept open, so that the server may go on printing.
    _stdout: BufReader<ChildStdout>,
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
        Self { child, address, _stdout: stdout }
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
