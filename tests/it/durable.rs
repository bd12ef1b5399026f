//! From HTTP and WebSocket through the whole daemon into a quorum queue: what a publisher was told
//! is what the queue holds.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use weir_harness::broker::{Taken, Vhost};
use weir_harness::{Connection, Weir};

use crate::brokers::{quiet, rough};

/// Events that each publisher sends.
const EACH: usize = 2_500;
/// Events in one request or frame.
const BATCH: usize = 25;
/// Messages that the sink may publish again after the broker was away.
const WINDOW: usize = 1_024;
const JSON: (&str, &str) = ("content-type", "application/json");

/// Both kinds of source into a queue that takes what begins with `shop.`.
fn pipeline(vhost: &Vhost) -> String {
    let url = &vhost.url;
    format!(
        r#"
[[source]]
type = "http"
path = "/in"
ack = "settled"

[[source]]
type = "websocket"
path = "/ws"
hub = "main"
ack = "settled"

[[transform]]
plugin = "filter"
config = {{ keep = 'data.bot != true' }}

[[sink]]
type = "rabbitmq"
url = "{url}"
exchange = {{ name = "events", type = "topic", declare = true }}
queue = {{ name = "all", bind = ["shop.#"] }}
routing_key = "{{{{type}}}}"
headers = {{ shard = '{{{{data.shard}}}}' }}

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{{{type}}}}"
"#
    )
}

async fn start(vhost: &Vhost) -> Weir {
    Weir::with(&pipeline(vhost)).settings("[hub.main]").start().await
}

/// The type of an event, which is its routing key as well.
fn event_type(number: usize) -> &'static str {
    ["shop.cart.add", "shop.cart.remove", "shop.order.paid"][number % 3]
}

/// An event of `publisher` as a CloudEvent, which the HTTP source takes as it is.
fn event(publisher: &str, number: usize) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{publisher}-{number}"), "source": "/shop",
        "type": event_type(number), "data": {"n": number, "shard": format!("s{}", number % 7)},
    })
}

fn batches() -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..EACH).step_by(BATCH).map(|start| start..start + BATCH)
}

/// Publishes lists over HTTP; answers every result.
async fn over_http(mut connection: Connection, publisher: String) -> Vec<Value> {
    let mut results = Vec::new();
    for numbers in batches() {
        let events: Vec<_> = numbers.map(|number| event(&publisher, number)).collect();
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let body = Value::Array(events).to_string();
        let reply = connection.call("POST", "/in", &headers, body.as_bytes()).await;
        results.extend(reply.expect("a reply comes").results());
    }
    results
}

/// Publishes frames over a WebSocket; answers every result.
async fn over_websocket(weir: &Weir, publisher: &str) -> Vec<Value> {
    let mut socket = weir_harness::Subscriber::websocket(weir.public, "/ws").await;
    let mut results = Vec::new();
    for numbers in batches() {
        let events: Vec<_> = numbers.map(|number| event(publisher, number)).collect();
        socket.send(&json!({"type": "pub", "ref": 1, "events": events})).await;
        let answer = socket.frame("pubok").await;
        results.extend(answer["results"].as_array().cloned().unwrap_or_default());
    }
    results
}

