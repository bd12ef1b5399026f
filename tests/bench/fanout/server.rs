//! The servers that are measured, each started for itself with nothing else going on.

use std::net::SocketAddr;
use std::pin::Pin;

use weir_harness::Weir;
use weir_harness::audience::Dialect;
use weir_harness::peer::Peer;

use super::publisher::{APP, Publisher, Wire};

/// The names of the rows that the promises are about.
pub(super) const WEBSOCKET: &str = "weir, WebSocket";
pub(super) const SSE: &str = "weir, SSE";

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

const PUSHER: &str = r#"
[[source]]
type = "pusher"
app = "bench"

[[sink]]
type = "broadcast"
hub = "main"
"#;

/// A running server.
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Where subscribers connect to.
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    /// How they subscribe.
    pub(super) dialect: fn(&[&str]) -> Dialect,
    /// Where and how publishers publish.
    entry: (SocketAddr, Wire),
    /// Ends it when it is dropped.
    _life: Life,
}

#[expect(dead_code, reason = "they are held for their drop alone")]
enum Life {
    Weir(Box<Weir>),
    Peer(Peer),
}

/// Starts a server, or says why there is none.
type Start = fn() -> Pin<Box<dyn Future<Output = Result<Server, String>>>>;

impl Server {
    /// All of them, the daemon first.
    pub(super) const ALL: &[Start] = &[
        || Box::pin(weir(WEBSOCKET, |channels| Dialect::websocket("main", channels))),
        || Box::pin(weir(SSE, |channels| Dialect::sse("main", channels))),
        || Box::pin(weir_pusher()),
        || Box::pin(nats()),
        || Box::pin(async { socket_io() }),
        || Box::pin(sockudo()),
    ];

    pub(super) async fn publisher(&self) -> Publisher {
        Publisher::connect(self.entry.0, self.entry.1).await
    }
}

async fn weir(name: &'static str, dialect: fn(&[&str]) -> Dialect) -> Result<Server, String> {
    let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
    Ok(of_weir(name, weir, dialect, Wire::Weir))
}

async fn weir_pusher() -> Result<Server, String> {
    let (id, key, secret) = APP;
    let app = format!(
        "[hub.main]\n[app.bench]\nid = \"{id}\"\nkey = \"{key}\"\nsecret = \"{secret}\"\nhub = \"main\""
    );
    let weir = Weir::with(PUSHER).settings(&app).start().await;
    let dialect = |channels: &[&str]| Dialect::pusher(APP.1, channels);
    Ok(of_weir("weir, Pusher protocol", weir, dialect, Wire::Pusher))
}

fn of_weir(name: &'static str, weir: Weir, dialect: fn(&[&str]) -> Dialect, wire: Wire) -> Server {
    let (address, pid) = (weir.public, weir.pid());
    let life = Life::Weir(Box::new(weir));
    Server { name, address, pid, dialect, entry: (address, wire), _life: life }
}

async fn nats() -> Result<Server, String> {
    let (peer, entry) =
        Peer::nats().await.ok_or("nats-server is not in PATH; Debian has it as nats-server")?;
    Ok(of_peer("nats-server, WebSocket", peer, Dialect::nats, (entry, Wire::Nats)))
}

fn socket_io() -> Result<Server, String> {
    let peer = Peer::express_socketio(None)
        .ok_or("express + socket.io: there is no Node, or its packages cannot be had")?;
    let entry = (peer.address, Wire::Express);
    Ok(of_peer("express + socket.io", peer, Dialect::socket_io, entry))
}

async fn sockudo() -> Result<Server, String> {
    let peer = Peer::sockudo(APP)
        .await
        .ok_or("sockudo is not in PATH; `cargo install --locked sockudo` builds it")?;
    let entry = (peer.address, Wire::Pusher);
    Ok(of_peer("sockudo", peer, |channels| Dialect::pusher(APP.1, channels), entry))
}

fn of_peer(
    name: &'static str,
    peer: Peer,
    dialect: fn(&[&str]) -> Dialect,
    entry: (SocketAddr, Wire),
) -> Server {
    Server { name, address: peer.address, pid: peer.pid(), dialect, entry, _life: Life::Peer(peer) }
}
