//! What is published while the broker or the disk is away: nothing that was acknowledged is lost.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use weir_harness::broker::{Taken, Vhost};
use weir_harness::directory::{Freezer, Small};
use weir_harness::{Reply, Weir, eventually};

use crate::brokers::rough;

/// Messages that one fault may repeat: the sink's window, and what was confirmed while the
/// journal had not been told.
const REPEATS_MAX: usize = 1_024 + 2 * 1_024;
/// Where nobody listens.
const NOWHERE: &str = "amqp://guest:guest@127.0.0.1:1/%2f";
const BATCH: [(&str, &str); 1] = [("content-type", "application/cloudevents-batch+json")];

/// HTTP into a queue that keeps everything, with `more` settings of the sink.
fn pipeline(url: &str, more: &str) -> String {
    format!(
        r##"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "rabbitmq"
url = "{url}"
exchange = {{ name = "events", declare = true }}
queue = {{ name = "all", bind = ["#"] }}
{more}
"##
    )
}

/// Publishes events with the ids in `numbers` as one request.
async fn publish(weir: &Weir, numbers: std::ops::Range<usize>) -> Reply {
    let event = |number: usize| {
        json!({
            "specversion": "1.0", "id": number.to_string(), "source": "/shop", "type": "n",
            "data": {"n": number},
        })
    };
    let events: Vec<_> = numbers.map(event).collect();
    weir.post("/in", &BATCH, Value::Array(events).to_string().as_bytes()).await
}

/// Publishes in requests of 10, all of which must be answered `spooled`.
async fn spooled(weir: &Weir, numbers: std::ops::Range<usize>) {
    for start in numbers.clone().step_by(10) {
        let reply = publish(weir, start..numbers.end.min(start + 10)).await;
        assert_eq!(reply.status(), 202, "{reply:?}");
        for result in reply.accepted() {
            assert_eq!(result["status"], "spooled", "{result}");
        }
    }
}

async fn held(weir: &Weir) -> f64 {
    weir.metric("weir_spool_events", &[("pipeline", "test")]).await
}

async fn drained(weir: &Weir) {
    eventually("the spool is empty", async || (held(weir).await == 0.0).then_some(())).await;
}

fn numbers(taken: &[Taken]) -> Vec<usize> {
    taken.iter().map(|message| message.id().parse().expect("our own ids")).collect()
}

