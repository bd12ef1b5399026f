//! Many subscribers at once, at little cost to the machine they share with the daemon.
//!
//! They count one marker byte in what they receive and parse nothing else, so they also work
//! against servers that pack several events into a frame, or speak another protocol. A time behind
//! the marker says when the event was published.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::{Connection, request};
use crate::wait::{DEADLINE, eventually};

/// What times are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How often a WebSocket shows that it is there, whether it is asked or not.
const SIGN_EVERY: Duration = Duration::from_secs(7);

/// What the kernel receives for a subscriber that does not read, in bytes.
const NARROW: u32 = 4 << 10;

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
    /// Whether the times of the events are looked at.
    is_timed: AtomicBool,
    /// How long each event took, in microseconds. Held to add a few, hence a std mutex.
    latencies: Mutex<Vec<u32>>,
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
    /// The text that shows a server that somebody is there.
    pub sign: &'static str,
}

/// One subscriber of an audience.
#[derive(Debug)]
struct Reader {
    mark: u8,
    /// The frame that is being read, on a WebSocket.
    frame: Option<Frame>,
    stamp: Stamp,
    seen: Arc<Seen>,
}

/// Where in a WebSocket's frames a reader is. Any byte may stand in a header, the marker too.
#[derive(Debug, Default)]
struct Frame {
    head: Vec<u8>,
    /// Bytes of the payload that are still to come.
    left: u64,
}

/// A time that is being read.
#[derive(Debug, Default)]
struct Stamp(Option<u64>);

/// The time now, to be written behind the marker of an event.
pub fn stamp() -> String {
    format!("{};", START.elapsed().as_micros())
}

/// A connection for which the kernel receives little that is not read.
///
/// # Errors
/// If nobody listens.
pub async fn narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(NARROW)?;
    socket.connect(address).await
}

impl Reader {
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let payload = match &mut self.frame {
                Some(frame) => frame.next(&mut bytes),
                None => std::mem::take(&mut bytes),
            };
            if self.seen.is_timed.load(Ordering::Relaxed) {
                self.time(payload);
            }
            // Last, because whoever waits for the count may then ask for the times.
            let marks = payload.iter().filter(|byte| **byte == self.mark).count();
            self.seen.marks.fetch_add(marks as u64, Ordering::Relaxed);
        }
    }

    fn time(&mut self, payload: &[u8]) {
        let now = START.elapsed().as_micros() as u64;
        let mut latencies = self.seen.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in payload {
            if let Some(published) = self.stamp.read(*byte, self.mark) {
                latencies.push(u32::try_from(now.saturating_sub(published)).unwrap_or(u32::MAX));
            }
        }
    }
}

