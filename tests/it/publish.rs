//! Every way to publish an event, and what its publisher is told.

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use weir_harness::{Subscriber, Weir};

/// One source of each kind into one hub, each event on the channel of its type.
const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"
cors = ["https://shop.example.com"]

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

async fn start() -> (Weir, Subscriber) {
    let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
    let page = weir.subscribe("main", &["**"]).await;
    (weir, page)
}

/// Posts `body`, which must be taken as one event, and answers the event that a page then sees.
async fn seen(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let (weir, mut page) = start().await;
    let reply = weir.post(path, headers, body).await;
    assert_eq!(reply.accepted().len(), 1, "{reply:?}");
    assert_eq!(reply.json()["status"], "delivered", "{reply:?}");
    let frame = page.frame("event").await;
    assert_eq!(frame["event"]["id"], reply.json()["id"], "{frame}");
    weir.stop().await.clean();
    frame
}

#[tokio::test]
async fn an_object_is_the_data_of_one_event() {
    let frame = seen("/in", &[JSON], br#"{"id":1}"#).await;
    assert_eq!(frame["channel"], "event");
    assert_eq!(frame["event"]["type"], "event");
    assert_eq!(frame["event"]["source"], "/in");
    assert_eq!(frame["event"]["data"], json!({"id": 1}));
}

#[tokio::test]
async fn a_query_names_type_and_subject() {
    let frame = seen("/in?type=cart.add&subject=u%2F1", &[JSON], b"{}").await;
    assert_eq!(frame["channel"], "cart.add");
    assert_eq!(frame["event"]["type"], "cart.add");
    assert_eq!(frame["event"]["subject"], "u/1");
}

#[tokio::test]
async fn a_structured_cloudevent_keeps_its_attributes() {
    let event = json!({
        "specversion": "1.0", "id": "a-1", "source": "/shop", "type": "order.paid",
        "subject": "o1", "time": "2025-11-24T10:00:00.5Z", "tenant": "t1", "data": {"total": 12},
    });
    for content_type in ["application/json", "application/cloudevents+json; charset=utf-8"] {
        let headers = [("content-type", content_type)];
        let frame = seen("/in", &headers, event.to_string().as_bytes()).await;
        for name in ["id", "source", "type", "subject", "tenant", "data"] {
            assert_eq!(frame["event"][name], event[name], "{name} of {frame}");
        }
        let time = frame["event"]["time"].as_str().unwrap_or_default();
        assert!(time.starts_with("2025-11-24T10:00:00.5"), "{frame}");
    }
}

#[tokio::test]
async fn a_binary_cloudevent_has_its_attributes_in_headers() {
    let headers = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-id", "b-1"),
        ("ce-source", "/shop"),
        ("ce-type", "order.paid"),
        ("ce-tenant", "t1"),
    ];
    let frame = seen("/in?type=ignored", &headers, br#"{"total":12}"#).await;
    assert_eq!(frame["event"]["id"], "b-1");
    assert_eq!(frame["event"]["type"], "order.paid");
    assert_eq!(frame["event"]["tenant"], "t1");
    assert_eq!(frame["event"]["data"], json!({"total": 12}));
}

#[tokio::test]
async fn plain_text_is_read_as_json() {
    let headers = [("content-type", "text/plain;charset=UTF-8")];
    let frame = seen("/in", &headers, br#"{"beacon":true}"#).await;
    assert_eq!(frame["event"]["data"], json!({"beacon": true}));
}

#[tokio::test]
async fn any_other_type_is_opaque_data() {
    let headers = [("content-type", "application/octet-stream")];
    let frame = seen("/in", &headers, &[0, 1, 2, 255]).await;
    assert_eq!(frame["event"]["data_base64"], "AAEC/w==");
    assert_eq!(frame["event"]["datacontenttype"], "application/octet-stream");
}

#[tokio::test]
async fn a_format_may_be_named_where_a_content_type_cannot_be_set() {
    let body = json!({"sent": 1_764_000_000_000_u64, "events": [
        {"id": "w1", "type": "cart.add", "time": 1_764_000_000_000_u64, "data": {"sku": "a1"}},
        {"id": "w2", "type": "cart.drop", "data": null},
    ]});
    let (weir, mut page) = start().await;
    let headers = [("content-type", "text/plain")];
    let reply = weir.post("/in?format=weir", &headers, body.to_string().as_bytes()).await;
    let ids: Vec<Value> = reply.accepted().iter().map(|result| result["id"].clone()).collect();
    assert_eq!(ids, ["w1", "w2"]);
    assert_eq!(page.expect(r#"{"sku":"a1"}"#).await["channel"], "cart.add");
    assert_eq!(page.expect("null").await["channel"], "cart.drop");
    weir.stop().await.clean();
}

#[tokio::test]
async fn each_line_is_an_event() {
    let (weir, mut page) = start().await;
    let headers = [("content-type", "application/x-ndjson")];
    let body = b"{\"n\":1}\n\n{\"n\":2}\r\n{\"specversion\":\"1.0\",\"id\":\"3\",\"source\":\"s\",\"type\":\"t\",\"data\":{\"n\":3}}";
    let reply = weir.post("/in", &headers, body).await;
    assert_eq!(reply.accepted().len(), 3);
    for n in 1..=3 {
        page.expect(&json!({ "n": n }).to_string()).await;
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_batch_of_cloudevents_keeps_its_order() {
    let event = |n: u32| json!({"specversion": "1.0", "id": n.to_string(), "source": "s", "type": "t", "data": n});
    let (weir, mut page) = start().await;
    let body = json!([event(1), event(2), event(3)]).to_string();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let reply = weir.post("/in", &headers, body.as_bytes()).await;
    assert_eq!(reply.accepted().len(), 3);
    for n in ["1", "2", "3"] {
        page.expect(n).await;
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn one_bad_event_of_a_batch_fails_alone() {
    let (weir, mut page) = start().await;
    let headers = [("content-type", "application/x-ndjson")];
    let reply = weir.post("/in", &headers, b"{\"n\":1}\n{\"n\":\n{\"n\":3}\n").await;
    assert_eq!(reply.status(), 207, "{reply:?}");
    let results = reply.results();
    assert_eq!(results.len(), 3, "{reply:?}");
    assert_eq!(results[0]["status"], "delivered");
    assert_eq!(results[1]["code"], "bad_request");
    assert_eq!(results[2]["status"], "delivered");
    page.expect(r#"{"n":1}"#).await;
    page.expect(r#"{"n":3}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_filtered_event_was_not_delivered() {
    let filter = "[[transform]]\nplugin = \"filter\"\nconfig = { keep = 'data.bot != true' }\n";
    let pipeline = PIPELINE.replacen("[[sink]]", &format!("{filter}[[sink]]"), 1);
    let weir = Weir::with(&pipeline).settings("[hub.main]").start().await;
    let mut page = weir.subscribe("main", &["**"]).await;
    let reply = weir.publish("/in", r#"{"bot":true}"#).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json()["status"], "filtered", "{reply:?}");
    weir.publish("/in", r#"{"bot":false}"#).await.accepted();
    page.expect(r#"{"bot":false}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let (weir, mut page) = start().await;
    let body = json!({"pad": "x".repeat(5_000)}).to_string();
    let bodies = [
        ("gzip", compressed(GzipEncoder::new(Vec::new()), &body, GzipEncoder::into_inner).await),
        ("deflate", compressed(ZlibEncoder::new(Vec::new()), &body, ZlibEncoder::into_inner).await),
        ("zstd", compressed(ZstdEncoder::new(Vec::new()), &body, ZstdEncoder::into_inner).await),
        ("br", compressed(BrotliEncoder::new(Vec::new()), &body, BrotliEncoder::into_inner).await),
    ];
    for (encoding, bytes) in bodies {
        assert!(bytes.len() < 1_000, "{encoding} is small");
        weir.post("/in", &[JSON, ("content-encoding", encoding)], &bytes).await.accepted();
        page.expect(&body).await;
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn attributes_may_come_from_the_data() {
    let attributes =
        "path = \"/in\"\nattributes = { type = \"{{data.kind}}\", subject = \"{{data.user}}\" }";
    let pipeline = PIPELINE.replace("path = \"/in\"", attributes);
    let weir = Weir::with(&pipeline).settings("[hub.main]").start().await;
    let mut page = weir.subscribe("main", &["cart.**"]).await;
    weir.publish("/in", r#"{"kind":"cart.add","user":"u1"}"#).await.accepted();
    let frame = page.frame("event").await;
    assert_eq!(frame["event"]["type"], "cart.add", "{frame}");
    assert_eq!(frame["event"]["subject"], "u1", "{frame}");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_publisher_may_ask_for_an_answer_at_once() {
    let pipeline = PIPELINE.replace("path = \"/in\"", "path = \"/in\"\nack = \"accepted\"");
    let weir = Weir::with(&pipeline).settings("[hub.main]").start().await;
    let mut page = weir.subscribe("main", &["**"]).await;
    let reply = weir.publish("/in", r#"{"n":1}"#).await;
    assert_eq!(reply.status(), 202, "{reply:?}");
    assert_eq!(reply.json()["status"], "accepted", "{reply:?}");
    page.expect(r#"{"n":1}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn pages_of_allowed_origins_may_publish() {
    let (weir, _page) = start().await;
    let origin = ("origin", "https://shop.example.com");
    let asks = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let preflight = weir.call("OPTIONS", "/in", &asks, b"").await;
    assert!(matches!(preflight.status(), 200 | 204), "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), Some(origin.1), "{preflight:?}");
    let methods = preflight.header("access-control-allow-methods").unwrap_or_default();
    assert!(methods.contains("POST"), "{preflight:?}");
    let headers = preflight.header("access-control-allow-headers").unwrap_or_default();
    assert!(headers.to_ascii_lowercase().contains("content-type"), "{preflight:?}");

    let reply = weir.post("/in", &[JSON, origin], b"{}").await;
    reply.accepted();
    assert_eq!(reply.header("access-control-allow-origin"), Some(origin.1), "{reply:?}");
    assert_eq!(reply.header("cache-control"), None, "browsers keep their keepalive quota");

    let stranger = ("origin", "https://evil.example.com");
    let reply = weir.post("/in", &[JSON, stranger], b"{}").await;
    assert_eq!(reply.header("access-control-allow-origin"), None, "{reply:?}");
    weir.stop().await.clean();
}

#[tokio::test]
async fn one_socket_publishes_and_subscribes() {
    let (weir, mut page) = start().await;
    let mut socket = Subscriber::websocket(weir.public, "/ws").await;
    socket.sub(&["cart.*"], &Value::Null).await;
    socket
        .send(&json!({"type": "pub", "ref": 3, "events": [
            {"id": "s1", "type": "cart.add", "data": {"sku": "a1"}},
            {"id": "s2", "type": "other", "data": {"sku": "a2"}},
        ]}))
        .await;
    let mut frames =
        vec![socket.next().await.expect("a frame"), socket.next().await.expect("a frame")];
    frames.sort_by_key(|frame| frame["type"] == "pubok");
    assert_eq!(frames[0]["event"]["data"], json!({"sku": "a1"}), "{frames:?}");
    assert_eq!(frames[1]["ref"], 3, "{frames:?}");
    assert_eq!(frames[1]["results"][0], json!({"id": "s1", "status": "delivered"}));
    assert_eq!(frames[1]["results"][1], json!({"id": "s2", "status": "delivered"}));
    page.expect(r#"{"sku":"a1"}"#).await;
    page.expect(r#"{"sku":"a2"}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn the_books_balance() {
    let (weir, mut page) = start().await;
    for n in 0..50 {
        weir.publish("/in", &json!({ "n": n }).to_string()).await.accepted();
        page.expect(&json!({ "n": n }).to_string()).await;
    }
    let labels = [("pipeline", "test")];
    assert_eq!(weir.metric("weir_events_received_total", &labels).await, 50.0);
    let delivered = [("pipeline", "test"), ("outcome", "delivered")];
    assert_eq!(weir.metric("weir_events_settled_total", &delivered).await, 50.0);
    assert_eq!(weir.metric("weir_events_in_flight", &labels).await, 0.0);
    weir.stop().await.clean();
}

/// What `encoder` makes of `text`.
async fn compressed<E: AsyncWrite + Unpin>(
    mut encoder: E,
    text: &str,
    into_inner: impl FnOnce(E) -> Vec<u8>,
) -> Vec<u8> {
    encoder.write_all(text.as_bytes()).await.expect("memory takes bytes");
    encoder.shutdown().await.expect("memory takes bytes");
    into_inner(encoder)
}
