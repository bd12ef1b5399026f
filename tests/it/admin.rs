//! What operators and their machines may ask a running daemon.

use weir_harness::{Connection, Weir, within};

const PIPELINE: &str = r#"
description = "Orders of the shop"

[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"
"#;

async fn start() -> Weir {
    Weir::with(PIPELINE).settings("[hub.main]").start().await
}

#[tokio::test]
async fn a_healthy_daemon_is_alive_and_ready() {
    let weir = start().await;
    assert_eq!(weir.get("/livez").await.status(), 200);
    let ready = weir.get("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.json()["ready"], true, "{ready:?}");
    weir.stop().await.clean();
}

#[tokio::test]
async fn the_status_shows_what_is_running() {
    let weir = start().await;
    weir.publish("/in", "{}").await.accepted();
    let status = weir.status().await;
    assert_eq!(status["generation"], 1, "{status}");
    assert_eq!(status["listeners"]["public"]["address"], weir.public.to_string(), "{status}");
    assert!(status["hubs"]["main"].is_object(), "{status}");
    let pipeline = &status["pipelines"][0];
    assert_eq!(pipeline["name"], "test", "{status}");
    assert_eq!(pipeline["description"], "Orders of the shop");
    assert_eq!(pipeline["state"], "running");
    assert_eq!(pipeline["events"]["received"], 1);
    assert_eq!(pipeline["events"]["delivered"], 1);
    assert_eq!(weir.get("/v1/pipelines").await.json()["pipelines"][0]["name"], "test");
    weir.stop().await.clean();
}

#[tokio::test]
async fn reloads_are_remembered_with_their_faults() {
    let weir = start().await;
    weir.edit("pipelines/test.toml", "[[sorce]]\n");
    assert_eq!(weir.reload().await.status(), 422);
    let reloads = weir.get("/v1/reloads").await.json();
    let newest = &reloads["reloads"][0];
    assert_eq!(newest["applied"], false, "{reloads}");
    assert!(newest["faults"][0]["message"].is_string(), "{reloads}");
    assert!(newest["took_ms"].is_number(), "{reloads}");
    let oldest = reloads["reloads"].as_array().and_then(|list| list.last()).expect("the start");
    assert_eq!(oldest["generation"], 1, "{reloads}");
    assert_eq!(weir.metric("weir_config_last_reload_successful", &[]).await, 0.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let weir = start().await;
    let reply = weir.get("/metrics").await;
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("weir_"), "{line}");
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn another_site_may_not_ask_for_a_reload() {
    let weir = start().await;
    let before = weir.get("/v1/reloads").await.json()["reloads"].as_array().map(Vec::len);
    let mut connection = Connection::open(weir.admin).await.expect("the admin API accepts");
    let headers = [("origin", "https://evil.example.com"), ("sec-fetch-site", "cross-site")];
    let call = connection.call("POST", "/v1/reload", &headers, b"");
    let reply = within("a reply", call).await.expect("a reply");
    assert_eq!(reply.status(), 403, "{reply:?}");
    let after = weir.get("/v1/reloads").await.json()["reloads"].as_array().map(Vec::len);
    assert_eq!(before, after);
    weir.stop().await.clean();
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered() {
    let weir = start().await;
    weir.get("/v1/nothing").await.refused(404, "not_found");
    assert_eq!(weir.admin("GET", "/v1/reload").await.status(), 405);
    weir.stop().await.clean();
}
