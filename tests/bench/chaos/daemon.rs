//! The daemon is killed: with a broker, with a broker that is away, and with its own log.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_harness::broker::Broker;
use weir_harness::{Weir, eventually};

use super::load::{BATCH, Load, PUBLISHERS};
use super::report::{Figure, Report};
use super::scene::Scene;

const KILLS: usize = 200;
const LOG_KILLS: usize = 50;
/// Messages that one fault may repeat: the sink's window, what was confirmed while the journal
/// had not been told, and the requests that got no answer.
const REPEATS_MAX: u64 = (1_024 + 2 * 1_024 + PUBLISHERS * BATCH) as u64;
/// Bytes of spool that a restart must not be slowed by.
const SPOOL: f64 = 100e6;
const READY_MAX: Duration = Duration::from_millis(500);

const LOG: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "log"
max_bytes = "20GiB"
"#;

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    kills(broker, report).await;
    large_spool(broker, report).await;
    log_kills(report).await;
}

/// Kills the daemon again and again; answers how long it took to be ready, sorted.
async fn killed(weir: &mut Weir, load: &Load, times: usize) -> Vec<Duration> {
    let mut ready = Vec::new();
    for kill in 0..times {
        // Spread over what a batch goes through, without chance: every run is the same.
        sleep(Duration::from_millis(150 + (kill as u64 * 37) % 300)).await;
        weir.kill9();
        let since = Instant::now();
        weir.start_again().await;
        ready.push(since.elapsed());
        load.moved(weir.public);
    }
    ready.sort();
    ready
}

fn ready_note(ready: &[Duration]) -> String {
    let (middle, worst) = (ready[ready.len() / 2].as_millis(), ready[ready.len() - 1].as_millis());
    format!("ready again after {middle} ms, at most {worst}")
}

async fn kills(broker: &Broker, report: &mut Report) {
    let mut scene = Scene::start(broker, "kills").await;
    let load = Load::start(scene.weir.public, Duration::ZERO);
    let ready = killed(&mut scene.weir, &load, KILLS).await;
    let published = load.end().await;
    scene.drained().await;
    let mut fault = published.compare(scene.ids().await, ("daemon killed (SIGKILL)", KILLS));
    fault.note = ready_note(&ready);
    report.fault(&fault);
    let repeats = fault.repeated.div_ceil(KILLS as u64);
    report.figure(&Figure {
        name: "repeats for each kill of the daemon",
        target: "at most a window and what had no answer: 3,872",
        measured: repeats.to_string(),
        is_met: repeats <= REPEATS_MAX,
    });
    scene.weir.stop().await.regular();
}

/// Fills a spool while the broker is away and kills the daemon once.
async fn large_spool(broker: &Broker, report: &mut Report) {
    let mut scene = Scene::start(broker, "large-spool").await;
    broker.stop_app().await;
    let load = Load::start(scene.weir.public, Duration::ZERO);
    let weir = &mut scene.weir;
    eventually("a spool of 100 MB", async || {
        sleep(Duration::from_millis(200)).await;
        (weir.metric("weir_spool_bytes", &[]).await >= SPOOL).then_some(())
    })
    .await;
    weir.kill9();
    let since = Instant::now();
    weir.start_again().await;
    let ready = since.elapsed();
    load.moved(weir.public);
    report.figure(&Figure {
        name: "killed with 100 MB of spool, ready again",
        target: "≤ 500 ms",
        measured: format!("{} ms", ready.as_millis()),
        is_met: ready <= READY_MAX,
    });
    broker.start_app().await;
    let published = load.end().await;
    scene.drained().await;
    let fault = published.compare(scene.ids().await, ("daemon killed while the broker is away", 1));
    report.fault(&fault);
    scene.weir.stop().await.regular();
}

/// Kills a daemon that keeps events in its own log, with no broker.
async fn log_kills(report: &mut Report) {
    let mut weir = Weir::with(LOG).start().await;
    let load = Load::start(weir.public, Duration::ZERO);
    let ready = killed(&mut weir, &load, LOG_KILLS).await;
    let published = load.end().await;
    let admin = weir.admin.to_string();
    let read = Weir::command(&["journal", "read", "logs/test.log", "--admin", &admin]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let id = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line is an event");
        event["event"]["id"].as_str().expect("an event has an id").to_owned()
    };
    let text = String::from_utf8(read.stdout).expect("JSON is UTF-8");
    let name = ("daemon killed, events in its own log", LOG_KILLS);
    let mut fault = published.compare(text.lines().map(id), name);
    fault.note = ready_note(&ready);
    report.fault(&fault);
    weir.stop().await.regular();
}
