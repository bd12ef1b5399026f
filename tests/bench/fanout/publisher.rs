//! How events get into each server: on one connection, and each batch is answered before the next.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest as _, Md5};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weir::auth::signature::Secret;
use weir_harness::Connection;
use weir_harness::load::post;

/// The one app of servers that speak the Pusher protocol.
pub(super) const APP: (&str, &str, &str) = ("1", "bench-key", "bench-secret");

/// Events that one request of the Pusher protocol may have.
const PUSHER_BATCH: usize = 10;

/// The language in which events are published.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire {
    /// One JSON value per line, to the daemon's HTTP source.
    Weir,
    /// A JSON array, to express.
    Express,
    /// Signed batches of Pusher's HTTP API.
    Pusher,
    /// The text protocol of NATS.
    Nats,
}

/// A publisher.
pub(super) enum Publisher {
    Http(Connection, Wire),
    Nats(TcpStream),
}

impl Publisher {
    pub(super) async fn connect(address: SocketAddr, wire: Wire) -> Self {
        if !matches!(wire, Wire::Nats) {
            let connection = Connection::open(address).await.expect("the server accepts");
            return Self::Http(connection, wire);
        }
        let mut stream = TcpStream::connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a fresh socket");
        stream.write_all(b"CONNECT {\"verbose\":false}\r\n").await.expect("an open socket");
        Self::Nats(stream)
    }

    /// Publishes all `events` on `channel` and waits until the server has taken them.
    pub(super) async fn publish(&mut self, channel: &str, events: &[String]) {
        match self {
            Self::Nats(stream) => {
                let publish =
                    |event: &String| format!("PUB {channel} {}\r\n{event}\r\n", event.len());
                let text = events.iter().map(publish).collect::<String>() + "PING\r\n";
                stream.write_all(text.as_bytes()).await.expect("an open socket");
                ponged(stream).await;
            }
            Self::Http(connection, Wire::Pusher) => {
                for batch in events.chunks(PUSHER_BATCH) {
                    send(connection, &pusher_batch(channel, batch)).await;
                }
            }
            Self::Http(connection, wire) => {
                let path = format!("/in?type={channel}");
                let request = if matches!(wire, Wire::Express) {
                    let body = format!("[{}]", events.join(","));
                    post(&path, "application/json", body.as_bytes())
                } else {
                    post(&path, "application/x-ndjson", events.join("\n").as_bytes())
                };
                send(connection, &request).await;
            }
        }
    }
}

async fn send(connection: &mut Connection, request: &[u8]) {
    let status = connection.exchange(request).await.expect("a reply comes");
    assert_eq!(status, 200, "an event was refused");
}

/// Reads up to the answer to a `PING`; the server asks the same of its own.
async fn ponged(stream: &mut TcpStream) {
    let mut received = Vec::new();
    while !received.windows(6).any(|window| window == b"PONG\r\n") {
        let length = stream.read_buf(&mut received).await.expect("an open socket");
        assert!(length > 0, "the server hung up: {}", String::from_utf8_lossy(&received));
    }
    if received.windows(6).any(|window| window == b"PING\r\n") {
        stream.write_all(b"PONG\r\n").await.expect("an open socket");
    }
}

/// A signed request with `events`.
fn pusher_batch(channel: &str, events: &[String]) -> Vec<u8> {
    let (id, key, secret) = APP;
    let event = |data| json!({"name": "event", "channel": channel, "data": data});
    let batch: Vec<_> = events.iter().map(event).collect();
    let body = json!({ "batch": batch }).to_string();
    let digest = Md5::digest(body.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let path = format!("/apps/{id}/batch_events");
    let query = format!("auth_key={key}&auth_timestamp={now}&auth_version=1.0&body_md5={digest}");
    let signed = format!("POST\n{path}\n{query}");
    let signature = Secret::new(secret).sign(&[signed.as_bytes()]);
    post(&format!("{path}?{query}&auth_signature={signature}"), "application/json", body.as_bytes())
}
