//! A subscriber that is too slow costs a bounded queue, no other subscriber anything, and is told
//! what it missed.

use serde_json::json;
use weir_harness::{Subscriber, Weir, eventually, process};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

/// Events of 8 KiB, more than kernel buffers of a connection and its queue hold.
const EVENTS: u64 = 1_500;
/// Events that are published at once.
const FEW: u64 = 20;

/// Memory that a subscriber that hardly reads may cost: its queue has 1 MiB, the rest is slack of
/// the allocator. All events together have 12 MiB.
const KIB_MAX: u64 = 4 << 10;

fn event(n: u64) -> String {
    json!({"n": n, "pad": "x".repeat(8 << 10)}).to_string()
}

async fn publish(weir: &Weir, first: u64) {
    let lines: Vec<String> = (first..first + FEW).map(event).collect();
    let kind = [("content-type", "application/x-ndjson")];
    weir.call("POST", "/in?type=a", &kind, lines.join("\n").as_bytes()).await.accepted();
}

async fn takes_few(reader: &mut Subscriber, first: u64) {
    for n in first..first + FEW {
        let frame = reader.frame("event").await;
        assert_eq!(frame["event"]["data"]["n"], n, "nobody else misses any");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_hardly_reads_costs_its_queue_and_nobody_else_anything() {
    let settings = "[hub.main]\nhistory = { events = 100 }";
    let weir = Weir::with(PIPELINE).settings(settings).start().await;
    let mut reader = weir.subscribe_websocket("main", &["a"]).await;
    // Whatever the events themselves need once is no cost of a subscriber.
    for first in (0..EVENTS).step_by(FEW as usize) {
        publish(&weir, first).await;
        takes_few(&mut reader, first).await;
    }
    let before = process::rss_kib(weir.pid());
    let mut slow = Subscriber::narrow_websocket(weir.public, "/live/main/ws").await;
    slow.sub(&["a"], &json!({})).await;
    let mut next = EVENTS;
    for first in (EVENTS..2 * EVENTS).step_by(FEW as usize) {
        publish(&weir, first).await;
        takes_few(&mut reader, first).await;
        // One that reads nothing at all is let go.
        assert_eq!(slow.frame("event").await["event"]["data"]["n"], next);
        next += 1;
    }
    let grown = process::rss_kib(weir.pid()).saturating_sub(before);
    assert!(grown < KIB_MAX, "{grown} KiB more");

    // What it missed is one gap, and what came before and after that is whole.
    let mut gaps = 0;
    while next < 2 * EVENTS {
        let frame = slow.next().await.expect("it is not cut off");
        if frame["type"] == "gap" {
            assert_eq!(frame["reason"], "slow", "{frame}");
            gaps += 1;
            next = 2 * EVENTS - 100;
        } else {
            assert_eq!(frame["event"]["data"]["n"], next);
            next += 1;
        }
    }
    assert_eq!(gaps, 1);
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_reads_nothing_is_let_go() {
    let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
    let mut stalled = Subscriber::narrow_websocket(weir.public, "/live/main/ws").await;
    stalled.sub(&["a"], &json!({})).await;
    for first in (0..EVENTS).step_by(FEW as usize) {
        publish(&weir, first).await;
    }
    eventually("it is gone", async || {
        (weir.metric("weir_hub_subscribers", &[("hub", "main")]).await == 0.0).then_some(())
    })
    .await;
    while stalled.next().await.is_some() {}
    weir.stop().await.clean();
}
