//! What is refused for good can be kept, looked at, and published again where it was refused.

use std::process::Output;

use serde_json::{Value, json};
use weir_harness::broker::Vhost;
use weir_harness::{Reply, Weir, eventually};

use crate::brokers::quiet;

fn pipeline(keep: &str) -> String {
    format!(
        r#"
[[source]]
type = "http"
path = "/in"

[[transform]]
plugin = "filter"
config = {{ keep = '{keep}' }}
on_error = "dead-letter"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{{{type}}}}"
"#
    )
}

/// Compares a string with a number, which fails.
const BROKEN: &str = "data.n > 1";
const MENDED: &str = "data.price > 1.0";

async fn start() -> Weir {
    Weir::with(&pipeline(BROKEN)).settings("[hub.main]").start().await
}

/// Publishes an event whose data has a look of its own.
async fn publish(weir: &Weir, id: &str) -> Reply {
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/shop"),
        ("ce-type", "t"),
    ];
    weir.post("/in", &headers, br#"{ "n" : "x", "price":1.10 }"#).await
}

fn assert_dead(reply: &Reply, id: &str) {
    assert_eq!(reply.status(), 202, "{reply:?}");
    assert_eq!(reply.json(), json!({ "id": id, "status": "dead-lettered" }));
}

/// `weir dead` with these arguments.
fn dead(weir: &Weir, arguments: &[&str]) -> Output {
    let admin = weir.admin.to_string();
    let own = ["dead", "--output", "json", "--admin", &admin];
    Weir::command(&[&own, arguments].concat())
}

/// What the command printed, one value per line.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| serde_json::from_str(line).expect("each line is JSON");
    text.lines().map(read).collect()
}

