//! Many publishers and many subscribers at once, at little cost to the machine they share.
//!
//! Publishers send one prepared request again and again and look at nothing but the status.
//! Subscribers count one marker byte in what they receive and parse nothing, so they also work
//! against servers that pack several events into a frame, or speak another protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::http::{Connection, request};
use crate::process;
use crate::wait::{DEADLINE, eventually};

/// What a run of publishers came to.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests answered with 2xx.
    pub succeeded: u64,
    /// Requests answered otherwise, or not at all.
    pub failed: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// CPU time of the server meanwhile.
    pub cpu: Duration,
    /// How long each request took, in microseconds, sorted.
    latencies: Vec<u32>,
}

/// Subscribers that count what they receive.
#[derive(Debug)]
pub struct Audience {
    readers: JoinSet<()>,
    seen: Arc<Seen>,
    size: u64,
}

/// What all readers of an audience have seen; each holds a handle.
#[derive(Debug, Default)]
struct Seen {
    marks: AtomicU64,
    closed: AtomicU64,
}

/// How a subscriber of an [`Audience`] is opened.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The path of the WebSocket or the event stream.
    pub path: String,
    /// Text frames to send, each with what must be received before the next step.
    pub greeting: Vec<(String, String)>,
    /// Whether it is a WebSocket; else it is an event stream.
    pub is_websocket: bool,
}

impl Seen {
    fn count(&self, bytes: &[u8], mark: u8) {
        let marks = bytes.iter().filter(|byte| **byte == mark).count();
        self.marks.fetch_add(marks as u64, Ordering::Relaxed);
    }
}

impl Load {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.succeeded as f64 / self.elapsed.as_secs_f64()
    }

    /// The server's CPU time in microseconds per request, or per event with `events` in each.
    pub fn cpu_micros(&self, events: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.succeeded * events) as f64
    }

    /// The latency in milliseconds that this share of the requests stayed below.
    pub fn latency_millis(&self, share: f64) -> f64 {
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(index).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    }
}

/// Sends `body` to the source at `path` on `connections` connections for `duration`.
///
/// A short warm-up comes before it and is not counted.
pub async fn flat_out(
    server: (SocketAddr, u32),
    connections: usize,
    prepared: &[u8],
    duration: Duration,
) -> Load {
    let (address, pid) = server;
    run(address, connections, prepared, duration / 5).await;
    let before = process::cpu(pid);
    let mut load = run(address, connections, prepared, duration).await;
    load.cpu = process::cpu(pid) - before;
    load
}

/// Sends `prepared` at `rate` requests per second in all, whatever the answers take.
///
/// Latencies count from when a request was due, so that a server that stalls shows.
pub async fn paced(
    address: SocketAddr,
    connections: usize,
    prepared: &[u8],
    rate: f64,
    duration: Duration,
) -> Load {
    let start = Instant::now();
    let prepared: Arc<[u8]> = prepared.into();
    let mut publishers = JoinSet::new();
    for index in 0..connections {
        let pace = Duration::from_secs_f64(connections as f64 / rate);
        let first = start + pace.mul_f64(index as f64 / connections as f64);
        let pace = Some((first, pace));
        publishers.spawn(publish(address, Arc::clone(&prepared), start + duration, pace));
    }
    gather(publishers, start).await
}

/// The bytes of a POST of `body`.
pub fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    request("POST", path, &[("content-type", content_type)], body)
}

async fn run(address: SocketAddr, connections: usize, prepared: &[u8], duration: Duration) -> Load {
    let start = Instant::now();
    let prepared: Arc<[u8]> = prepared.into();
    let mut publishers = JoinSet::new();
    for _ in 0..connections {
        publishers.spawn(publish(address, Arc::clone(&prepared), start + duration, None));
    }
    gather(publishers, start).await
}

/// What publishers that began at `start` came to.
async fn gather(publishers: JoinSet<(u64, Vec<u32>)>, start: Instant) -> Load {
    let mut load = Load::default();
    for (failed, latencies) in publishers.join_all().await {
        load.failed += failed;
        load.succeeded += latencies.len() as u64;
        load.latencies.extend(latencies);
    }
    load.elapsed = start.elapsed();
    load.latencies.sort_unstable();
    load
}

