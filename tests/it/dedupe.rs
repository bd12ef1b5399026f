//! Who repeats an event because the first answer got lost reaches subscribers once.

use serde_json::{Value, json};
use weir_harness::{Reply, Subscriber, Weir};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[source]]
type = "websocket"
path = "/ws"
hub = "main"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

async fn start(pipeline: &str) -> Weir {
    Weir::with(pipeline).settings("[hub.main]").start().await
}

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": "t", "data": id })
}

async fn publish(weir: &Weir, events: &[&str]) -> Reply {
    let events: Vec<Value> = events.iter().map(|id| event(id)).collect();
    let body = json!(events).to_string();
    let batch = ("content-type", "application/cloudevents-batch+json");
    weir.post("/in", &[batch], body.as_bytes()).await
}

fn statuses(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status(), 200, "{reply:?}");
    let status = |result: &Value| result["status"].as_str().unwrap_or_default().to_owned();
    reply.results().iter().map(status).collect()
}

#[tokio::test]
async fn a_repeat_is_answered_and_goes_no_further() {
    let weir = start(PIPELINE).await;
    let mut page = weir.subscribe("main", &["t"]).await;
    assert_eq!(statuses(&publish(&weir, &["a", "b"]).await), ["delivered", "delivered"]);
    let again = publish(&weir, &["b", "c", "c"]).await;
    assert_eq!(statuses(&again), ["duplicate", "delivered", "duplicate"]);
    let mut socket = Subscriber::websocket(weir.public, "/ws").await;
    let over_socket =
        json!({ "id": "a", "source": "/shop", "type": "t", "data": "over the other way" });
    let result = socket.publish(&over_socket).await;
    assert_eq!(result, json!({ "id": "a", "status": "duplicate" }));
    let fresh = json!({ "id": "d", "source": "/shop", "type": "t", "data": "d" });
    assert_eq!(socket.publish(&fresh).await["status"], "delivered");
    for id in ["a", "b", "c", "d"] {
        page.expect(&json!(id).to_string()).await;
    }
    let duplicates = [("pipeline", "test"), ("outcome", "duplicate")];
    weir.metric_reaches("weir_events_settled_total", &duplicates, 3.0).await;
    weir.metric_reaches("weir_dedupe_events", &[("pipeline", "test")], 4.0).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_repeat_is_known_after_a_restart() {
    let mut weir = start(PIPELINE).await;
    assert_eq!(statuses(&publish(&weir, &["a", "b"]).await), ["delivered", "delivered"]);
    weir.stop().await.clean();
    weir.start_again().await;
    weir.metric_reaches("weir_dedupe_events", &[("pipeline", "test")], 2.0).await;
    let again = publish(&weir, &["b", "c"]).await;
    assert_eq!(statuses(&again), ["duplicate", "delivered"]);
    weir.stop().await.clean();

    // A file that holds no ids hurts nobody.
    weir.edit("data/dedupe/test.ids", "rubbish");
    weir.start_again().await;
    assert_eq!(statuses(&publish(&weir, &["b"]).await), ["delivered"]);
    weir.stop().await.clean();
}

#[tokio::test]
async fn events_without_an_id_of_their_publisher_are_never_repeats() {
    let weir = start(PIPELINE).await;
    for _ in 0..2 {
        assert_eq!(weir.publish("/in", "{}").await.accepted()[0]["status"], "delivered");
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_reload_forgets_no_event() {
    let weir = start(PIPELINE).await;
    assert_eq!(statuses(&publish(&weir, &["a"]).await), ["delivered"]);
    let dedupe = "dedupe = { events = 10, age = \"1m\" }\n";
    weir.edit("pipelines/test.toml", format!("{dedupe}{PIPELINE}"));
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(statuses(&publish(&weir, &["a", "b"]).await), ["duplicate", "delivered"]);
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_pipeline_may_take_repeats() {
    let weir = start(&format!("dedupe = \"none\"\n{PIPELINE}")).await;
    for _ in 0..2 {
        assert_eq!(statuses(&publish(&weir, &["a"]).await), ["delivered"]);
    }
    weir.stop().await.clean();
}
