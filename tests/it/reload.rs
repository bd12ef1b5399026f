//! Edits are applied to the running daemon, and nobody notices.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use weir_harness::endurance::{Plan, reload_under_load};
use weir_harness::{Weir, eventually, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[transform]]
plugin = "filter"
config = { keep = 'data.n != 13' }

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

async fn start() -> Weir {
    Weir::with(PIPELINE).settings("[hub.main]").own_plugins().start().await
}

/// Waits until `path` answers an event with this status.
async fn answers(weir: &Weir, path: &str, status: u16) {
    eventually(&format!("{path} answers {status}"), async || {
        (weir.publish(path, r#"{"n":1}"#).await.status() == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_saved_file_is_applied() {
    let weir = start().await;
    weir.publish("/new", "{}").await.refused(404, "not_found");
    weir.edit("pipelines/test.toml", PIPELINE.replace("\"/in\"", "\"/new\""));
    answers(&weir, "/new", 200).await;
    weir.publish("/in", "{}").await.refused(404, "not_found");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_pipeline_comes_and_goes_with_its_file() {
    let weir = start().await;
    weir.edit("pipelines/other.toml", PIPELINE.replace("\"/in\"", "\"/other\""));
    answers(&weir, "/other", 200).await;
    weir.directory.remove("pipelines/other.toml");
    answers(&weir, "/other", 404).await;
    answers(&weir, "/in", 200).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_hangup_signal_reloads() {
    let weir = start().await;
    let reloads = async || {
        let body = weir.get("/v1/reloads").await.json();
        let triggers = body["reloads"].as_array().cloned().unwrap_or_default();
        triggers.into_iter().filter(|reload| reload["trigger"] == "signal").count()
    };
    assert_eq!(reloads().await, 0);
    weir.signal("HUP");
    eventually("a reload by signal", async || (reloads().await == 1).then_some(())).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_reload_answers_what_changed() {
    let weir = start().await;
    weir.edit("pipelines/other.toml", PIPELINE.replace("\"/in\"", "\"/other\""));
    let reply = weir.reload().await;
    assert_eq!(reply.status(), 200, "{reply:?}");
    // The watch may have been first; then this one found nothing new.
    let reloads = weir.get("/v1/reloads").await.json();
    let all = reloads["reloads"].as_array().expect("a list");
    assert!(all.iter().any(|reload| reload["added"] == json!(["other"])), "{reloads}");
    assert!(reply.json()["generation"].is_u64(), "{reply:?}");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_broken_file_changes_nothing() {
    let weir = start().await;
    let mut page = weir.subscribe("main", &["**"]).await;
    let before = weir.status().await["generation"].clone();
    weir.edit("pipelines/test.toml", PIPELINE.replace("channel", "chanel"));
    weir.edit("pipelines/other.toml", PIPELINE.replace("\"/in\"", "\"/other\""));
    let reply = weir.reload().await;
    assert_eq!(reply.status(), 422, "{reply:?}");
    let fault = reply.json()["faults"][0].clone();
    assert!(fault["file"].as_str().unwrap_or_default().ends_with("test.toml"), "{fault}");
    assert_eq!(fault["line"], 13, "{fault}");
    assert!(fault["code"].as_str().unwrap_or_default().starts_with('W'), "{fault}");
    assert!(reply.text().contains("channel"), "a near miss is suggested: {reply:?}");
    weir.publish("/in", r#"{"n":1}"#).await.accepted();
    page.expect(r#"{"n":1}"#).await;
    weir.publish("/other", "{}").await.refused(404, "not_found");
    assert_eq!(weir.status().await["generation"], before);
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_bad_file_at_start_does_not_stop_a_good_pipeline() {
    let setup = Weir::with(PIPELINE).pipeline("broken", "[[source]\n").settings("[hub.main]");
    let weir = setup.start_unready().await;
    answers(&weir, "/in", 200).await;
    let ready = weir.get("/readyz").await;
    assert_eq!(ready.status(), 503, "{ready:?}");
    weir.directory.remove("pipelines/broken.toml");
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(weir.get("/readyz").await.status(), 200);
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_request_under_way_enters_the_pipeline_in_force() {
    let weir = start().await;
    let mut connection = weir.connect().await;
    let head = b"POST /in HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n";
    connection.send(head).await.expect("a request can be sent");
    connection.send(b"{\"n\"").await.expect("a request can be sent");
    weir.metric_reaches("weir_listener_requests_total", &[("listener", "public")], 1.0).await;
    weir.edit("pipelines/test.toml", PIPELINE.replace("13", "14"));
    assert_eq!(weir.reload().await.status(), 200);
    connection.send(b":14}").await.expect("a request can be sent");
    let reply = within("a reply", connection.reply("POST")).await.expect("a reply");
    assert_eq!(reply.status(), 200, "{reply:?}");
    assert_eq!(reply.json()["status"], "filtered", "the new transform judges");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_changed_transform_judges_the_next_event() {
    let weir = start().await;
    let status = async |n: u32| {
        let reply = weir.publish("/in", &json!({ "n": n }).to_string()).await;
        reply.json()["status"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(status(13).await, "filtered");
    assert_eq!(status(14).await, "delivered");
    weir.edit("pipelines/test.toml", PIPELINE.replace("13", "14"));
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(status(13).await, "delivered");
    assert_eq!(status(14).await, "filtered");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_replaced_plugin_is_swapped_in() {
    let weir = start().await;
    let digest = async || -> Value {
        weir.status().await["pipelines"][0]["transforms"][0]["digest"].clone()
    };
    let before = digest().await;
    let path = weir.directory.path().join("plugins/filter.wasm");
    let mut bytes = fs::read(path).expect("the plugin is there");
    // A custom section, which changes nothing but the bytes.
    bytes.extend([0, 3, 2, b'n', b'o']);
    weir.edit("plugins/filter.wasm", bytes);
    eventually("another digest", async || (digest().await != before).then_some(())).await;
    weir.publish("/in", r#"{"n":1}"#).await.accepted();
    weir.stop().await.clean();
}

#[tokio::test]
async fn reload_keeps_live_subscribers() {
    let weir = start().await;
    let mut sse = weir.subscribe("main", &["**"]).await;
    let mut websocket = weir.subscribe_websocket("main", &["**"]).await;
    weir.edit("pipelines/test.toml", PIPELINE.replace("{{type}}", "all.{{type}}"));
    assert_eq!(weir.reload().await.status(), 200);
    weir.publish("/in?type=t", r#"{"n":1}"#).await.accepted();
    for page in [&mut sse, &mut websocket] {
        assert_eq!(page.expect(r#"{"n":1}"#).await["channel"], "all.t");
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_thousand_edits_end_with_the_last() {
    let weir = start().await;
    for n in 0..1_000 {
        weir.edit("pipelines/test.toml", PIPELINE.replace("/in", &format!("/in/{n}")));
    }
    answers(&weir, "/in/999", 200).await;
    weir.publish("/in/998", "{}").await.refused(404, "not_found");
    weir.stop().await.clean();
}

#[tokio::test]
async fn reloads_under_load_go_unnoticed() {
    let plan = Plan {
        reloads: 20,
        reload_every: Duration::from_millis(1),
        requests_per_second: 200,
        lanes: 4,
        subscribers: 20,
    };
    reload_under_load(&plan).await.assert_unnoticed();
}
