//! What a live subscriber sees: patterns, resuming, and gaps that are always announced.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_harness::{Subscriber, Weir, eventually, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

async fn start() -> Weir {
    Weir::with(PIPELINE).settings("[hub.main]").start().await
}

async fn publish(weir: &Weir, channel: &str, n: u32) {
    let body = json!({ "n": n }).to_string();
    weir.publish(&format!("/in?type={channel}"), &body).await.accepted();
}

async fn expect(page: &mut Subscriber, n: u32) -> Value {
    page.expect(&json!({ "n": n }).to_string()).await
}

#[tokio::test]
async fn both_transports_see_the_same_events() {
    let weir = start().await;
    let mut sse = weir.subscribe("main", &["orders"]).await;
    let mut websocket = weir.subscribe_websocket("main", &["orders"]).await;
    publish(&weir, "orders", 1).await;
    let first = expect(&mut sse, 1).await;
    let second = expect(&mut websocket, 1).await;
    assert_eq!(first["cursor"], second["cursor"]);
    assert_eq!(first["event"], second["event"]);
    assert_eq!(first["channel"], "orders");
    weir.stop().await.clean();
}

#[tokio::test]
async fn patterns_select_channels() {
    let weir = start().await;
    let mut one = weir.subscribe("main", &["chat.*"]).await;
    let mut any = weir.subscribe_websocket("main", &["chat.**"]).await;
    let mut exact = weir.subscribe("main", &["chat.a", "shop"]).await;
    for (n, channel) in ["chat.a", "chat.a.b", "shop", "chat.c"].into_iter().enumerate() {
        publish(&weir, channel, u32::try_from(n).expect("a small number")).await;
    }
    for n in [0, 3] {
        expect(&mut one, n).await;
    }
    for n in [0, 1, 3] {
        expect(&mut any, n).await;
    }
    for n in [0, 2] {
        expect(&mut exact, n).await;
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn an_event_stream_resumes_many_channels_where_it_stopped() {
    let weir = start().await;
    let mut page = weir.subscribe("main", &["a", "b"]).await;
    publish(&weir, "a", 1).await;
    expect(&mut page, 1).await;
    let cursor = page.cursor().to_owned();
    drop(page);
    publish(&weir, "b", 2).await;
    publish(&weir, "c", 3).await;
    publish(&weir, "a", 4).await;
    let path = "/live/main/sse?channel=a&channel=b";
    let mut page = Subscriber::sse(weir.public, path, &[("last-event-id", &cursor)]).await;
    expect(&mut page, 2).await;
    expect(&mut page, 4).await;
    publish(&weir, "a", 5).await;
    expect(&mut page, 5).await;

    let mut page = Subscriber::sse(weir.public, &format!("{path}&since={cursor}"), &[]).await;
    expect(&mut page, 2).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_websocket_resumes_where_it_stopped() {
    let weir = start().await;
    let mut page = weir.subscribe_websocket("main", &["a"]).await;
    publish(&weir, "a", 1).await;
    expect(&mut page, 1).await;
    let cursor = page.cursor().to_owned();
    drop(page);
    publish(&weir, "a", 2).await;
    publish(&weir, "a", 3).await;
    let mut page = Subscriber::websocket(weir.public, "/live/main/ws").await;
    let answer = page.sub(&["a"], &json!({ "since": cursor })).await;
    assert_eq!(answer["replayed"], 2, "{answer}");
    assert_eq!(answer["gaps"], json!([]), "{answer}");
    expect(&mut page, 2).await;
    expect(&mut page, 3).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn the_last_events_may_be_asked_for() {
    let weir = start().await;
    for n in 1..=5 {
        publish(&weir, "a", n).await;
        publish(&weir, "b", 100 + n).await;
    }
    let mut sse = Subscriber::sse(weir.public, "/live/main/sse?channel=a&last=2", &[]).await;
    let mut websocket = Subscriber::websocket(weir.public, "/live/main/ws").await;
    websocket.sub(&["a"], &json!({ "last": 2 })).await;
    for page in [&mut sse, &mut websocket] {
        expect(page, 4).await;
        expect(page, 5).await;
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn what_history_has_forgotten_is_announced() {
    let settings = "[hub.main]\nhistory = { events = 5 }";
    let weir = Weir::with(PIPELINE).settings(settings).start().await;
    let page = weir.subscribe("main", &["a"]).await;
    let cursor = page.cursor().to_owned();
    drop(page);
    for n in 1..=20 {
        publish(&weir, "a", n).await;
    }
    let path = format!("/live/main/sse?channel=a&since={cursor}");
    let mut page = Subscriber::sse(weir.public, &path, &[]).await;
    let gap = page.frame("gap").await;
    assert_eq!(gap["reason"], "expired", "{gap}");
    assert_eq!(gap["missed_from"], cursor, "{gap}");
    for n in 16..=20 {
        expect(&mut page, n).await;
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_cursor_of_another_run_is_answered_with_a_gap() {
    let weir = start().await;
    let cursor = weir.subscribe("main", &["a"]).await.cursor().to_owned();
    weir.stop().await.clean();
    let weir = start().await;
    let path = format!("/live/main/sse?channel=a&since={cursor}");
    let mut page = Subscriber::sse(weir.public, &path, &[]).await;
    let gap = page.frame("gap").await;
    assert_eq!(gap["reason"], "restarted", "{gap}");
    publish(&weir, "a", 1).await;
    expect(&mut page, 1).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn an_unsubscribed_channel_is_silent() {
    let weir = start().await;
    let mut page = weir.subscribe_websocket("main", &["a", "b"]).await;
    page.send(&json!({"type": "unsub", "ref": 2, "channels": ["a"]})).await;
    assert_eq!(page.frame("unsubok").await["ref"], 2);
    publish(&weir, "a", 1).await;
    publish(&weir, "b", 2).await;
    expect(&mut page, 2).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_hub_that_nobody_declared_is_not_there() {
    let weir = start().await;
    for path in ["/live/nowhere/sse?channel=a", "/live/nowhere/ws", "/live/nowhere/history"] {
        weir.call("GET", path, &[], b"").await.refused(404, "not_found");
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn subscribers_are_counted_while_they_are_there() {
    let weir = start().await;
    let sse = weir.subscribe("main", &["a"]).await;
    let websocket = weir.subscribe_websocket("main", &["a"]).await;
    let labels = [("hub", "main")];
    weir.metric_reaches("weir_hub_subscribers", &labels, 2.0).await;
    drop((sse, websocket));
    eventually("no subscriber is left", async || {
        (weir.metric("weir_hub_subscribers", &labels).await == 0.0).then_some(())
    })
    .await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_request_for_the_history_waits_for_the_next_event() {
    let weir = start().await;
    publish(&weir, "a", 1).await;
    let reply = weir.call("GET", "/live/main/history?channel=a", &[], b"").await.json();
    assert_eq!(reply["events"][0]["event"]["data"], json!({"n": 1}));
    let path = format!(
        "/live/main/history?channel=a&since={}&wait=30s",
        reply["cursor"].as_str().expect("a cursor")
    );
    let mut connection = weir.connect().await;
    let mut asking = JoinSet::new();
    asking.spawn(async move { connection.call("GET", &path, &[], b"").await });
    eventually("somebody waits", async || {
        (weir.status().await["hubs"]["main"]["subscribers"] == 1).then_some(())
    })
    .await;
    publish(&weir, "b", 2).await;
    publish(&weir, "a", 3).await;
    let replies = within("an answer", asking.join_all()).await;
    let reply = replies[0].as_ref().expect("a reply comes").json();
    let events = reply["events"].as_array().expect("a list");
    assert_eq!((events.len(), &events[0]["event"]["data"]), (1, &json!({"n": 3})));
    assert_eq!(reply["cursor"], events[0]["cursor"]);
    assert_eq!(reply["gaps"], json!([]));

    // Nothing comes: the cursor passes over what went elsewhere.
    publish(&weir, "b", 4).await;
    let path = format!(
        "/live/main/history?channel=a&since={}&wait=20ms",
        reply["cursor"].as_str().expect("a cursor")
    );
    let empty = weir.call("GET", &path, &[], b"").await.json();
    assert_eq!(empty["events"], json!([]));
    assert_ne!(empty["cursor"], reply["cursor"]);
    let bad = weir.call("GET", "/live/main/history?channel=a&wait=long", &[], b"").await;
    bad.refused(400, "bad_request");
    weir.stop().await.clean();
}
