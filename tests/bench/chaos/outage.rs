//! The broker is away for ten minutes while events keep coming and somebody watches them live.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use weir_harness::broker::Broker;
use weir_harness::raw::{self, Run};
use weir_harness::{Connection, Subscriber, Weir, eventually, load, process};

use super::report::{Figure, Report};

const AWAY: Duration = Duration::from_secs(600);
const BEFORE: Duration = Duration::from_secs(60);
/// Requests per second, each with this many events.
const RATE: f64 = 300.0;
const LINES: usize = 10;
const CONNECTIONS: usize = 16;
/// Between two events whose way to a subscriber is timed.
const PROBE: Duration = Duration::from_millis(10);
const GROWTH_MAX_KIB: u64 = 30 << 10;
/// How much of a raw publisher's rate the spool drains at.
const DRAIN_SHARE: f64 = 0.7;
const WINDOW: usize = 1_024;

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    let vhost = broker.vhost("outage").await;
    let weir = Weir::with(&pipeline(&vhost.url)).start().await;
    eventually("the queue is declared", async || vhost.exists("all").await.then_some(())).await;
    broker.remember().await;
    let event = json!({"pad": "x".repeat(200)}).to_string();
    let lines = format!("{event}\n").repeat(LINES);
    let prepared = load::post("/in?type=load", "application/x-ndjson", lines.as_bytes());
    let probe = Probe::start(&weir).await;
    let paced = |duration| load::paced(weir.public, CONNECTIONS, &prepared, RATE, duration);
    let well = paced(BEFORE).await;
    let calm = probe.take();
    let rss = process::rss_kib(weir.pid());
    broker.stop_app().await;
    let (stop, watched) = watch::channel(false);
    let (away, peak) = tokio::join!(
        async {
            let load = paced(AWAY).await;
            stop.send_replace(true);
            load
        },
        peak_rss(weir.pid(), watched)
    );
    let troubled = probe.take();
    let held = weir.metric("weir_spool_events", &[]).await;
    let drain = drain(broker, &weir, held).await;
    // Before the raw publisher takes what the broker leaves of the machine.
    let draining = probe.take();
    let raw = raw_rate(broker, &vhost).await;
    let growth = peak.saturating_sub(rss);
    report.figure(&Figure {
        name: "broker away for 10 minutes at 3,000 events/s: requests refused",
        target: "0",
        measured: format!(
            "{} before, {} meanwhile, {held:.0} events held",
            well.failed, away.failed
        ),
        is_met: well.failed + away.failed == 0,
    });
    report.figure(&Figure {
        name: "broker away for 10 minutes: RSS grows",
        target: "< 30 MB",
        measured: format!("{:.1} MB, from {:.1}", growth as f64 / 1024.0, rss as f64 / 1024.0),
        is_met: growth < GROWTH_MAX_KIB,
    });
    report.figure(&Figure {
        name: "broker back: the spool drains, to a raw publisher of the same messages",
        target: "≥ 0.70",
        measured: format!("{:.2} ({drain:.0} of {raw:.0} events/s)", drain / raw),
        is_met: drain / raw >= DRAIN_SHARE,
    });
    let worst = troubled.max(draining);
    report.figure(&Figure {
        name: "broker away: p99 of live events, to that before",
        target: "≤ 1.2",
        measured: format!(
            "{:.2} ({calm:.2} ms before, {troubled:.2} away, {draining:.2} draining)",
            worst / calm
        ),
        is_met: worst / calm <= 1.2,
    });
    probe.end().await;
    weir.stop().await.regular();
}

fn pipeline(url: &str) -> String {
    format!(
        r##"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"

[[sink]]
type = "rabbitmq"
url = "{url}"
exchange = {{ name = "events", declare = true }}
queue = {{ name = "all", bind = ["#"] }}
spool = {{ bytes = "20GiB" }}
"##
    )
}

/// The most memory that the process has until it is told to stop looking.
async fn peak_rss(pid: u32, stop: watch::Receiver<bool>) -> u64 {
    let mut peak = 0;
    while !*stop.borrow() {
        peak = peak.max(process::rss_kib(pid));
        sleep(Duration::from_millis(500)).await;
    }
    peak
}

/// Events per second that leave the spool once the broker is back.
async fn drain(broker: &Broker, weir: &Weir, held: f64) -> f64 {
    broker.start_app().await;
    let left = async || weir.metric("weir_spool_events", &[]).await;
    // From the first that is confirmed: connecting is another figure.
    while left().await >= held {
        sleep(Duration::from_millis(20)).await;
    }
    let (since, first) = (Instant::now(), left().await);
    while left().await > 0.0 {
        sleep(Duration::from_millis(100)).await;
    }
    first / since.elapsed().as_secs_f64()
}

/// Messages per second of a raw publisher, with the properties and size that the sink's have.
async fn raw_rate(broker: &Broker, vhost: &weir_harness::broker::Vhost) -> f64 {
    let vhost = vhost.again().await;
    vhost.declare_queue("raw", &[]).await;
    let run = Run { messages: 300_000, size: 210, window: WINDOW };
    let port = broker.port();
    let publishing = spawn_blocking(move || {
        raw::Publisher::connect(port, "outage").publish("raw", run, &raw::full())
    });
    run.messages as f64 / publishing.await.expect("no panic").as_secs_f64()
}

/// Times the way of some events from a publisher to a subscriber.
struct Probe {
    running: JoinSet<()>,
    /// In milliseconds, since they were last taken; the subscriber holds the other handle.
    times: std::sync::Arc<std::sync::Mutex<Vec<f64>>>,
}

impl Probe {
    async fn start(weir: &Weir) -> Self {
        let begun = Instant::now();
        let times = std::sync::Arc::<std::sync::Mutex<Vec<f64>>>::default();
        let mut subscriber = Subscriber::websocket(weir.public, "/live/main/ws").await;
        subscriber.sub(&["probe"], &Value::Null).await;
        let mut connection = weir.connect().await;
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut ticks = interval(PROBE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                publish(&mut connection, begun.elapsed()).await;
            }
        });
        let seen = std::sync::Arc::clone(&times);
        running.spawn(async move {
            while let Some(frame) = subscriber.next().await {
                let Some(sent) = frame["event"]["data"].as_f64() else { continue };
                let took = begun.elapsed().as_secs_f64() - sent;
                seen.lock().expect("nobody panics with it").push(took * 1e3);
            }
        });
        Self { running, times }
    }

    /// The p99 of what was timed since the last call, in milliseconds.
    fn take(&self) -> f64 {
        let mut times = std::mem::take(&mut *self.times.lock().expect("nobody panics with it"));
        times.sort_by(f64::total_cmp);
        times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
    }

    async fn end(mut self) {
        self.running.shutdown().await;
    }
}

/// Publishes a moment; the answer, which comes once the event is kept, is waited for.
async fn publish(connection: &mut Connection, moment: Duration) {
    let body = format!("{:.6}", moment.as_secs_f64());
    let headers = [("content-type", "application/json")];
    let reply = connection.call("POST", "/in?type=probe", &headers, body.as_bytes()).await;
    reply.expect("the daemon answers");
}
