//! Plugins that emit events of their own when it is time.
//!
//! The plugin is `tests/guests/ticker`, which says at each tick how many events there were since
//! the last one.

use std::fs;

use serde_json::json;
use weir_harness::{Weir, artifacts};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[transform]]
plugin = "ticker"
config = { mode = "count" }
grants = ["kv"]
tick = "20ms"
limits = { time = "5s" }

[[sink]]
type = "broadcast"
hub = "main"
channel = "all"
"#;

async fn start(pipeline: &str) -> Weir {
    let ticker = fs::read(artifacts::guests().join("ticker.wasm")).expect("the guests are built");
    let setup = Weir::with(pipeline).settings("[hub.main]").own_plugins();
    setup.file("plugins/ticker.wasm", ticker).start().await
}

#[tokio::test]
async fn events_of_a_tick_reach_subscribers_and_are_in_the_books() {
    let weir = start(PIPELINE).await;
    let mut page = weir.subscribe("main", &["all"]).await;
    weir.publish("/in", r#"{"n":1}"#).await.accepted();
    page.expect(r#"{"n":1}"#).await;
    let frame = page.frame("event").await;
    let event = &frame["event"];
    assert_eq!(event["data"], json!({ "events": 1 }), "{frame}");
    assert_eq!(
        (&event["type"], &event["source"]),
        (&json!("ticked"), &json!("/pipelines/test/ticker"))
    );
    let pipeline = [("pipeline", "test")];
    weir.metric_reaches("weir_events_received_total", &pipeline, 2.0).await;
    let delivered = [("pipeline", "test"), ("outcome", "delivered")];
    weir.metric_reaches("weir_events_settled_total", &delivered, 2.0).await;
    let step = [("pipeline", "test"), ("step", "ticker")];
    assert_eq!(weir.metric("weir_transform_tick_events_total", &step).await, 1.0);
    // Also when nothing arrives.
    let ticks = weir.metric("weir_transform_ticks_total", &step).await;
    weir.metric_reaches("weir_transform_ticks_total", &step, ticks + 3.0).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_tick_that_traps_costs_the_instance_and_no_event() {
    let weir = start(&PIPELINE.replace("count", "tick traps once")).await;
    let mut page = weir.subscribe("main", &["all"]).await;
    weir.publish("/in", r#"{"n":1}"#).await.accepted();
    let mut attempts = 0;
    while attempts == 0 {
        let frame = page.frame("event").await;
        attempts = frame["event"]["data"]["attempts"].as_u64().unwrap_or(0);
    }
    weir.publish("/in", r#"{"n":2}"#).await.accepted();
    weir.metric_reaches("weir_transform_ticks_total", &[("step", "ticker")], 5.0).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_tick_for_a_plugin_without_a_timer_is_a_fault() {
    let weir = start(PIPELINE).await;
    let filter = fs::read(artifacts::guests().join("puppet.wasm")).expect("the guests are built");
    weir.edit("plugins/ticker.wasm", filter);
    let reply = weir.reload().await;
    assert_eq!(reply.status(), 422, "{reply:?}");
    let fault = reply.json()["faults"][0].clone();
    assert_eq!((&fault["code"], &fault["line"]), (&json!("W0605"), &json!(10)), "{fault}");
    weir.stop().await.clean();
}

#[tokio::test]
async fn what_a_plugin_knows_is_carried_over_a_reload() {
    let weir = start(&PIPELINE.replace("20ms", "1h")).await;
    let mut page = weir.subscribe("main", &["all"]).await;
    for n in 0..3 {
        weir.publish("/in", &json!({ "n": n }).to_string()).await.accepted();
        page.expect(&json!({ "n": n }).to_string()).await;
    }
    // An edit of the pipeline, then a new file of the plugin: a custom section makes it another.
    weir.edit(
        "pipelines/test.toml",
        format!("description = \"changed\"\n{}", PIPELINE.replace("20ms", "2h")),
    );
    assert_eq!(weir.reload().await.status(), 200);
    let ticker = fs::read(artifacts::guests().join("ticker.wasm")).expect("the guests are built");
    weir.edit("plugins/ticker.wasm", [&ticker[..], b"\0\x02\x01x"].concat());
    assert_eq!(weir.reload().await.status(), 200);
    weir.edit("pipelines/test.toml", PIPELINE);
    assert_eq!(weir.reload().await.status(), 200);
    let frame = page.frame("event").await;
    assert_eq!(frame["event"]["data"], json!({ "events": 3 }), "{frame}");
    weir.stop().await.clean();
}
