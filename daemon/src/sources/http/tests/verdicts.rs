//! What publishers are told, from the sink's verdict to the status.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{PATIENCE, Site};
use crate::ack::Limits;

const LINES: &str = "content-type: application/x-ndjson\r\n";

#[tokio::test]
async fn every_verdict_has_its_status() {
    let site = Site::new("ack_timeout = \"50ms\"").await;
    for (body, status, code) in [
        ("\"filter\"", 200, "filtered"),
        ("\"reject\"", 422, "rejected"),
        ("\"unroutable\"", 502, "unroutable"),
        ("\"unavailable\"", 503, "unavailable"),
        ("\"stall\"", 504, "timeout"),
        ("\"lose\"", 503, "unavailable"),
    ] {
        let reply = site.post("", body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
        assert!(reply.body.contains(&format!("\"{code}\"")), "{body}: {}", reply.body);
        assert!(reply.body.starts_with("{\"id\":\""), "{}", reply.body);
        assert_eq!(reply.header("retry-after").is_some(), status == 503);
    }
    let balance = site.balance();
    assert_eq!((balance.received, balance.in_flight, balance.lost), (6, 1, 1));
}

#[tokio::test]
async fn a_batch_that_fares_differently_is_answered_207() {
    let site = Site::new("ack_timeout = \"50ms\"").await;
    let mixed = site.post(LINES, "1\n\"reject\"\n{\n\"stall\"\n").await;
    assert_eq!(mixed.status, 207);
    let results: serde_json::Value = serde_json::from_str(&mixed.body).unwrap();
    let codes: Vec<_> = (0..4).map(|at| results["results"][at]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("rejected"), Some("bad_request"), Some("timeout")]);
    assert_eq!(site.post(LINES, "\"reject\"\n\"reject\"").await.status, 422);
    assert_eq!(site.post(LINES, "1\n2").await.status, 200);
    assert_eq!(site.post(LINES, "{\n[").await.status, 400);
    assert!(mixed.header("retry-after").is_none(), "trying again helps none of these");
    let partly = site.post(LINES, "1\n\"unavailable\"").await;
    assert_eq!((partly.status, partly.header("retry-after").is_some()), (207, true));
    let away = site.post(LINES, "\"unavailable\"").await;
    assert_eq!((away.status, away.header("retry-after").is_some()), (503, true));
}

#[tokio::test]
async fn accepted_is_answered_202_at_once() {
    let site = Site::new("ack = \"accepted\"").await;
    let reply = site.post("ce-id: 1\r\n", "\"stall\"").await;
    reply.is(202, r#"{"id":"1","status":"accepted"}"#);
}

#[tokio::test]
async fn a_full_pipeline_says_when_to_come_back() {
    let limits = Limits { events_max: 1, bytes_max: 1 << 20 };
    let site = Site::with_limits("ack = \"accepted\"", limits).await;
    assert_eq!(site.post("", "\"stall\"").await.status, 202);
    let reply = site.post("", "1").await;
    reply.is_problem(503, "overloaded");
    let pause: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&pause));
    assert_eq!(site.balance().received, 1);
}

#[tokio::test]
async fn a_source_that_goes_away_says_draining() {
    let site = Site::new("").await;
    site.outlet.point(None);
    let reply = site.post("", "1").await;
    reply.is_problem(503, "draining");
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test]
async fn a_publisher_that_leaves_does_not_take_its_events_along() {
    let site = Site::new("").await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let request = b"POST /in HTTP/1.1\r\nhost: h\r\ncontent-length: 7\r\n\r\n\"stall\"";
    stream.write_all(request).await.unwrap();
    let in_flight = async {
        while site.balance().in_flight == 0 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, in_flight).await.unwrap();
    drop(stream);
    assert_eq!(site.post("", "1").await.status, 200);
    assert_eq!((site.balance().in_flight, site.balance().lost), (1, 0));
}

#[tokio::test]
async fn what_is_not_taken_is_counted() {
    let site = Site::new("").await;
    assert_eq!(site.post("", "{").await.status, 400);
    assert_eq!(site.post(LINES, "1\n{\n[").await.status, 207);
    let count = |name| site.health.counter(name).get();
    assert_eq!((count("requests_refused"), count("events_refused")), (1, 2));
}
