//! What an event over HTTP costs, beside a bare handler and beside the stack Weir replaces.
//!
//! Once with a live hub alone, once answered only after RabbitMQ has confirmed the event.
//! All servers take the same requests from the same load generator in the same run; the ratios
//! count, the absolute figures depend on the machine.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::process::Command;
use std::time::Duration;
use std::{env, process};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use tokio::net::TcpListener;
use weir_harness::Weir;
use weir_harness::broker::Broker;
use weir_harness::load::{self, Load};
use weir_harness::peer::Peer;

const CONNECTIONS: usize = 32;
const DURATION: Duration = Duration::from_secs(5);
/// Events of a request with many.
const LINES: usize = 100;

/// One plugin, a hub that nobody listens to.
const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[transform]]
plugin = "filter"
config = { keep = 'data.bot != true' }

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

/// The part that is nothing but something to compare with.
pub(crate) const BARE: &str = "http-bare";

/// Connections whose requests wait for the broker, few and many.
const WAITING: [usize; 2] = [CONNECTIONS, 256];

pub(crate) async fn run() {
    let event = event();
    let single = load::post("/in", "application/json", event.as_bytes());
    let lines = format!("{event}\n").repeat(LINES);
    let many = load::post("/in", "application/x-ndjson", lines.as_bytes());

    let bare = {
        let mut command = Command::new(env::current_exe().expect("a program has a path"));
        command.arg(BARE);
        let peer = Peer::start(command);
        let server = (peer.address, peer.pid());
        let single = load::flat_out(server, CONNECTIONS, &single, DURATION).await;
        (single, load::flat_out(server, CONNECTIONS, &many, DURATION).await)
    };
    let weir = {
        let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
        let server = (weir.public, weir.pid());
        let single = load::flat_out(server, CONNECTIONS, &single, DURATION).await;
        let many = load::flat_out(server, CONNECTIONS, &many, DURATION).await;
        weir.stop().await.clean();
        (single, many)
    };
    let node = match Peer::express_socketio(None) {
        Some(peer) => {
            let server = (peer.address, peer.pid());
            Some(load::flat_out(server, CONNECTIONS, &single, DURATION).await)
        }
        None => None,
    };

    println!("\nHTTP, one event of 256 bytes a request, {CONNECTIONS} keep-alive connections");
    heading();
    row("bare axum handler", &bare.0, 1, &bare.0);
    row("weir: filter plugin, live hub", &weir.0, 1, &bare.0);
    match &node {
        Some(node) => {
            row("express + socket.io", node, 1, &bare.0);
            let rate = weir.0.rate() / node.rate();
            println!("weir / express + socket.io: {rate:.1} x the requests per second (>= 8)");
        }
        None => println!("express + socket.io: SKIPPED, no Node or no packages"),
    }
    let cost = weir.0.cpu_micros(1) / bare.0.cpu_micros(1);
    println!("weir / bare axum handler: {cost:.2} x the CPU time per event (<= 2.2)");

    println!("\nHTTP, NDJSON, {LINES} events of 256 bytes a request");
    heading();
    row("bare axum handler", &bare.1, LINES as u64, &bare.1);
    row("weir: filter plugin, live hub", &weir.1, LINES as u64, &bare.1);
    let failed = bare.0.failed + bare.1.failed + weir.0.failed + weir.1.failed;
    let failed = failed + settled(&single).await;
    if failed > 0 {
        println!("{failed} requests FAILED");
        process::exit(1);
    }
}

/// Requests answered only after a quorum queue has confirmed their event; answers how many failed.
async fn settled(single: &[u8]) -> u64 {
    let broker = match Broker::private().await {
        Ok(broker) => broker,
        Err(missing) => {
            missing.skip();
            return 0;
        }
    };
    let vhost = broker.vhost("bench").await;
    println!("\nHTTP, one event of 256 bytes a request, confirmed by a quorum queue");
    heading();
    let mut failed = 0;
    for connections in WAITING {
        let weir = {
            let queue = format!("weir-{connections}");
            let kind = lapin::types::AMQPValue::LongString("quorum".into());
            vhost.declare_queue(&queue, &[("x-queue-type", kind)]).await;
            let sink = format!(
                "[[sink]]\ntype = \"rabbitmq\"\nurl = \"{}\"\nqueue = \"{queue}\"",
                vhost.url
            );
            let weir = Weir::with(&format!("{PIPELINE}\n{sink}\n")).settings("[hub.main]");
            let weir = weir.start().await;
            let server = (weir.public, weir.pid());
            let load = load::flat_out(server, connections, single, DURATION).await;
            weir.stop().await.clean();
            load
        };
        failed += weir.failed;
        row(&format!("weir, {connections} connections"), &weir, 1, &weir);
        let Some(peer) = Peer::express_socketio(Some(&vhost.url)) else {
            println!("express + socket.io + amqplib: SKIPPED, no Node or no packages");
            continue;
        };
        let server = (peer.address, peer.pid());
        let node = load::flat_out(server, connections, single, DURATION).await;
        row(&format!("express + amqplib, {connections}"), &node, 1, &weir);
        let rate = weir.rate() / node.rate();
        println!("weir / express with confirms: {rate:.1} x the requests per second (>= 4)");
    }
    failed
}

/// A JSON object of 256 bytes.
fn event() -> String {
    let start = r#"{"bot":false,"user":{"id":4711,"plan":"free"},"page":"/cart","pad":""#;
    format!("{start}{}\"}}", "x".repeat(256 - start.len() - 2))
}

/// A server that reads the body and does nothing with it.
pub(crate) async fn serve_bare() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    println!("listening {address}");
    let app = Router::new().route("/in", post(async |_body: Bytes| "{}"));
    axum::serve(listener, app).await.expect("a listener that accepts");
}

fn heading() {
    println!(
        "{:<32}{:>12}{:>14}{:>10}{:>9}{:>9}",
        "", "events/s", "µs CPU/event", "x first", "p50 ms", "p99 ms"
    );
}

fn row(name: &str, load: &Load, events: u64, bare: &Load) {
    let cpu = load.cpu_micros(events);
    println!(
        "{name:<32}{:>12.0}{cpu:>14.2}{:>10.2}{:>9.2}{:>9.2}",
        load.rate() * events as f64,
        cpu / bare.cpu_micros(events),
        load.latency_millis(0.5),
        load.latency_millis(0.99),
    );
}
