//! SIGTERM ends the daemon in order, and everybody is told.

use serde_json::Value;
use weir_harness::{Connection, Weir, within};

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

/// The farewell among the last frames.
fn bye(frames: &[Value]) -> Option<&Value> {
    frames.iter().find(|frame| frame["type"] == "bye")
}

#[tokio::test]
async fn subscribers_hear_that_the_daemon_goes_away() {
    let weir = start().await;
    let mut sse = weir.subscribe("main", &["**"]).await;
    let mut websocket = weir.subscribe_websocket("main", &["**"]).await;
    weir.publish("/in", r#"{"n":1}"#).await.accepted();
    weir.signal("TERM");
    for page in [&mut sse, &mut websocket] {
        page.expect(r#"{"n":1}"#).await;
        let frames = page.rest().await;
        let bye = bye(&frames).unwrap_or_else(|| panic!("no bye among {frames:?}"));
        assert_eq!(bye["reason"], "drain", "{bye}");
        assert!(bye["after"].is_u64(), "{bye}");
    }
    assert_eq!(websocket.close_code(), Some(1012));
    weir.ended().await.clean();
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_daemon() {
    let weir = start().await;
    let mut connection = weir.connect().await;
    let json = [("content-type", "application/json")];
    let reply = within("a reply", connection.call("POST", "/in", &json, b"{}")).await;
    reply.expect("a reply").accepted();
    weir.stop().await.clean();
    assert!(within("the end of the connection", connection.is_closed()).await);
    assert!(Connection::open(weir.public).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let weir = start().await;
    let mut connection = weir.connect().await;
    let head = b"POST /in HTTP/1.1\r\nhost: weir.test\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n";
    connection.send(head).await.expect("a request can be sent");
    connection.send(b"{\"n\"").await.expect("a request can be sent");
    weir.metric_reaches("weir_listener_requests_total", &[("listener", "public")], 1.0).await;
    weir.signal("TERM");
    connection.send(b": 1}").await.expect("a request can be sent");
    let reply = within("a reply", connection.reply("POST")).await.expect("a reply");
    assert!(matches!(reply.status(), 200 | 503), "{reply:?}");
    weir.ended().await.clean();
}

#[tokio::test]
async fn a_publisher_who_never_ends_does_not_hold_the_daemon() {
    let weir = start().await;
    let mut connection = weir.connect().await;
    connection.send(b"POST /in HTTP/1.1\r\nhost: w").await.expect("a request can be sent");
    weir.stop().await.regular();
}

#[tokio::test]
async fn a_stopped_daemon_starts_again_on_the_same_port() {
    let weir = start().await;
    let settings = format!("[hub.main]\n[listener.public]\naddress = \"{}\"\n", weir.public);
    let mut websocket = weir.subscribe_websocket("main", &["**"]).await;
    weir.stop().await.clean();
    websocket.rest().await;
    let weir = Weir::with(PIPELINE).settings(&settings).start().await;
    weir.publish("/in", "{}").await.accepted();
    weir.stop().await.clean();
}