impl Frame {
    /// Takes the next part of a payload from `bytes`; empty where there is only a header.
    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        while self.left == 0 {
            let Some((byte, rest)) = bytes.split_first() else { return &[] };
            *bytes = rest;
            self.head.push(*byte);
            // Servers send no masks, so a header is two bytes and a longer length.
            let length = match (self.head.get(1), &self.head[..]) {
                (Some(126), [_, _, length @ ..]) if length.len() == 2 => big_endian(length),
                (Some(127), [_, _, length @ ..]) if length.len() == 8 => big_endian(length),
                (Some(126 | 127) | None, _) => continue,
                (Some(length), _) => u64::from(*length),
            };
            self.left = length;
            self.head.clear();
        }
        let length = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (payload, rest) = bytes.split_at(length);
        *bytes = rest;
        self.left -= length as u64;
        payload
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Stamp {
    /// Takes the next byte in, and answers the time that it ends.
    fn read(&mut self, byte: u8, mark: u8) -> Option<u64> {
        match (byte, self.0) {
            (b'0'..=b'9', Some(read)) => {
                self.0 = Some(read.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
                None
            }
            (b';', _) => self.0.take(),
            _ => {
                self.0 = (byte == mark).then_some(0);
                None
            }
        }
    }
}

impl Audience {
    /// Opens `size` subscribers and waits until each is subscribed.
    pub async fn open(address: SocketAddr, size: u64, dialect: &Dialect, mark: u8) -> Self {
        let seen = Arc::new(Seen::default());
        let mut readers = JoinSet::new();
        for _ in 0..size {
            let (stream, early) = dialect.connect(address).await.expect("a subscriber is let in");
            let frame = dialect.is_websocket.then(Frame::default);
            let seen = Arc::clone(&seen);
            let mut reader = Reader { mark, frame, stamp: Stamp::default(), seen };
            reader.read(&early);
            readers.spawn(listen(stream, reader, dialect.sign()));
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

    /// Looks from now on at how long events with a [`stamp`] take.
    pub fn time(&self) {
        self.seen.is_timed.store(true, Ordering::Relaxed);
    }

    /// How long each event took since [`time`](Self::time), in microseconds, sorted.
    pub fn latencies(&self) -> Vec<u32> {
        self.seen.is_timed.store(false, Ordering::Relaxed);
        let mut latencies = self.seen.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *latencies);
        taken.sort_unstable();
        taken
    }

    /// Disconnects all of them.
    pub async fn leave(mut self) {
        self.readers.shutdown().await;
    }
}

impl Dialect {
    /// A WebSocket of the live protocol, subscribed to these channels.
    pub fn websocket(hub: &str, channels: &[&str]) -> Self {
        let sub = format!(r#"{{"type":"sub","ref":1,"channels":{channels:?}}}"#);
        let greeting = vec![(sub, "\"subok\"".to_owned())];
        let sign = r#"{"type":"pong"}"#;
        Self { path: format!("/live/{hub}/ws"), greeting, is_websocket: true, sign }
    }

    /// An event stream of the live protocol, subscribed to these channels.
    pub fn sse(hub: &str, channels: &[&str]) -> Self {
        let path = format!("/live/{hub}/sse?channel={}", channels.join("&channel="));
        let greeting = vec![(String::new(), "welcome".to_owned())];
        Self { path, greeting, is_websocket: false, sign: "" }
    }

    /// A client of the Pusher protocol, subscribed to these channels.
    pub fn pusher(key: &str, channels: &[&str]) -> Self {
        let sub = |channel: &&str| {
            let sub = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
            (sub, format!(r#"subscription_succeeded","channel":"{channel}""#))
        };
        let greeting = channels.iter().map(sub).collect();
        let path = format!("/app/{key}?protocol=7&client=js&version=8.6.0");
        let sign = r#"{"event":"pusher:pong","data":{}}"#;
        Self { path, greeting, is_websocket: true, sign }
    }

    /// A client of socket.io, in these rooms.
    pub fn socket_io(rooms: &[&str]) -> Self {
        let path = "/socket.io/?EIO=4&transport=websocket".to_owned();
        let mut greeting = vec![("40".to_owned(), "40{".to_owned())];
        let joins = rooms.iter().enumerate();
        greeting.extend(
            joins.map(|(n, room)| (format!(r#"42{n}["join","{room}"]"#), format!("43{n}["))),
        );
        Self { path, greeting, is_websocket: true, sign: "3" }
    }

    /// A client of NATS on its WebSocket listener, subscribed to these subjects.
    pub fn nats(subjects: &[&str]) -> Self {
        let subs = subjects.iter().enumerate();
        let subs: Vec<_> = subs.map(|(n, subject)| format!("SUB {subject} {n}\r\n")).collect();
        let all = format!("CONNECT {{\"verbose\":false}}\r\n{}PING\r\n", subs.concat());
        let greeting = vec![(all, "PONG\r\n".to_owned())];
        Self { path: "/".to_owned(), greeting, is_websocket: true, sign: "PONG\r\n" }
    }

    /// The subscribed connection, and what came on it so far.
    ///
    /// # Errors
    /// If the server closes it or does not answer.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<(TcpStream, BytesMut)> {
        self.greet(Connection::open(address).await?).await
    }

    /// A subscribed connection on which nothing more will be read, whatever comes.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn stall(&self, address: SocketAddr) -> io::Result<TcpStream> {
        Ok(self.greet(Connection::over(narrow(address).await?)).await?.0)
    }

    async fn greet(&self, mut connection: Connection) -> io::Result<(TcpStream, BytesMut)> {
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

    /// The frame that shows that somebody is there, if there is one.
    fn sign(&self) -> Option<Vec<u8>> {
        self.is_websocket.then(|| masked_text(self.sign))
    }
}

/// Reads what comes until the connection closes.
async fn listen(mut stream: TcpStream, mut reader: Reader, sign: Option<Vec<u8>>) {
    let mut buffer = vec![0; 16 << 10];
    let mut due = Instant::now() + SIGN_EVERY;
    loop {
        match timeout_at(due, stream.read(&mut buffer)).await {
            Ok(Ok(length @ 1..)) => reader.read(&buffer[..length]),
            Ok(_) => break,
            Err(_) => {}
        }
        if Instant::now() >= due {
            due += SIGN_EVERY;
            if let Some(sign) = &sign
                && stream.write_all(sign).await.is_err()
            {
                break;
            }
        }
    }
    reader.seen.closed.fetch_add(1, Ordering::Relaxed);
}

/// A text frame as browsers send it; with a mask of zeros, which leaves the text as it is.
fn masked_text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126);
    let mut frame = vec![0x81, 0x80 | length.expect("greetings are short"), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}
