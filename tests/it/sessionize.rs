//! The plugin `sessionize` in the running daemon: sessions outlive it, and end while it works.

use std::collections::BTreeSet;

use serde_json::json;
use weir_harness::{Subscriber, Weir};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[transform]]
plugin = "sessionize"
grants = ["clock", "kv"]
config = { key = "data.user", idle = "8s" }
tick = "50ms"
limits = { time = "5s" }

[[sink]]
type = "broadcast"
hub = "main"
channel = "all"
"#;

/// The session that an event of `user` is given.
async fn visit(weir: &Weir, page: &mut Subscriber, user: &str) -> String {
    weir.publish("/in", &json!({ "user": user }).to_string()).await.accepted();
    let frame = page.frame("event").await;
    let event = &frame["event"];
    assert_eq!(event["data"]["user"], user, "{frame}");
    event["session"].as_str().unwrap_or_else(|| panic!("no session: {frame}")).to_owned()
}

#[tokio::test]
async fn sessions_outlive_the_daemon_and_end_when_they_are_idle() {
    let mut weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
    let mut page = weir.subscribe("main", &["all"]).await;
    let ann = visit(&weir, &mut page, "ann").await;
    assert_eq!(visit(&weir, &mut page, "ann").await, ann);
    let bob = visit(&weir, &mut page, "bob").await;
    assert_ne!(ann, bob);
    weir.stop().await.clean();
    weir.start_again().await;
    let mut page = weir.subscribe("main", &["all"]).await;
    let mut ended = BTreeSet::new();
    while ended.len() < 2 {
        let frame = page.frame("event").await;
        let event = &frame["event"];
        assert_eq!(event["type"], "session.ended", "{frame}");
        assert_eq!(event["source"], "/pipelines/test/sessionize", "{frame}");
        let data = &event["data"];
        assert_eq!(data["events"], if data["key"] == "ann" { 2 } else { 1 }, "{frame}");
        ended.insert(data["session"].as_str().expect("a session has an id").to_owned());
    }
    assert_eq!(ended, BTreeSet::from([ann, bob]));
    let pipeline = [("pipeline", "test")];
    assert_eq!(weir.metric("weir_events_unaccounted_total", &pipeline).await, 0.0);
    weir.stop().await.clean();
}
