//! Reloads under load: the files change all the time, and nobody may notice.
//!
//! Each lane is one publisher that counts upwards and waits for every reply, so order and loss
//! show at each subscriber of its channel. A repetition of the same event is allowed by the
//! contract and only counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::http::Connection;
use crate::load::post;
use crate::subscriber::Subscriber;
use crate::wait::{eventually, within};
use crate::weir::{Setup, Weir};

/// Threads that the runtime keeps for a while after blocking work, such as reading files.
const THREADS_SLACK: usize = 4;

/// Looks in a row, some milliseconds apart, that find the same number of open files.
const STEADY_LOOKS: usize = 40;

/// How hard it is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often files change; every second change breaks them.
    pub reloads: u32,
    /// From one change to the next, at least.
    pub reload_every: Duration,
    /// Requests per second of all publishers together.
    pub requests_per_second: u32,
    /// Publishers, each with its own connection and channel.
    pub lanes: u32,
    /// Subscribers, half of them over WebSocket, half over Server-Sent Events.
    pub subscribers: u32,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Findings {
    /// Requests answered with 200.
    pub succeeded: u64,
    /// Other replies, or none.
    pub failed: Vec<String>,
    /// Events that subscribers received.
    pub deliveries: u64,
    /// Of these, received before.
    pub repeated: u64,
    /// Anything out of order, missing or closed, as subscribers saw it.
    pub noticed: Vec<String>,
    /// Reloads that were not answered as their files deserve.
    pub misjudged: Vec<String>,
    /// How long reloads took, in milliseconds, sorted.
    pub reload_millis: Vec<f64>,
    /// Open files before and after.
    pub open_files: (usize, usize),
    /// Threads before and after.
    pub threads: (usize, usize),
}

/// What one subscriber saw.
#[derive(Debug, Default)]
struct Sighting {
    deliveries: u64,
    repeated: u64,
    noticed: Option<String>,
}

/// Changes files under load as `plan` says and answers what was seen.
pub async fn reload_under_load(plan: &Plan) -> Findings {
    let weir = setup().start().await;
    let mut findings = Findings::default();
    let mut watching = JoinSet::new();
    for index in 0..plan.subscribers {
        let channel = format!("lane.{}", index / 2 % plan.lanes);
        let subscriber = if index % 2 == 0 {
            weir.subscribe_websocket("main", &[&channel]).await
        } else {
            weir.subscribe("main", &[&channel]).await
        };
        watching.spawn(watch(subscriber));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut publishing = JoinSet::new();
    let pause = Duration::from_secs(1) * plan.lanes / plan.requests_per_second;
    for lane in 0..plan.lanes {
        let connection = weir.connect().await;
        publishing.spawn(publish(connection, lane, pause, Arc::clone(&is_over)));
    }
    // One round, so that everything is open and warm that ever will be.
    change(&weir, 0, &mut findings).await;
    let before = resources(&weir).await;
    let mut ticks = interval(plan.reload_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 1..=plan.reloads {
        ticks.tick().await;
        change(&weir, round, &mut findings).await;
    }
    restore(&weir, plan.reloads).await;
    let after = resources(&weir).await;
    findings.open_files = (before.0, after.0);
    findings.threads = (before.1, after.1);
    is_over.store(true, Ordering::Relaxed);
    for (succeeded, failed) in publishing.join_all().await {
        findings.succeeded += succeeded;
        findings.failed.extend(failed);
    }
    for sighting in within("the last events", watching.join_all()).await {
        findings.deliveries += sighting.deliveries;
        findings.repeated += sighting.repeated;
        findings.noticed.extend(sighting.noticed);
    }
    weir.stop().await.clean();
    findings.reload_millis.sort_by(f64::total_cmp);
    findings
}

fn setup() -> Setup {
    let settings = "[hub.main]\n[hub.copy]";
    Weir::with(&pipeline(0, Change::Filter)).settings(settings).own_plugins()
}

/// What a good edit touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Filter,
    SinkOption,
    Route,
    Limit,
    Plugin,
}

impl Change {
    const ALL: [Self; 5] = [Self::Filter, Self::SinkOption, Self::Route, Self::Limit, Self::Plugin];

    fn of(round: u32) -> Self {
        Self::ALL[round as usize / 2 % Self::ALL.len()]
    }
}

/// The pipeline as it is after `change` in this round; it never drops an event.
fn pipeline(round: u32, change: Change) -> String {
    let number = |of: Change| if of == change { round } else { 0 };
    let keep = number(Change::Filter);
    let limit = 1_000 + number(Change::Limit);
    let route = number(Change::Route);
    let copy = number(Change::SinkOption);
    format!(
        r#"
[[source]]
type = "http"
path = "/in"

[[source]]
type = "http"
path = "/also/{route}"

[[transform]]
plugin = "filter"
config = {{ keep = 'data.n >= {keep} - {keep}' }}
limits = {{ time = "{limit}ms" }}

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{{{type}}}}"

[[sink]]
type = "broadcast"
hub = "copy"
channel = "copy.{copy}"
"#
    )
}

/// Changes a file, asks for a reload and judges the answer.
async fn change(weir: &Weir, round: u32, findings: &mut Findings) {
    let is_good = round.is_multiple_of(2);
    if is_good {
        write_good(weir, round);
    } else {
        write_broken(weir, round);
    }
    let start = Instant::now();
    let reply = weir.reload().await;
    findings.reload_millis.push(start.elapsed().as_secs_f64() * 1e3);
    if (reply.status() == 200) != is_good {
        findings.misjudged.push(format!("round {round}: {} {}", reply.status(), reply.text()));
    }
}

