//! What it costs to keep events on disk while the broker is away: how long a publisher waits, how
//! much goes to the disk, and whether who waits for the disk gets as much through as who does not.
//!
//! The disk is the one of the temporary directory; whoever else uses it shows.

use std::time::Duration;

use weir_harness::load;
use weir_harness::{Weir, eventually};

use super::report::{Figure, Report};

const CONNECTIONS: usize = 32;
const DURATION: Duration = Duration::from_secs(5);
/// Requests per second of publishers that wait for the disk.
const RATE: f64 = 2_000.0;
/// Events of a request with many.
const LINES: usize = 100;
/// Where nobody listens.
const NOWHERE: &str = "amqp://guest:guest@127.0.0.1:1/%2f";
const EVENT: &str = r#"{"sku":"a1","price":12.5,"user":{"id":"u-1729","plan":"free"},"pad":"0123456789012345678901234567890123456789012345678901234567890123456789"}"#;
const ROUNDS: usize = 3;

pub(crate) async fn run(report: &mut Report) {
    let single = load::post("/in", "application/json", EVENT.as_bytes());
    let lines = format!("{EVENT}\n").repeat(LINES);
    let many = load::post("/in", "application/x-ndjson", lines.as_bytes());
    away(report, &single, &many).await;
    settled(report, &many).await;
}

async fn start(more: &str) -> Weir {
    let pipeline = format!(
        "[[source]]\ntype = \"http\"\npath = \"/in\"\n{more}\n[[sink]]\ntype = \"rabbitmq\"\n\
         url = \"{NOWHERE}\"\nqueue = {{ name = \"all\" }}\nspool = {{ bytes = \"20GiB\" }}\n"
    );
    let weir = Weir::with(&pipeline).start().await;
    eventually("the broker is known to be away", async || {
        (weir.status().await["pipelines"][0]["state"] == "degraded").then_some(())
    })
    .await;
    weir
}

async fn away(report: &mut Report, single: &[u8], many: &[u8]) {
    let weir = start("").await;
    load::paced(weir.public, CONNECTIONS, single, RATE, DURATION / 5).await;
    let load = load::paced(weir.public, CONNECTIONS, single, RATE, DURATION).await;
    let (p50, p99) = (load.latency_millis(0.5), load.latency_millis(0.99));
    let (rate, failed) = (load.rate(), load.failed);
    report.figure(&Figure {
        name: "acknowledged as spooled, 2,000 requests/s",
        target: "p50 ≤ 2 ms, p99 ≤ 15 ms",
        measured: format!("p50 {p50:.2} ms, p99 {p99:.2} ms at {rate:.0}/s, {failed} failed"),
        is_met: p50 <= 2.0 && p99 <= 15.0 && failed == 0,
    });
    let server = (weir.public, weir.pid());
    let load = load::flat_out(server, CONNECTIONS, many, DURATION).await;
    let events = load.rate() * LINES as f64;
    report.figure(&Figure {
        name: "spooled in batches of 100",
        target: "≥ 40,000 events/s",
        measured: format!("{events:.0} events/s, {} failed", load.failed),
        is_met: events >= 40_000.0 && load.failed == 0,
    });
    weir.stop().await;
}

/// Events per second with either `ack`, in turns; the disk takes them all, so that no broker is
/// the limit.
async fn settled(report: &mut Report, many: &[u8]) {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let mut rates = Vec::new();
        for ack in ["routed", "settled"] {
            let weir = start(&format!("ack = \"{ack}\"")).await;
            let load = load::flat_out((weir.public, weir.pid()), CONNECTIONS, many, DURATION).await;
            rates.push(load.rate());
            weir.stop().await;
        }
        ratios.push(rates[1] / rates[0]);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    report.figure(&Figure {
        name: "throughput of `settled` to `routed`, on disk, median of 3",
        target: "≥ 0.80",
        measured: format!("{ratio:.2}"),
        is_met: ratio >= 0.8,
    });
}
