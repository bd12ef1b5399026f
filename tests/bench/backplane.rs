//! How many events per second daemons that share one hub bring to the subscribers of all of them,
//! through a stream at one private broker on the same machine.
//!
//! Publishers post to every daemon, one event or ten at a time, and each daemon has a subscriber
//! that gets everything. A publisher is answered when its event came out of the stream again and
//! was handed to the subscribers of its own daemon.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::time::Duration;

use tokio::task::JoinSet;
use weir_harness::Weir;
use weir_harness::audience::{Audience, Dialect};
use weir_harness::broker::Broker;
use weir_harness::load::{self, Load};
use weir_harness::process::cpu;

const DURATION: Duration = Duration::from_secs(5);
/// Publishers in all.
const CONNECTIONS: usize = 64;
/// Events a second where latency is looked at.
const PACE: f64 = 1_000.0;
const TARGET: f64 = 8_000.0;
/// Stands once in every event, and nowhere else.
const MARK: u8 = b'~';

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
channel = "{{type}}"
"#;

pub(crate) async fn run() {
    let broker = match Broker::private().await {
        Ok(broker) => broker,
        Err(missing) => return missing.skip(),
    };
    println!("\nOne hub on several daemons, events of 150 bytes, a subscriber on each daemon");
    println!("{:<34}{:>14}{:>14}", "", "events/s", "to all/s");
    let mut worst = f64::INFINITY;
    for daemons in [1, 2, 4] {
        let vhost = broker.vhost(&format!("bench-{daemons}")).await;
        let mut all = Vec::new();
        for _ in 0..daemons {
            let hub = format!("[hub.main]\nbackplane = {{ url = \"{}\" }}", vhost.url);
            all.push(Weir::with(PIPELINE).settings(&hub).start().await);
        }
        for (name, events) in [("one", 1), ("ten", 10)] {
            let rate = measure(&all, events, None).await.0;
            let to_all = rate * f64::from(daemons);
            println!(
                "{:<34}{rate:>14.0}{to_all:>14.0}",
                format!("{daemons} daemons, {name} a post")
            );
            worst = worst.min(rate);
        }
        let (_, load) = measure(&all, 1, Some(PACE)).await;
        let (half, most) = (load.latency_millis(0.5), load.latency_millis(0.99));
        println!("    at {PACE} events/s: answered after {half:.1} ms, p99 {most:.1} ms");
    }
    let verdict = if worst >= TARGET { "met" } else { "missed" };
    println!("least {worst:.0} events/s, target {TARGET:.0}: {verdict}");
}

/// Events per second that reached everybody, and what one daemon's publishers saw, at `pace` or as
/// fast as they are answered.
async fn measure(all: &[Weir], events: u64, pace: Option<f64>) -> (f64, Load) {
    let mut audiences = Vec::new();
    for weir in all {
        let dialect = Dialect::websocket("main", &["**"]);
        audiences.push(Audience::open(weir.public, 1, &dialect, MARK).await);
    }
    let mark = char::from(MARK);
    let line = format!(
        "{{\"type\":\"t\",\"data\":{{\"sku\":\"{mark}{}\",\"quantity\":1}}}}\n",
        "a".repeat(60)
    );
    let body = line.repeat(usize::try_from(events).expect("a few"));
    let prepared = load::post("/in", "application/x-ndjson", body.as_bytes());
    let before: Duration = all.iter().map(|weir| cpu(weir.pid())).sum();
    let mut runs = JoinSet::new();
    let share = pace.map(|pace| pace / all.len() as f64);
    for weir in all {
        let (address, prepared) = (weir.public, prepared.clone());
        let connections = CONNECTIONS / all.len();
        runs.spawn(async move {
            match share {
                Some(rate) => load::paced(address, connections, &prepared, rate, DURATION).await,
                None => load::run(address, connections, &prepared, DURATION).await,
            }
        });
    }
    let mut loads = runs.join_all().await;
    let failed: u64 = loads.iter().map(|load| load.failed).sum();
    assert_eq!(failed, 0, "every event is taken");
    let total = events * loads.iter().map(|load| load.succeeded).sum::<u64>();
    for audience in &audiences {
        audience.receives(total).await;
        assert_eq!((audience.received(), audience.closed()), (total, 0));
    }
    let spent = all.iter().map(|weir| cpu(weir.pid())).sum::<Duration>() - before;
    let elapsed = loads.iter().map(|load| load.elapsed).max().expect("a daemon");
    let micros = spent.as_secs_f64() * 1e6 / total as f64;
    if pace.is_none() {
        println!("    {micros:.1} µs of CPU per event on all daemons together");
    }
    for audience in audiences {
        audience.leave().await;
    }
    (total as f64 / elapsed.as_secs_f64(), loads.remove(0))
}
