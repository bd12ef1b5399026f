//! Ten times as much as the sink takes, and ten times as many publishers of large bodies as keep
//! the daemon busy, each for five minutes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use weir_harness::broker::Broker;
use weir_harness::load::post;
use weir_harness::proxy::{Proxy, Weather};
use weir_harness::{Connection, Weir, eventually, process};

use super::report::{Figure, Report};

const TIMES: usize = 10;
const PEAK: Duration = Duration::from_secs(20);
const OVERLOAD: Duration = Duration::from_secs(300);
const MEMORY_MAX_KIB: u64 = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(30);
/// How many wait for a sink at its peak.
const WAITING: usize = 64;
/// How many publish more than a sink takes; those that were not refused wait for it.
const PUBLISHERS: usize = 1_000;
/// Events in one request.
const LINES: usize = 100;
/// How far away the broker is, which bounds what a window of unconfirmed messages lets through.
const FAR: Duration = Duration::from_millis(50);
/// How many publishers of large bodies keep the daemon busy.
const BUSY: usize = 32;
/// Bytes of a large body. Those of all publishers together are more than events may take.
const BODY: usize = 500_000;
/// What a refused publisher of large bodies does before it asks again; `Retry-After` would say
/// longer.
const IMPATIENCE: Duration = Duration::from_millis(20);

/// Half of the memory is for events.
const SETTINGS: &str = "memory = \"256MiB\"\n[hub.main]\nhistory = { events = 10 }";

const LARGE_BODIES: &str = r#"
[[source]]
type = "http"
path = "/in"
max_event = "1MiB"

[[sink]]
type = "broadcast"
hub = "main"
"#;

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    slow_sink(broker, report).await;
    large_bodies(report).await;
}

/// More events than a sink takes, whose broker is far away.
async fn slow_sink(broker: &Broker, report: &mut Report) {
    let vhost = broker.vhost("overload").await;
    let proxy = Proxy::to(broker.port()).await;
    let url = vhost.url.replace(&broker.port().to_string(), &proxy.port().to_string());
    let pipeline = format!(
        "[[source]]\ntype = \"http\"\npath = \"/in\"\n[[sink]]\ntype = \"rabbitmq\"\nurl = \"{url}\"\n\
         queue = {{ name = \"all\", arguments = {{ x-max-length = 1000 }} }}\nspool = \"none\"\n"
    );
    let weir = Weir::with(&pipeline).settings(SETTINGS).start().await;
    eventually("the queue is declared", async || vhost.exists("all").await.then_some(())).await;
    proxy.set(Weather::Slow(FAR));
    let event = json!({"pad": "x".repeat(200)}).to_string();
    let lines = format!("{event}\n").repeat(LINES);
    let whole: Arc<[u8]> = post("/in", "application/x-ndjson", lines.as_bytes()).into();
    let peak = flood(&weir, &whole, WAITING, PEAK, None).await;
    let peak_rate = peak.taken as f64 / PEAK.as_secs_f64();
    let every = Duration::from_secs_f64(PUBLISHERS as f64 / (peak_rate * TIMES as f64));
    let over = flood(&weir, &whole, PUBLISHERS, OVERLOAD, Some(every)).await;
    let offered = (over.taken + over.cut + over.refused.len() as u64) as f64;
    let share = |count: f64| count / OVERLOAD.as_secs_f64() / peak_rate;
    let (p50, p99) = (over.refused_millis(0.5), over.refused_millis(0.99));
    report.figure(&Figure {
        name: "10 × what the sink takes for 5 minutes: goodput to the peak",
        target: "≥ 0.80",
        measured: format!(
            "{:.2} of {:.0} events/s, {:.1} times as many offered",
            share(over.taken as f64),
            peak_rate * LINES as f64,
            share(offered)
        ),
        is_met: share(over.taken as f64) >= 0.8,
    });
    report.figure(&Figure {
        name: "10 × what the sink takes: refused with `Retry-After`",
        target: "< 50 ms",
        measured: format!(
            "p50 {p50:.1} ms, p99 {p99:.1} ms of {}, {} without, {} cut off",
            over.refused.len(),
            over.without,
            over.cut
        ),
        is_met: p99 < 50.0 && over.without + over.cut == 0,
    });
    alive(
        report,
        &over,
        [
            "10 × what the sink takes: `/livez`",
            "10 × what the sink takes with `memory = \"256MiB\"`: RSS",
        ],
    );
    weir.stop().await.regular();
}