/// Open files and threads, once nothing drains any more.
async fn resources(weir: &Weir) -> (usize, usize) {
    eventually("the end of draining", async || {
        (weir.metric("weir_pipelines_draining", &[]).await == 0.0).then_some(())
    })
    .await;
    // The request above and the watcher's look at the files still close theirs.
    let (mut newest, mut seen) = (0, 0);
    eventually("the number of open files is steady", async || {
        let now = weir.open_files();
        seen = if now == newest { seen + 1 } else { 1 };
        newest = now;
        (seen == STEADY_LOOKS).then_some(())
    })
    .await;
    (newest, weir.threads())
}

/// Leaves good files in force, the same that the count of open files began with.
async fn restore(weir: &Weir, round: u32) {
    write_good(weir, 2 * round);
    weir.edit("pipelines/test.toml", pipeline(0, Change::Filter));
    assert_eq!(weir.reload().await.status(), 200, "the good files are in force again");
}

fn write_good(weir: &Weir, round: u32) {
    let change = Change::of(round);
    if change == Change::Plugin {
        weir.edit("plugins/filter.wasm", plugin(weir, round));
    }
    weir.edit("pipelines/test.toml", pipeline(round, change));
}

fn write_broken(weir: &Weir, round: u32) {
    let good = pipeline(round, Change::Filter);
    let broken = match round / 2 % 5 {
        0 => format!("{good}[[sink"),
        1 => good.replace("channel =", "chanel ="),
        2 => good.replace("\"filter\"", "\"no-such-plugin\""),
        3 => good.replace("data.n >= ", "data.n >= >= "),
        _ => good.replace("\"broadcast\"", "\"broadcats\""),
    };
    weir.edit("pipelines/test.toml", broken);
}

/// The filter with other bytes and the same meaning: a custom section with a number at its end.
fn plugin(weir: &Weir, round: u32) -> Vec<u8> {
    let original = weir.directory.path().join("plugins/original");
    if !original.exists() {
        let built = weir.directory.path().join("plugins/filter.wasm");
        std::fs::copy(built, &original).expect("the plugin is there");
    }
    let mut bytes = std::fs::read(original).expect("the plugin is there");
    bytes.extend([0, 7, 2, b'n', b'o']);
    bytes.extend(round.to_le_bytes());
    bytes
}

/// Counts upwards on one channel, waiting for each reply.
async fn publish(
    mut connection: Connection,
    lane: u32,
    pause: Duration,
    is_over: Arc<AtomicBool>,
) -> (u64, Vec<String>) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = Vec::new();
    let path = format!("/in?type=lane.{lane}");
    for n in 1.. {
        ticks.tick().await;
        let is_last = is_over.load(Ordering::Relaxed);
        let body = json!({"n": n, "last": is_last}).to_string();
        let prepared = post(&path, "application/json", body.as_bytes());
        match within("a reply", connection.exchange(&prepared)).await {
            Ok(200) => {}
            Ok(status) => failed.push(format!("lane {lane}, event {n}: {status}")),
            Err(error) => {
                failed.push(format!("lane {lane}, event {n}: {error}"));
                return (n - 1, failed);
            }
        }
        if is_last {
            return (n - failed.len() as u64, failed);
        }
    }
    unreachable!("counting ends with the last event");
}

/// Receives until the last event, and looks whether all came, in order.
async fn watch(mut subscriber: Subscriber) -> Sighting {
    let mut sighting = Sighting::default();
    let mut newest = 0;
    loop {
        let Some(frame) = subscriber.next().await else {
            sighting.noticed = Some(format!("closed after event {newest}"));
            return sighting;
        };
        let data = &frame["event"]["data"];
        let Some(n) = data["n"].as_u64() else {
            sighting.noticed = Some(format!("after event {newest}: {frame}"));
            return sighting;
        };
        sighting.deliveries += 1;
        if n <= newest {
            sighting.repeated += 1;
        } else if newest > 0 && n != newest + 1 {
            sighting.noticed = Some(format!("event {n} after event {newest}"));
        }
        newest = newest.max(n);
        if data["last"] == Value::Bool(true) {
            return sighting;
        }
    }
}

impl Findings {
    /// Asserts that nobody noticed anything.
    pub fn assert_unnoticed(&self) {
        let is_unnoticed = self.failed.is_empty()
            && self.noticed.is_empty()
            && self.misjudged.is_empty()
            && self.open_files.0 == self.open_files.1
            && self.threads.1 <= self.threads.0 + THREADS_SLACK;
        assert!(is_unnoticed, "{self}");
        assert!(self.succeeded > 0 && self.deliveries > 0, "{self}");
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share: f64| {
            let index = (self.reload_millis.len() as f64 * share) as usize;
            self.reload_millis.get(index).copied().unwrap_or(f64::NAN)
        };
        writeln!(f, "requests          {} answered 200", self.succeeded)?;
        writeln!(f, "  failed          {} {:?}", self.failed.len(), self.failed.first())?;
        writeln!(f, "deliveries        {}, of these {} repeated", self.deliveries, self.repeated)?;
        writeln!(f, "  noticed         {} {:?}", self.noticed.len(), self.noticed.first())?;
        writeln!(f, "reloads           p50 {:.0} ms, p99 {:.0} ms", at(0.5), at(0.99))?;
        writeln!(f, "  misjudged       {} {:?}", self.misjudged.len(), self.misjudged.first())?;
        writeln!(f, "open files        {} before, {} after", self.open_files.0, self.open_files.1)?;
        write!(f, "threads           {} before, {} after", self.threads.0, self.threads.1)
    }
}
