//! Many publishers at once, at little cost to the machine they share with the daemon.
//!
//! They send one prepared request again and again and look at nothing but the status.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::http::{Connection, request};
use crate::process;
use crate::wait::DEADLINE;

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
        share_millis(&self.latencies, share)
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

/// The latency in milliseconds that this share of `sorted` microseconds stayed below.
pub fn share_millis(sorted: &[u32], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
}

/// The bytes of a POST of `body`.
pub fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    request("POST", path, &[("content-type", content_type)], body)
}

/// Publishes for that long, each connection its next request after the last answer.
pub async fn run(
    address: SocketAddr,
    connections: usize,
    prepared: &[u8],
    duration: Duration,
) -> Load {
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