/// More bodies than there is memory for.
async fn large_bodies(report: &mut Report) {
    let weir = Weir::with(LARGE_BODIES).settings(SETTINGS).start().await;
    let body = format!("\"{}\"", "x".repeat(BODY - 2));
    let whole: Arc<[u8]> = post("/in", "application/json", body.as_bytes()).into();
    let peak = flood(&weir, &whole, BUSY, PEAK, None).await;
    let over = flood(&weir, &whole, BUSY * TIMES, OVERLOAD, None).await;
    let goodput = over.taken as f64 / OVERLOAD.as_secs_f64();
    let share = goodput / (peak.taken as f64 / PEAK.as_secs_f64());
    report.figure(&Figure {
        name: "320 publishers of 500 kB for 5 minutes: goodput to that of 32",
        target: "≥ 0.80",
        measured: format!("{share:.2} ({goodput:.0} requests/s, {} refused)", over.refused.len()),
        is_met: share >= 0.8 && over.without == 0,
    });
    alive(
        report,
        &over,
        [
            "320 publishers of 500 kB: `/livez`",
            "320 publishers of 500 kB with `memory = \"256MiB\"`: RSS",
        ],
    );
    weir.stop().await.regular();
}

/// Whether the daemon answered and kept within its memory.
fn alive(report: &mut Report, over: &Tally, [livez, rss]: [&'static str; 2]) {
    report.figure(&Figure {
        name: livez,
        target: "< 100 ms",
        measured: format!("at most {:.1} ms", over.livez.as_secs_f64() * 1e3),
        is_met: over.livez < Duration::from_millis(100),
    });
    report.figure(&Figure {
        name: rss,
        target: "≤ 256 MiB",
        measured: format!("at most {} MiB", over.rss >> 10),
        is_met: over.rss <= MEMORY_MAX_KIB,
    });
}

/// What a flood came to.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    /// How long each refusal took from the first byte of the request on, in milliseconds.
    refused: Vec<f32>,
    /// Refusals that did not say when to come back.
    without: u64,
    /// Connections that ended without a reply.
    cut: u64,
    /// The slowest answer of the health check.
    livez: Duration,
    /// The most memory, in KiB.
    rss: u64,
}

impl Tally {
    fn refused_millis(&self, share: f64) -> f32 {
        self.refused.get((self.refused.len() as f64 * share) as usize).copied().unwrap_or_default()
    }
}

/// Lets publishers send `whole` again and again: each at most once per `every`, or without a pause
/// while it is taken.
async fn flood(
    weir: &Weir,
    whole: &Arc<[u8]>,
    publishers: usize,
    duration: Duration,
    every: Option<Duration>,
) -> Tally {
    let start = Instant::now();
    let end = start + duration;
    let mut running = JoinSet::new();
    for index in 0..publishers {
        let pace =
            every.map(|every| (start + every.mul_f64(index as f64 / publishers as f64), every));
        running.spawn(publish(weir.public, Arc::clone(whole), end, pace));
    }
    let mut sum = Tally::default();
    while Instant::now() < end {
        let asked = Instant::now();
        assert_eq!(weir.get("/livez").await.status(), 200);
        sum.livez = sum.livez.max(asked.elapsed());
        sum.rss = sum.rss.max(process::rss_kib(weir.pid()));
        sleep(Duration::from_millis(100)).await;
    }
    for tally in running.join_all().await {
        sum.taken += tally.taken;
        sum.refused.extend(tally.refused);
        sum.without += tally.without;
        sum.cut += tally.cut;
    }
    sum.refused.sort_by(f32::total_cmp);
    sum
}

/// Publishes again and again; with a `pace` first at its time, and not before each interval.
async fn publish(
    address: SocketAddr,
    whole: Arc<[u8]>,
    end: Instant,
    pace: Option<(Instant, Duration)>,
) -> Tally {
    let mut ticks = pace.map(|(first, every)| interval_at(first, every));
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut tally = Tally::default();
    let mut connection = None;
    while Instant::now() < end {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(address).await,
        };
        let Ok(mut open) = open else {
            sleep(IMPATIENCE).await;
            continue;
        };
        let asked = Instant::now();
        // A publisher that is refused early cannot send it all; the reply tells.
        open.send(&whole).await.ok();
        match timeout(PATIENCE, open.reply("POST")).await {
            Ok(Ok(reply)) => {
                if reply.status() == 200 {
                    tally.taken += 1;
                } else {
                    tally.refused.push(asked.elapsed().as_secs_f32() * 1e3);
                    tally.without += u64::from(reply.header("retry-after").is_none());
                    if ticks.is_none() {
                        sleep(IMPATIENCE).await;
                    }
                }
                connection = (reply.header("connection") != Some("close")).then_some(open);
            }
            Ok(Err(_)) | Err(_) => tally.cut += 1,
        }
    }
    tally
}
