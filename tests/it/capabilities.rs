//! Tables, state and numbers of plugins in the running daemon, over reloads and restarts.
//!
//! The plugin is `tests/guests/asker`, which asks what the data of an event says and answers in
//! place of the event.

use std::fs;

use serde_json::json;
use weir_harness::{Subscriber, Weir, artifacts, eventually, mmdb};

const PIPELINE: &str = r#"
[table.users]
file = "users.csv"

[table.networks]
file = "networks.mmdb"

[[source]]
type = "http"
path = "/in"

[[transform]]
plugin = "asker"
grants = ["kv", "lookup", "metrics", "random"]
limits = { time = "5s", state = "1MiB" }

[[sink]]
type = "broadcast"
hub = "main"
channel = "said"
"#;

async fn start() -> Weir {
    let asker = fs::read(artifacts::guests().join("asker.wasm")).expect("the guests are built");
    let setup = Weir::with(PIPELINE).settings("[hub.main]").own_plugins();
    let setup = setup.file("pipelines/users.csv", "user,plan\nann,pro\n");
    let setup = setup.file("pipelines/networks.mmdb", mmdb::network([203, 0, 113, 0], 24, "DE"));
    setup.file("plugins/asker.wasm", asker).start().await
}

/// What the plugin answers.
async fn ask(weir: &Weir, page: &mut Subscriber, question: &str) -> String {
    weir.publish("/in", &json!(question).to_string()).await.accepted();
    let frame = page.frame("event").await;
    frame["event"]["data"].as_str().unwrap_or_else(|| panic!("{frame}")).to_owned()
}

#[tokio::test]
async fn a_changed_table_is_in_force_without_a_pause() {
    let weir = start().await;
    let mut page = weir.subscribe("main", &["said"]).await;
    assert_eq!(ask(&weir, &mut page, "find users ann eve").await, r#"{"plan":"pro"} -"#);
    let networks = ask(&weir, &mut page, "find networks 203.0.113.7 203.0.114.7 ::1 nonsense");
    assert_eq!(networks.await, r#"{"country":{"iso_code":"DE"}} - - -"#);
    weir.edit("pipelines/users.csv", "user,plan\neve,free\n");
    let mut asked = 2;
    eventually("the new table", async || {
        asked += 1;
        let said = ask(&weir, &mut page, "find users ann eve").await;
        (said == r#"- {"plan":"free"}"#).then_some(())
    })
    .await;
    // One that cannot be read changes nothing.
    weir.edit("pipelines/users.csv", "user,plan\neve\n");
    let reply = weir.reload().await;
    assert_eq!(reply.status(), 422, "{reply:?}");
    let fault = reply.json()["faults"][0].clone();
    assert_eq!((&fault["code"], &fault["line"]), (&json!("W0604"), &json!(3)), "{fault}");
    assert!(reply.text().contains("line 2: 1 fields where 2 are named"), "{reply:?}");
    assert_eq!(ask(&weir, &mut page, "find users eve").await, r#"{"plan":"free"}"#);
    // All that was answered by one and the same instance of the step.
    let labels = [("pipeline", "test"), ("step", "asker")];
    weir.metric_reaches("weir_transform_events_total", &labels, f64::from(asked + 1)).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn state_outlives_reloads_and_the_daemon() {
    let mut weir = start().await;
    let mut page = weir.subscribe("main", &["said"]).await;
    assert_eq!(ask(&weir, &mut page, "add n 5").await, "5");
    weir.edit("pipelines/test.toml", format!("description = \"changed\"\n{PIPELINE}"));
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(ask(&weir, &mut page, "add n 1").await, "6");
    weir.stop().await.clean();
    weir.start_again().await;
    let mut page = weir.subscribe("main", &["said"]).await;
    assert_eq!(ask(&weir, &mut page, "add n 1").await, "7");
    weir.stop().await.clean();
}

#[tokio::test]
async fn what_a_plugin_counts_is_among_the_metrics() {
    let weir = start().await;
    let mut page = weir.subscribe("main", &["said"]).await;
    for question in ["count hits 2", "count hits 1", "gauge depth 2.5", "observe ms 30"] {
        ask(&weir, &mut page, question).await;
    }
    let of = |name: &'static str| [("pipeline", "test"), ("step", "asker"), ("name", name)];
    assert_eq!(weir.metric("weir_plugin_count_total", &of("hits")).await, 3.0);
    assert_eq!(weir.metric("weir_plugin_gauge", &of("depth")).await, 2.5);
    assert_eq!(weir.metric("weir_plugin_histogram_sum", &of("ms")).await, 30.0);
    let bucket = |bound| [&of("ms")[..], &[("le", bound)]].concat();
    assert_eq!(weir.metric("weir_plugin_histogram_bucket", &bucket("25.0")).await, 0.0);
    assert_eq!(weir.metric("weir_plugin_histogram_bucket", &bucket("50.0")).await, 1.0);
    // Asking too often has a reason of its own, and the reload keeps the numbers.
    weir.publish("/in", r#""ask for ever""#).await;
    let runs = [("step", "asker"), ("reason", "host_calls")];
    weir.metric_reaches("weir_transform_failed_runs_total", &runs, 1.0).await;
    weir.edit("pipelines/test.toml", format!("description = \"changed\"\n{PIPELINE}"));
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(weir.metric("weir_plugin_count_total", &of("hits")).await, 3.0);
    weir.stop().await.clean();
}