/// All of `0..count` are in the queue; answers how many more than once.
async fn all_kept(vhost: &Vhost, count: usize) -> usize {
    let taken = numbers(&vhost.again().await.drain("all").await);
    let found: HashSet<usize> = taken.iter().copied().collect();
    let lost: Vec<_> = (0..count).filter(|number| !found.contains(number)).collect();
    assert!(
        lost.is_empty(),
        "{} of {count} are lost: {:?}",
        lost.len(),
        &lost[..lost.len().min(9)]
    );
    taken.len() - found.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_while_the_broker_is_away_arrives_once_and_in_order() {
    let Some((broker, vhost)) = rough("spool-away").await else { return };
    broker.stop_app().await;
    let mut weir = Weir::with(&pipeline(&vhost.url, "")).start().await;
    eventually("the broker is known to be away", async || {
        (weir.status().await["pipelines"][0]["state"] == "degraded").then_some(())
    })
    .await;
    spooled(&weir, 0..200).await;
    weir.kill9();
    weir.start_again().await;
    assert_eq!(weir.get("/readyz").await.status(), 200, "a broker that is away is no reason");
    eventually("the backlog shows", async || (held(&weir).await == 200.0).then_some(())).await;
    let spool = &weir.status().await["pipelines"][0]["components"][1]["spool"];
    assert_eq!((&spool["events"], &spool["trouble"]), (&json!(200), &Value::Null), "{spool}");
    spooled(&weir, 200..300).await;
    weir.edit("pipelines/test.toml", pipeline(&vhost.url, "headers = { edition = \"second\" }"));
    assert_eq!(weir.reload().await.status(), 200);
    spooled(&weir, 300..400).await;
    broker.start_app().await;
    drained(&weir).await;
    let vhost = vhost.again().await;
    let taken = vhost.drain("all").await;
    assert_eq!(numbers(&taken), (0..400).collect::<Vec<_>>(), "each once and in order");
    let second = taken.iter().filter(|message| message.header("edition").is_some());
    assert_eq!(second.count(), 400, "all are sent as the file in force says");
    eventually("events pass the disk by again", async || {
        let reply = publish(&weir, 1_000..1_001).await;
        (reply.json()["results"][0]["status"] == "delivered").then_some(())
    })
    .await;
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_while_it_drains_its_spool_loses_nothing() {
    const COUNT: usize = 20_000;
    let Some((broker, vhost)) = rough("spool-killed").await else { return };
    broker.stop_app().await;
    let mut weir = Weir::with(&pipeline(&vhost.url, "")).start().await;
    for start in (0..COUNT).step_by(500) {
        let reply = publish(&weir, start..start + 500).await;
        assert_eq!(reply.status(), 202, "{reply:?}");
    }
    broker.start_app().await;
    let confirmed = [("counter", "confirmed")];
    for round in 1..=3 {
        let some = f64::from(round) * 500.0;
        weir.metric_reaches("weir_component_events_total", &confirmed, some).await;
        weir.kill9();
        weir.start_again().await;
    }
    drained(&weir).await;
    let repeats = all_kept(&vhost, COUNT).await;
    assert!(repeats <= 3 * REPEATS_MAX, "{repeats} repeats");
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_broker_owes_is_spooled_after_a_second() {
    let Some((broker, vhost)) = rough("spool-frozen").await else { return };
    let weir = Weir::with(&pipeline(&vhost.url, "stall_timeout = \"3s\"")).start().await;
    assert_eq!(publish(&weir, 0..10).await.status(), 200);
    broker.freeze();
    let begun = Instant::now();
    spooled(&weir, 10..20).await;
    let (took, since) = (begun.elapsed(), Instant::now());
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    spooled(&weir, 20..120).await;
    let each = since.elapsed() / 10;
    assert!(each < Duration::from_secs(1), "{each:?} for each request");
    broker.thaw();
    drained(&weir).await;
    let repeats = all_kept(&vhost, 120).await;
    assert!(repeats <= 10, "{repeats} repeats, and only ten were under way");
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_of_the_broker_is_no_trouble_for_publishers() {
    let Some((broker, vhost)) = rough("spool-alarm").await else { return };
    let weir = Weir::with(&pipeline(&vhost.url, "")).start().await;
    assert_eq!(publish(&weir, 0..10).await.status(), 200);
    broker.set_memory_alarm(true).await;
    // The broker tells a connection only once it publishes.
    spooled(&weir, 10..20).await;
    let begun = Instant::now();
    spooled(&weir, 20..120).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    broker.set_memory_alarm(false).await;
    drained(&weir).await;
    let repeats = all_kept(&vhost, 120).await;
    assert!(repeats <= 10, "{repeats} repeats, and only ten were under way");
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_no_sink_sends_is_named_until_its_sink_is_back() {
    let both = format!("{}[[sink]]\ntype = \"broadcast\"\n", pipeline(NOWHERE, ""));
    let weir = Weir::with(&both).settings("[hub.main]").start().await;
    spooled(&weir, 0..30).await;
    weir.edit("pipelines/test.toml", both.replace("queue =", "spool = \"none\"\nqueue ="));
    assert_eq!(weir.reload().await.status(), 200);
    let left = eventually("the spool is named", async || {
        weir.status().await["left_behind"].get(0).cloned()
    })
    .await;
    assert_eq!(left["events"], 30, "{left}");
    let file = left["file"].as_str().unwrap_or_default();
    assert!(file.ends_with("spool/test.rabbitmq.redb"), "{left}");
    assert!(weir.stderr().contains("events wait in a spool that no sink sends"));
    let count = weir.metric("weir_spool_left_behind_events", &[]).await;
    assert_eq!(count, 30.0);
    publish(&weir, 30..31).await.refused(503, "unavailable");

    weir.edit("pipelines/test.toml", both);
    assert_eq!(weir.reload().await.status(), 200);
    eventually("its sink has it", async || (held(&weir).await == 30.0).then_some(())).await;
    eventually("nothing is left behind", async || {
        weir.status().await["left_behind"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_publishers_try_again_and_service_resumes_by_itself() {
    let Some(small) = Small::mount() else { return };
    let ballast = small.path().join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).expect("there is room for it");
    let settings = format!("data_dir = {}", json!(small.path()));
    let weir = Weir::with(&pipeline(NOWHERE, "")).settings(&settings).start().await;
    let body = json!({"pad": "x".repeat(100_000)}).to_string();
    let mut kept = 0;
    let refused = eventually("the disk is full", async || {
        let reply = weir.publish("/in", &body).await;
        kept += usize::from(reply.status() == 202);
        (reply.status() != 202).then_some(reply)
    })
    .await;
    refused.refused(503, "unavailable");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(kept > 5, "only {kept} were kept");
    let ready = weir.get("/readyz").await;
    assert_eq!(ready.status(), 503, "{ready:?}");
    assert!(ready.text().contains("its spool takes nothing"), "{ready:?}");
    fs::remove_file(&ballast).expect("it is there");
    eventually("events are kept again", async || {
        let reply = weir.publish("/in", &body).await;
        kept += usize::from(reply.status() == 202);
        (reply.status() == 202).then_some(())
    })
    .await;
    weir.ready().await;
    assert_eq!(held(&weir).await, kept as f64, "all that was acknowledged is there");
    let settled =
        async |outcome| weir.metric("weir_events_settled_total", &[("outcome", outcome)]).await;
    assert_eq!((settled("lost").await, settled("spooled").await), (0.0, kept as f64));
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_filled_its_disk_drains_by_itself_while_publishers_go_on() {
    let Some((broker, vhost)) = rough("filled").await else { return };
    let Some(small) = Small::mount() else { return };
    let settings = format!("data_dir = {}", json!(small.path()));
    let weir = Weir::with(&pipeline(&vhost.url, "")).settings(&settings).start().await;
    eventually("the queue is declared", async || vhost.exists("all").await.then_some(())).await;
    broker.remember().await;
    broker.stop_app().await;
    let body = json!({"pad": "x".repeat(100_000)}).to_string();
    let mut kept = 0;
    eventually("the disk is full", async || {
        let reply = weir.publish("/in", &body).await;
        kept += usize::from(matches!(reply.status(), 200 | 202));
        (reply.status() == 503).then_some(())
    })
    .await;
    assert!(kept > 5, "only {kept} were kept");
    broker.start_app().await;
    eventually("the sink confirms again", async || {
        let reply = weir.publish("/in", &body).await;
        kept += usize::from(matches!(reply.status(), 200 | 202));
        (reply.status() == 200).then_some(())
    })
    .await;
    eventually("the spool is empty", async || (held(&weir).await == 0.0).then_some(())).await;
    assert!(vhost.again().await.drain("all").await.len() >= kept, "all that was kept is there");
    weir.ready().await;
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_makes_publishers_wait_where_it_blocks() {
    const COUNT: usize = 40;
    let Some((broker, vhost)) = rough("blocks").await else { return };
    let more = r#"spool = { bytes = "1MiB", when_full = "block" }"#;
    let weir = Weir::with(&pipeline(&vhost.url, more)).start().await;
    eventually("the queue is declared", async || vhost.exists("all").await.then_some(())).await;
    broker.remember().await;
    broker.stop_app().await;
    let body = json!({"pad": "x".repeat(100_000)}).to_string();
    let answered = AtomicUsize::new(0);
    let publishers = (0..COUNT).map(async |number| {
        let mut connection = weir.connect().await;
        let id = number.to_string();
        let headers = [("content-type", "application/json"), ("ce-id", id.as_str())];
        let reply = connection.call("POST", "/in", &headers, body.as_bytes()).await;
        answered.fetch_add(1, Ordering::Relaxed);
        reply.expect("the connection stays").status()
    });
    let back = async {
        eventually("the spool is full", async || {
            (answered.load(Ordering::Relaxed) >= 5 && held(&weir).await >= 5.0).then_some(())
        })
        .await;
        let waiting = COUNT - answered.load(Ordering::Relaxed);
        assert!(waiting > COUNT / 2, "only {waiting} wait for room of 1 MiB for 4 MB");
        broker.start_app().await;
    };
    let (statuses, ()) = tokio::join!(join_all(publishers), back);
    assert!(statuses.iter().all(|status| matches!(status, 200 | 202)), "{statuses:?}");
    drained(&weir).await;
    all_kept(&vhost, COUNT).await;
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_nothing_but_what_must_be_on_it() {
    let Some(disk) = Freezer::mount() else { return };
    let settings = format!("data_dir = {}", json!(disk.path()));
    let source = "path = \"/in\"\nack_timeout = \"1s\"\n";
    let pipeline = pipeline(NOWHERE, "").replace("path = \"/in\"\n", source);
    let live =
        "[[source]]\ntype = \"http\"\npath = \"/live-only\"\n\n[[sink]]\ntype = \"broadcast\"\n";
    let setup = Weir::with(&pipeline).pipeline("live", live).settings(&settings);
    let weir = setup.start().await;
    let mut page = weir.subscribe("main", &["**"]).await;
    spooled(&weir, 0..10).await;
    let frozen = disk.freeze();
    let reply = publish(&weir, 10..20).await;
    assert_eq!(reply.status(), 504, "nobody knows what becomes of it: {reply:?}");
    weir.publish("/live-only", r#"{"n":1}"#).await.accepted();
    page.expect(r#"{"n":1}"#).await;
    weir.edit("pipelines/live.toml", live.replace("/live-only", "/other"));
    assert_eq!(weir.reload().await.status(), 200);
    weir.publish("/other", r#"{"n":2}"#).await.accepted();
    page.expect(r#"{"n":2}"#).await;
    assert_eq!(weir.get("/livez").await.status(), 200);
    drop(frozen);
    eventually("what hung is on the disk", async || (held(&weir).await == 20.0).then_some(()))
        .await;
    spooled(&weir, 20..30).await;
    assert_eq!(held(&weir).await, 30.0, "all that was acknowledged is there, each once");
    weir.stop().await.clean();
}
