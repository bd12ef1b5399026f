//! What must not get in, how it is answered and counted, and that the daemon goes on.

use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use weir_harness::{Subscriber, Weir, within};

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

const JSON: (&str, &str) = ("content-type", "application/json");

async fn start() -> Weir {
    Weir::with(PIPELINE).settings("[hub.main]").start().await
}

/// Replies of the public listener with this status.
async fn replies(weir: &Weir, status: u16) -> f64 {
    let labels = [("listener", "public"), ("status", &status.to_string())];
    weir.metric("weir_listener_replies_total", &labels).await
}

/// Asserts that the daemon still takes events and lost none, then stops it.
async fn goes_on(weir: &Weir) {
    let mut page = weir.subscribe("main", &["**"]).await;
    weir.publish("/in", r#"{"still":"here"}"#).await.accepted();
    page.expect(r#"{"still":"here"}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let weir = start().await;
    let bodies = ["", "{", "{\"a\":1}}", "nul", "{\"a\":\u{1}}", "\u{feff}{", "[1,"];
    for body in bodies {
        weir.publish("/in", body).await.refused(400, "bad_request");
    }
    weir.post("/in", &[JSON], b"{\"a\":\"\xff\xfe\"}").await.refused(400, "bad_request");
    let deep = "[".repeat(100_000);
    weir.publish("/in", &format!("{{\"a\":{deep}")).await.refused(400, "bad_request");
    assert_eq!(replies(&weir, 400).await, bodies.len() as f64 + 2.0);
    goes_on(&weir).await;
}

#[tokio::test]
async fn attributes_of_wrong_types_are_refused() {
    let weir = start().await;
    let ok = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t"});
    let wrong = [
        ("id", json!(1)),
        ("id", json!("")),
        ("type", json!(null)),
        ("type", json!({"a": 1})),
        ("source", json!([])),
        ("time", json!("yesterday")),
        ("specversion", json!("7")),
    ];
    for (name, value) in wrong {
        let mut event = ok.clone();
        event[name] = value;
        weir.publish("/in", &event.to_string()).await.refused(400, "bad_request");
    }
    weir.publish("/in", &ok.to_string()).await.accepted();
    goes_on(&weir).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let weir = start().await;
    let huge = format!("{{\"pad\":\"{}\"}}", "x".repeat(20 << 20));
    // The daemon may answer and close before it has read all of it.
    let mut connection = weir.connect().await;
    let head = format!(
        "POST /in HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        huge.len()
    );
    connection.send(head.as_bytes()).await.expect("a request can be sent");
    let reply = within("a reply", connection.reply("POST")).await.expect("a reply");
    reply.refused(413, "too_large");
    assert_eq!(replies(&weir, 413).await, 1.0);
    goes_on(&weir).await;
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused() {
    let weir = start().await;
    let mut connection = weir.connect().await;
    let head = b"POST /in HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.send(head).await.expect("a request can be sent");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..320 {
        // Refused in the middle: then the rest cannot be sent.
        if connection.send(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    if let Ok(reply) = within("a reply", connection.reply("POST")).await {
        reply.refused(413, "too_large");
    }
    weir.metric_reaches(
        "weir_listener_replies_total",
        &[("listener", "public"), ("status", "413")],
        1.0,
    )
    .await;
    goes_on(&weir).await;
}

#[tokio::test]
async fn a_decompression_bomb_is_refused() {
    let weir = start().await;
    let mut encoder = GzipEncoder::new(Vec::new());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..200 {
        encoder.write_all(&zeros).await.expect("memory takes bytes");
    }
    encoder.shutdown().await.expect("memory takes bytes");
    let bomb = encoder.into_inner();
    assert!(bomb.len() < 1 << 20, "200 MiB in {} bytes", bomb.len());
    let headers = [JSON, ("content-encoding", "gzip")];
    weir.post("/in", &headers, &bomb).await.refused(413, "too_large");
    weir.post("/in", &headers, b"no gzip at all").await.refused(400, "bad_request");
    let rss = weir_harness::process::rss_kib(weir.pid());
    assert!(rss < 400 << 10, "{rss} KiB resident");
    goes_on(&weir).await;
}

#[tokio::test]
async fn an_unknown_encoding_is_refused() {
    let weir = start().await;
    let headers = [JSON, ("content-encoding", "snappy")];
    weir.post("/in", &headers, b"{}").await.refused(415, "unsupported");
    weir.post("/in?format=xml", &[JSON], b"{}").await.refused(415, "unsupported");
    goes_on(&weir).await;
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let weir = start().await;
    let mut connection = weir.connect().await;
    let head = b"POST /in HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    connection.send(head).await.expect("a request can be sent");
    let reply = tokio::time::timeout(Duration::from_secs(40), connection.reply("POST")).await;
    let reply = reply.expect("a body that makes no progress is given up").expect("a reply");
    assert_eq!(reply.status(), 408, "{reply:?}");
    goes_on(&weir).await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_refused() {
    let weir = start().await;
    weir.publish("/nowhere", "{}").await.refused(404, "not_found");
    weir.publish("/in/below", "{}").await.refused(404, "not_found");
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let reply = weir.call(method, "/in", &[], b"").await;
        assert_eq!(reply.status(), 405, "{method}: {reply:?}");
        assert!(reply.header("allow").unwrap_or_default().contains("POST"), "{reply:?}");
    }
    assert_eq!(replies(&weir, 404).await, 2.0);
    assert_eq!(replies(&weir, 405).await, 4.0);
    goes_on(&weir).await;
}

#[tokio::test]
async fn bytes_that_are_no_http_are_cut_off() {
    let weir = start().await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"HELO\r\n\r\n", long.as_bytes()] {
        let mut connection = weir.connect().await;
        // The daemon may close before it has read all of it.
        connection.send(garbage).await.ok();
        if let Ok(reply) = within("an answer", connection.reply("GET")).await {
            assert!((400..500).contains(&reply.status()), "{reply:?}");
        }
    }
    let labels = [("listener", "public"), ("reason", "malformed")];
    weir.metric_reaches("weir_listener_cuts_total", &labels, 2.0).await;
    goes_on(&weir).await;
}

#[tokio::test]
async fn bad_frames_are_answered_and_the_socket_stays() {
    let weir = start().await;
    let mut socket = Subscriber::websocket(weir.public, "/ws").await;
    let bad = [
        "{",
        "[]",
        "7",
        "{}",
        r#"{"type":"dance","ref":1}"#,
        r#"{"type":"sub","ref":1}"#,
        r#"{"type":"sub","ref":1,"channels":[7]}"#,
        r#"{"type":"sub","ref":1,"channels":["a..b"]}"#,
        r#"{"type":"sub","ref":1,"channels":["a"],"since":"no cursor"}"#,
        r#"{"type":"pub","ref":1}"#,
        r#"{"type":"pub","ref":1,"events":7}"#,
    ];
    for text in bad {
        socket.send_raw(Message::text(text)).await;
        let frame = socket.next().await.unwrap_or_else(|| panic!("closed after {text}"));
        assert_eq!(frame["type"], "error", "{text}: {frame}");
        assert_eq!(frame["code"], "bad_request", "{text}: {frame}");
        assert!(frame["message"].is_string(), "{text}: {frame}");
    }
    let result = socket.publish(&json!({"id": "1", "type": "t", "data": 1})).await;
    assert_eq!(result["status"], "delivered", "{result}");
    goes_on(&weir).await;
}

#[tokio::test]
async fn a_bad_event_of_a_frame_fails_alone() {
    let weir = start().await;
    let mut socket = Subscriber::websocket(weir.public, "/ws").await;
    let events =
        json!([{"id": "1", "type": "t"}, {"id": 2, "type": "t"}, {"id": "3", "type": "t"}]);
    socket.send(&json!({"type": "pub", "ref": 9, "events": events})).await;
    let answer = socket.frame("pubok").await;
    assert_eq!(answer["results"][0]["status"], "delivered", "{answer}");
    assert_eq!(answer["results"][1]["code"], "bad_request", "{answer}");
    assert_eq!(answer["results"][2]["status"], "delivered", "{answer}");
    goes_on(&weir).await;
}

#[tokio::test]
async fn broken_utf8_closes_the_socket() {
    let weir = start().await;
    for path in ["/ws", "/live/main/ws"] {
        let mut socket = Subscriber::websocket(weir.public, path).await;
        let text = OpCode::Data(Data::Text);
        let frame = Frame::message(vec![b'{', 0xff, 0xfe], text, true);
        socket.send_raw(Message::Frame(frame)).await;
        let rest: Vec<Value> = socket.rest().await;
        assert!(rest.iter().all(|frame| frame["type"] == "error"), "{rest:?}");
        assert_eq!(socket.close_code(), Some(1007), "{path}");
    }
    goes_on(&weir).await;
}

#[tokio::test]
async fn a_binary_frame_is_refused() {
    let weir = start().await;
    let mut socket = Subscriber::websocket(weir.public, "/live/main/ws").await;
    socket.send_raw(Message::binary(vec![1, 2, 3])).await;
    match socket.next().await {
        Some(frame) => assert_eq!(frame["type"], "error", "{frame}"),
        None => assert_eq!(socket.close_code(), Some(1003)),
    }
    goes_on(&weir).await;
}

#[tokio::test]
async fn an_oversized_frame_closes_the_socket() {
    let weir = start().await;
    let mut socket = Subscriber::websocket(weir.public, "/live/main/ws").await;
    socket.send_raw(Message::text("x".repeat(2 << 20))).await;
    socket.rest().await;
    assert_eq!(socket.close_code(), Some(1009));
    goes_on(&weir).await;
}