/// How often each id is among what was taken.
fn count(taken: &[Taken]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for message in taken {
        *counts.entry(message.id()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_of_publishers_are_in_the_queue_once() {
    let Some((_, vhost)) = quiet("through").await else { return };
    let weir = start(&vhost).await;
    let mut posting = JoinSet::new();
    for publisher in ["http-a", "http-b"] {
        posting.spawn(over_http(weir.connect().await, publisher.to_owned()));
    }
    let (first, second) =
        tokio::join!(over_websocket(&weir, "ws-a"), over_websocket(&weir, "ws-b"));
    let results: Vec<_> =
        posting.join_all().await.into_iter().chain([first, second]).flatten().collect();
    assert_eq!(results.len(), 4 * EACH);
    let odd: Vec<_> = results.iter().filter(|result| result["status"] != "delivered").collect();
    assert!(odd.is_empty(), "{} of {}, such as {}", odd.len(), results.len(), odd[0]);

    let taken = vhost.drain("all").await;
    let counts = count(&taken);
    assert_eq!((taken.len(), counts.len()), (4 * EACH, 4 * EACH), "each once");
    for message in &taken {
        let (_, number) = message.id().rsplit_once('-').expect("our own ids");
        let number: usize = number.parse().expect("our own ids");
        assert_eq!(message.routing_key, event_type(number));
        assert_eq!(message.header("shard"), Some(format!("s{}", number % 7)));
        assert_eq!(message.header("cloudEvents:type").as_deref(), Some(event_type(number)));
        let data: Value = serde_json::from_slice(&message.data).expect("JSON as it was published");
        assert_eq!(data["n"], number);
    }
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_queue_takes_is_told_and_counted() {
    let Some((_, vhost)) = quiet("stray").await else { return };
    let weir = start(&vhost).await;
    let reply = weir.post("/in?type=stray", &[JSON], br#"{"shard":"s1"}"#).await;
    reply.refused(502, "unroutable");
    let mut socket = weir_harness::Subscriber::websocket(weir.public, "/ws").await;
    let stray = json!({"type": "stray", "data": {"shard": "s1"}});
    assert_eq!(socket.publish(&stray).await["code"], "unroutable");
    let known = json!({"type": "shop.cart.add", "data": {"shard": "s1"}});
    assert_eq!(socket.publish(&known).await["status"], "delivered");
    let labels = [("pipeline", "test"), ("outcome", "rejected")];
    assert_eq!(weir.metric("weir_events_settled_total", &labels).await, 2.0);
    assert_eq!(weir.metric("weir_component_events_total", &[("counter", "returned")]).await, 2.0);
    assert_eq!(vhost.drain("all").await.len(), 1);
    weir.stop().await.clean();
}

/// Publishes single events until told to stop; answers the ids that were acknowledged.
async fn steadily(
    mut connection: Connection,
    lane: usize,
    stop: watch::Receiver<bool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        let event = event(&format!("lane{lane}"), number);
        let reply = connection.call("POST", "/in", &[JSON], event.to_string().as_bytes()).await;
        let reply = reply.expect("the daemon answers whatever happens to the broker");
        if matches!(reply.status(), 200 | 202) {
            acknowledged.extend(event["id"].as_str().map(str::to_owned));
        } else {
            assert!(matches!(reply.status(), 503 | 504), "{reply:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_loses_nothing_that_was_acknowledged() {
    const LANES: usize = 8;
    let Some((broker, vhost)) = rough("restarts").await else { return };
    let weir = start(&vhost).await;
    weir.publish("/in?type=shop.first", r#"{"shard":"s0"}"#).await.accepted();
    broker.remember().await;
    let (stop, stopped) = watch::channel(false);
    let mut publishing = JoinSet::new();
    for lane in 0..LANES {
        publishing.spawn(steadily(weir.connect().await, lane, stopped.clone()));
    }
    let delivered = [("pipeline", "test"), ("outcome", "delivered")];
    weir.metric_reaches("weir_events_settled_total", &delivered, 500.0).await;
    broker.restart().await;
    weir_harness::eventually("events are delivered again", async || {
        let reply = weir.publish("/in?type=shop.again", r#"{"shard":"s0"}"#).await;
        (reply.status() == 200).then_some(())
    })
    .await;
    let before = weir.metric("weir_events_settled_total", &delivered).await;
    weir.metric_reaches("weir_events_settled_total", &delivered, before + 500.0).await;
    stop.send(true).expect("publishers listen");
    let acknowledged: HashSet<_> = publishing.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > LANES * 10, "only {} were acknowledged", acknowledged.len());
    let vhost = vhost.again().await;
    let taken = vhost.drain("all").await;
    let counts = count(&taken);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !counts.contains_key(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let repeats = taken.len() - counts.len();
    assert!(repeats <= WINDOW, "{repeats} repeats");
    weir.stop().await.clean();
}