fn letters(weir: &Weir) -> Vec<Value> {
    let output = dead(weir, &["ls", "test"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    lines(&output)
}

#[tokio::test]
async fn a_failed_event_is_replayed_once_its_pipeline_is_mended() {
    let weir = start().await;
    let mut page = weir.subscribe("main", &["t"]).await;
    assert_dead(&publish(&weir, "a").await, "a");
    let kept = letters(&weir);
    assert_eq!(kept.len(), 1, "{kept:?}");
    eventually("the log says so", async || {
        weir.stderr().contains("new dead letters").then_some(())
    })
    .await;
    let letter = &kept[0];
    assert_eq!((&letter["component"], &letter["code"]), (&json!("filter"), &json!("rejected")));
    assert_eq!((&letter["generation"], &letter["event"]["id"]), (&json!(1), &json!("a")));
    let seq = letter["seq"].to_string();
    let shown = dead(&weir, &["show", "test", &seq]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains(r#"{ "n" : "x", "price":1.10 }"#), "{text}");

    // Nothing is mended yet, so it is refused again and stays.
    let again = dead(&weir, &["replay", "test", "--all"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert_eq!(lines(&again)[0]["status"], "dead-lettered");
    assert_eq!(letters(&weir).len(), 1);

    weir.edit("pipelines/test.toml", pipeline(MENDED));
    assert_eq!(weir.reload().await.status(), 200);
    let replayed = dead(&weir, &["replay", "test", "--all"]);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    assert_eq!(lines(&replayed)[0]["status"], "delivered");
    let frame = page.frame("event").await;
    assert_eq!(frame["event"]["id"], "a", "{frame}");
    assert!(letters(&weir).is_empty());
    // Its publisher need not send it again.
    assert_eq!(publish(&weir, "a").await.json()["status"], "duplicate");
    weir.metric_reaches("weir_dead_letters_kept_total", &[("pipeline", "test")], 2.0).await;
    weir.metric_reaches("weir_dead_letters_replayed_total", &[], 2.0).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn dead_letters_outlive_a_crash_and_their_pipeline() {
    let mut weir = start().await;
    for id in ["a", "b", "c"] {
        assert_dead(&publish(&weir, id).await, id);
    }
    weir.kill9();
    weir.directory.remove("pipelines/test.toml");
    weir.start_again().await;
    let kept = letters(&weir);
    let ids: Vec<&Value> = kept.iter().map(|letter| &letter["event"]["id"]).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let seq = kept[1]["seq"].to_string();
    let refused = dead(&weir, &["replay", "test", &seq]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let purged = dead(&weir, &["purge", "test", &seq]);
    assert_eq!(lines(&purged), [json!({ "purged": 1 })]);
    assert_eq!(letters(&weir).len(), 2);
    assert_eq!(lines(&dead(&weir, &["purge", "test", "--all"])), [json!({ "purged": 2 })]);
    assert_eq!(lines(&dead(&weir, &["ls"]))[0]["pipelines"][0]["letters"], 0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn what_the_disk_does_not_keep_is_rejected() {
    let plain = pipeline(BROKEN).replace("on_error", "# on_error");
    let weir = Weir::with(&plain).settings("[hub.main]").start().await;
    weir.edit("data/dead", "a file where a folder should be");
    weir.edit("pipelines/test.toml", pipeline(BROKEN));
    assert_eq!(weir.reload().await.status(), 200);
    publish(&weir, "a").await.refused(422, "rejected");
    weir.metric_reaches("weir_dead_letters_refused_total", &[("pipeline", "test")], 1.0).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn without_a_daemon_or_a_letter_the_exit_code_says_so() {
    let nobody = Weir::command(&["dead", "ls", "--admin", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
    let weir = start().await;
    for arguments in [["show", "test", "7"], ["show", "other", "1"]] {
        assert_eq!(dead(&weir, &arguments).status.code(), Some(5));
    }
    weir.stop().await.clean();
}

/// Routes nothing until somebody binds a queue.
fn unbound(vhost: &Vhost) -> String {
    let url = &vhost.url;
    format!(
        r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "rabbitmq"
url = "{url}"
exchange = {{ name = "events", type = "topic", declare = true }}
on_error = "dead-letter"
"#
    )
}

#[tokio::test]
async fn an_unroutable_event_is_replayed_once_a_queue_takes_it() {
    let Some((_, vhost)) = quiet("dead").await else { return };
    let weir = Weir::with(&unbound(&vhost)).start().await;
    assert_dead(&publish(&weir, "a").await, "a");
    assert_eq!(letters(&weir)[0]["code"], "unroutable");
    take_all(&weir, &vhost, &unbound(&vhost)).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_spooled_event_that_the_broker_refuses_is_no_less_kept() {
    let Some((_, vhost)) = quiet("dead-spooled").await else { return };
    let plain = unbound(&vhost).replace("on_error", "# on_error");
    let away = plain.replace(&vhost.url, "amqp://127.0.0.1:1/%2f");
    let weir = Weir::with(&away).start_unready().await;
    let reply = publish(&weir, "a").await;
    assert_eq!(reply.json()["status"], "spooled", "{reply:?}");
    weir.edit("pipelines/test.toml", &plain);
    assert_eq!(weir.reload().await.status(), 200);
    weir.metric_reaches("weir_dead_letters", &[("pipeline", "test")], 1.0).await;
    assert_eq!(letters(&weir)[0]["code"], "unroutable");
    take_all(&weir, &vhost, &plain).await;
    weir.stop().await.clean();
}

/// Binds a queue to the sink of `pipeline` and replays the letter of event `a` into it.
async fn take_all(weir: &Weir, vhost: &Vhost, pipeline: &str) {
    let bound = "queue = { name = \"all\", bind = [\"#\"] }\n";
    weir.edit("pipelines/test.toml", format!("{pipeline}{bound}"));
    assert_eq!(weir.reload().await.status(), 200);
    let replayed = dead(weir, &["replay", "test", "--all"]);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    let taken = vhost.again().await.drain("all").await;
    let ids: Vec<&str> = taken.iter().map(|taken| taken.id()).collect();
    assert_eq!(ids, ["a"]);
}
