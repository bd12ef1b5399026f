//! What a delivery to a live subscriber and an idle subscriber cost.
//!
//! Bursts of events go to 1,000 subscribers, each as soon as the last has arrived everywhere;
//! then thousands of subscribers do nothing while the daemon's memory is looked at.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::net::SocketAddr;
use std::process;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_harness::load::{self, Audience, Dialect};
use weir_harness::peer::Peer;
use weir_harness::process::{cpu, rss_kib};
use weir_harness::{Connection, Weir};

const SUBSCRIBERS: u64 = 1_000;
const IDLE: u64 = 5_000;
const DURATION: Duration = Duration::from_secs(5);
/// Events of a burst.
const BURST: u64 = 50;
/// Stands once in every event, and nowhere else.
const MARK: u8 = b'~';

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

/// What a run came to.
struct Run {
    deliveries: u64,
    cpu: Duration,
    elapsed: Duration,
}

pub(crate) async fn run() {
    println!("\nFan-out of events of 150 bytes to {SUBSCRIBERS} subscribers");
    println!("{:<44}{:>14}{:>18}", "", "deliveries/s", "µs CPU/delivery");
    let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
    let server = (weir.public, weir.pid());
    let lines = ndjson(BURST);
    for (name, dialect) in
        [("WebSocket", Dialect::websocket("main", "burst")), ("SSE", Dialect::sse("main", "burst"))]
    {
        let audience = Audience::open(weir.public, SUBSCRIBERS, &dialect, MARK).await;
        let run = bursts(server, &audience, &lines).await;
        row(&format!("weir, {name}, bursts of {BURST}"), &run);
        let run = single(server, &audience, &ndjson(1)).await;
        row(&format!("weir, {name}, 20 events a second"), &run);
        if audience.closed() > 0 {
            println!("{} subscribers were CLOSED", audience.closed());
            process::exit(1);
        }
        audience.leave().await;
    }
    weir.stop().await.clean();
    match Peer::express_socketio(None) {
        Some(peer) => measure_socket_io(&peer).await,
        None => println!("express + socket.io: SKIPPED, no Node or no packages"),
    }

    println!("\nMemory of an idle subscriber, {IDLE} of them, KiB of RSS");
    for (name, dialect) in
        [("WebSocket", Dialect::websocket("main", "idle")), ("SSE", Dialect::sse("main", "idle"))]
    {
        let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
        let each = idle((weir.public, weir.pid()), &dialect).await;
        println!("{:<44}{each:>14.1}", format!("weir, {name}"));
        weir.stop().await.clean();
    }
}

async fn measure_socket_io(peer: &Peer) {
    let server = (peer.address, peer.pid());
    let audience =
        Audience::open(peer.address, SUBSCRIBERS, &Dialect::socket_io("burst"), MARK).await;
    let run = bursts(server, &audience, &array(BURST)).await;
    row(&format!("express + socket.io, bursts of {BURST}"), &run);
    let run = single(server, &audience, &array(1)).await;
    row("express + socket.io, 20 events a second", &run);
    audience.leave().await;
}

/// Bursts one after the other, each when the last has arrived everywhere.
async fn bursts(server: (SocketAddr, u32), audience: &Audience, burst: &[u8]) -> Run {
    let (address, pid) = server;
    let mut publisher = Connection::open(address).await.expect("the listener accepts");
    let (start, before) = (Instant::now(), cpu(pid));
    let first = audience.received();
    let mut sent = 0;
    while start.elapsed() < DURATION {
        publish(&mut publisher, burst).await;
        sent += BURST * audience.size();
        audience.receives(first + sent).await;
    }
    Run { deliveries: sent, cpu: cpu(pid) - before, elapsed: start.elapsed() }
}

/// One event every 50 ms.
async fn single(server: (SocketAddr, u32), audience: &Audience, event: &[u8]) -> Run {
    let (address, pid) = server;
    let mut publisher = Connection::open(address).await.expect("the listener accepts");
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (start, before) = (Instant::now(), cpu(pid));
    let first = audience.received();
    let mut sent = 0;
    while start.elapsed() < DURATION {
        ticks.tick().await;
        publish(&mut publisher, event).await;
        sent += audience.size();
    }
    audience.receives(first + sent).await;
    Run { deliveries: sent, cpu: cpu(pid) - before, elapsed: start.elapsed() }
}

/// The memory in KiB that each of many idle subscribers costs.
async fn idle(server: (SocketAddr, u32), dialect: &Dialect) -> f64 {
    let (address, pid) = server;
    // Whatever the first few need once is no cost of the others.
    let first = Audience::open(address, 50, dialect, MARK).await;
    let before = rss_kib(pid);
    let audience = Audience::open(address, IDLE, dialect, MARK).await;
    let each = rss_kib(pid).saturating_sub(before) as f64 / IDLE as f64;
    first.leave().await;
    audience.leave().await;
    each
}

async fn publish(publisher: &mut Connection, request: &[u8]) {
    let status = publisher.exchange(request).await.expect("a reply comes");
    assert_eq!(status, 200, "an event was refused");
}

/// A request with `events` lines.
fn ndjson(events: u64) -> Vec<u8> {
    let lines = format!("{}\n", event()).repeat(usize::try_from(events).expect("a small burst"));
    load::post("/in?type=burst", "application/x-ndjson", lines.as_bytes())
}

/// A request with an array of `events` objects.
fn array(events: u64) -> Vec<u8> {
    let objects: Vec<String> = (0..events).map(|_| event()).collect();
    let body = format!("[{}]", objects.join(","));
    load::post("/in?type=burst", "application/json", body.as_bytes())
}

/// A JSON object of 150 bytes that holds the mark once.
fn event() -> String {
    let start = r#"{"mark":"~","pad":""#;
    format!("{start}{}\"}}", "x".repeat(150 - start.len() - 2))
}

fn row(name: &str, run: &Run) {
    println!(
        "{name:<44}{:>14.0}{:>18.2}",
        run.deliveries as f64 / run.elapsed.as_secs_f64(),
        run.cpu.as_secs_f64() * 1e6 / run.deliveries as f64,
    );
}