/// One publisher: how many requests failed, and how long each of the others took. With a `pace`
/// the first is due at its time, and one after each interval.
async fn publish(
    address: SocketAddr,
    prepared: Arc<[u8]>,
    end: Instant,
    pace: Option<(Instant, Duration)>,
) -> (u64, Vec<u32>) {
    let mut latencies = Vec::new();
    let mut failed = 0;
    let Ok(mut connection) = Connection::open(address).await else { return (1, latencies) };
    for request in 0.. {
        let due = pace.map(|(first, interval)| first + interval * request);
        let start = due.unwrap_or_else(Instant::now);
        if start >= end {
            break;
        }
        // A timer that is due already still takes a millisecond.
        if due.is_some() {
            sleep_until(start).await;
        }
        match timeout(DEADLINE, connection.exchange(&prepared)).await {
            Ok(Ok(200..300)) => {
                latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(Ok(_)) => failed += 1,
            Ok(Err(_)) | Err(_) => return (failed + 1, latencies),
        }
    }
    (failed, latencies)
}

impl Audience {
    /// Opens `size` subscribers and waits until each is subscribed.
    pub async fn open(address: SocketAddr, size: u64, dialect: &Dialect, mark: u8) -> Self {
        let seen = Arc::new(Seen::default());
        let mut readers = JoinSet::new();
        for _ in 0..size {
            let (stream, early) = dialect.connect(address).await.expect("a subscriber is let in");
            seen.count(&early, mark);
            readers.spawn(count(stream, mark, Arc::clone(&seen)));
        }
        Self { readers, seen, size }
    }

    /// How many subscribers there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Events received so far, by all of them together.
    pub fn received(&self) -> u64 {
        self.seen.marks.load(Ordering::Relaxed)
    }

    /// Subscribers whose connection was closed.
    pub fn closed(&self) -> u64 {
        self.seen.closed.load(Ordering::Relaxed)
    }

    /// Waits until `events` were received.
    pub async fn receives(&self, events: u64) {
        eventually("the deliveries", async || (self.received() >= events).then_some(())).await;
    }

    /// Disconnects all of them.
    pub async fn leave(mut self) {
        self.readers.shutdown().await;
    }
}

impl Dialect {
    /// A WebSocket of the live protocol, subscribed to one channel.
    pub fn websocket(hub: &str, channel: &str) -> Self {
        let sub = format!(r#"{{"type":"sub","ref":1,"channels":["{channel}"]}}"#);
        let greeting = vec![(sub, "\"subok\"".to_owned())];
        Self { path: format!("/live/{hub}/ws"), greeting, is_websocket: true }
    }

    /// An event stream of the live protocol, subscribed to one channel.
    pub fn sse(hub: &str, channel: &str) -> Self {
        let path = format!("/live/{hub}/sse?channel={channel}");
        Self { path, greeting: vec![(String::new(), "welcome".to_owned())], is_websocket: false }
    }

    /// A client of socket.io, in the room `room`.
    pub fn socket_io(room: &str) -> Self {
        let path = "/socket.io/?EIO=4&transport=websocket".to_owned();
        let join = format!(r#"420["join","{room}"]"#);
        let greeting = vec![("40".to_owned(), "40{".to_owned()), (join, "430[".to_owned())];
        Self { path, greeting, is_websocket: true }
    }

    /// The subscribed connection, and what came on it so far.
    async fn connect(&self, address: SocketAddr) -> io::Result<(TcpStream, BytesMut)> {
        let mut connection = Connection::open(address).await?;
        let upgrade = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = if self.is_websocket { &upgrade[..] } else { &[] };
        connection.send(&request("GET", &self.path, headers, b"")).await?;
        connection.head().await?;
        let (mut stream, mut received) = connection.into_parts();
        for (text, answer) in &self.greeting {
            if self.is_websocket {
                stream.write_all(&masked_text(text)).await?;
            }
            while !received.windows(answer.len()).any(|window| window == answer.as_bytes()) {
                if timeout(DEADLINE, stream.read_buf(&mut received)).await?? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok((stream, received))
    }
}

/// Counts the marks that come until the connection closes.
async fn count(mut stream: TcpStream, mark: u8, seen: Arc<Seen>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        seen.count(&buffer[..length], mark);
    }
    seen.closed.fetch_add(1, Ordering::Relaxed);
}

/// A text frame as browsers send it; with a mask of zeros, which leaves the text as it is.
fn masked_text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126);
    let mut frame = vec![0x81, 0x80 | length.expect("greetings are short"), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}
