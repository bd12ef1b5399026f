//! Several daemons on one hub through a stream at a broker: one order everywhere, cursors that are
//! good everywhere, nothing lost that was acknowledged, and a hub that goes on without its broker.

use std::collections::BTreeSet;

use lapin::options::QueueDeleteOptions;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_harness::http::Connection;
use weir_harness::proxy::{Proxy, Weather};
use weir_harness::{Subscriber, Weir, eventually};

use crate::brokers;

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
channel = "{{type}}"
"#;

/// A daemon whose hub is shared through `url`.
async fn daemon(url: &str) -> Weir {
    let hub = format!(
        "[hub.main]\nhistory = {{ events = 50000, age = \"1h\" }}\nbackplane = {{ url = \"{url}\" }}"
    );
    Weir::with(PIPELINE).settings(&hub).start().await
}

/// Publishes `count` events of one lane and answers the numbers that were acknowledged.
async fn publish(mut connection: Connection, lane: u64, count: u64) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    for n in 0..count {
        let body = json!({"lane": lane, "n": n}).to_string();
        let path = format!("/in?type=lane.{lane}");
        let kind = [("content-type", "application/json")];
        let Ok(reply) = connection.call("POST", &path, &kind, body.as_bytes()).await else { break };
        assert_eq!(reply.status(), 200, "{}", reply.text());
        acknowledged.push((lane, n));
    }
    acknowledged
}

/// The next `count` events: cursor, lane and number.
async fn take(subscriber: &mut Subscriber, count: usize) -> Vec<(String, u64, u64)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(seen(&subscriber.frame("event").await));
    }
    taken
}

fn seen(frame: &Value) -> (String, u64, u64) {
    let data = &frame["event"]["data"];
    let number = |key: &str| data[key].as_u64().expect("our own data");
    let cursor = frame["cursor"].as_str().expect("an event has a cursor");
    (cursor.to_owned(), number("lane"), number("n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_share_a_hub_show_one_order() {
    let Some((_, vhost)) = brokers::quiet("backplane-order").await else { return };
    let daemons = [daemon(&vhost.url).await, daemon(&vhost.url).await];
    let mut subscribers = [
        daemons[0].subscribe("main", &["**"]).await,
        daemons[1].subscribe_websocket("main", &["lane.*"]).await,
    ];
    let mut lanes = JoinSet::new();
    for lane in 0..4 {
        let connection = daemons[usize::from(lane >= 2)].connect().await;
        lanes.spawn(publish(connection, lane, 150));
    }
    let acknowledged = lanes.join_all().await.concat();
    assert_eq!(acknowledged.len(), 600);
    let [one, other] = &mut subscribers;
    let (one, other) = (take(one, 600).await, take(other, 600).await);
    assert_eq!(one, other);
    for lane in 0..4 {
        let own: Vec<_> = one.iter().filter(|event| event.1 == lane).map(|event| event.2).collect();
        assert!(own.iter().copied().eq(0..150), "lane {lane}: {own:?}");
    }

    // A cursor is good on the other daemon, and on one that was not there yet.
    let third = daemon(&vhost.url).await;
    for (place, weir) in [(40, &daemons[0]), (599, &daemons[1]), (7, &third), (300, &third)] {
        let path = format!("/live/main/sse?channel=**&since={}", one[place].0);
        let mut resumed = Subscriber::sse(weir.public, &path, &[]).await;
        let rest = take(&mut resumed, one.len() - place - 1).await;
        assert_eq!(rest, one[place + 1..], "after {place}");
        drop(resumed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_daemon_acknowledged_is_there() {
    let Some((_, vhost)) = brokers::quiet("backplane-kill").await else { return };
    let mut victim = daemon(&vhost.url).await;
    let witness = daemon(&vhost.url).await;
    let mut subscriber = witness.subscribe("main", &["**"]).await;
    let mut all = Vec::new();
    let mut first = 0;
    for round in 0..5 {
        let mut lanes = JoinSet::new();
        for lane in first..first + 8 {
            lanes.spawn(publish(victim.connect().await, lane, u64::MAX));
        }
        first += 8;
        // The moment is any: so far into the traffic, and wherever everybody is by then.
        for _ in 0..100 + 37 * round {
            all.push(seen(&subscriber.frame("event").await));
        }
        victim.kill9();
        let acknowledged: Vec<_> = lanes.join_all().await.concat();
        let last = json!({"lane": 1_000 + round, "n": 0}).to_string();
        assert_eq!(witness.publish("/in?type=end", &last).await.status(), 200);
        while all.last().is_none_or(|event| event.1 != 1_000 + round) {
            all.push(seen(&subscriber.frame("event").await));
        }
        let got: BTreeSet<_> = all.iter().map(|(_, lane, n)| (*lane, *n)).collect();
        assert_eq!(got.len(), all.len(), "nothing comes twice");
        let missing: Vec<_> = acknowledged.iter().filter(|event| !got.contains(event)).collect();
        assert!(missing.is_empty(), "acknowledged and missing: {missing:?}");
        assert!(acknowledged.len() > 50, "{}", acknowledged.len());
        victim.start_again().await;
    }
    // Whoever was killed has the same past as everybody.
    let path = format!("/live/main/sse?channel=**&since={}", all[0].0);
    let mut resumed = Subscriber::sse(victim.public, &path, &[]).await;
    assert_eq!(take(&mut resumed, all.len() - 1).await, all[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_hub_goes_on_without_its_broker() {
    let Some((broker, vhost)) = brokers::quiet("backplane-away").await else { return };
    let proxy = Proxy::to(broker.port()).await;
    let way = vhost.url.replace(&format!(":{}/", broker.port()), &format!(":{}/", proxy.port()));
    let (near, far) = (daemon(&way).await, daemon(&vhost.url).await);
    let mut near_page = near.subscribe("main", &["**"]).await;
    let mut far_page = far.subscribe("main", &["**"]).await;
    near.publish("/in?type=t", r#"{"lane":0,"n":0}"#).await.accepted();
    let mut shown = [take(&mut near_page, 1).await, take(&mut far_page, 1).await];
    assert_eq!(shown[0], shown[1]);

    for (round, weather) in [Weather::Closed, Weather::Silent].into_iter().enumerate() {
        let n = round as u64 + 1;
        proxy.set(weather);
        let mut publishing = JoinSet::new();
        let mut connection = near.connect().await;
        publishing.spawn(async move {
            let body = json!({"lane": 1, "n": n}).to_string();
            let kind = [("content-type", "application/json")];
            let reply = connection.call("POST", "/in?type=t", &kind, body.as_bytes()).await;
            reply.expect("a reply comes").status()
        });
        // Shown here at once, and acknowledged only when the others can have it.
        let own = take(&mut near_page, 1).await.remove(0);
        assert_eq!((own.1, own.2), (1, n));
        assert!(publishing.try_join_next().is_none(), "answered");
        let hub = near.status().await["hubs"]["main"].clone();
        assert_eq!(hub["state"], "degraded", "{hub}");
        assert!(near.status().await["ready"].as_bool().expect("a truth value"), "it takes events");
        let body = json!({"lane": 2, "n": n}).to_string();
        far.publish("/in?type=t", &body).await.accepted();

        proxy.set(Weather::Fair);
        assert_eq!(publishing.join_all().await, [200]);
        shown[0].push(own);
        shown[0].extend(take(&mut near_page, 1).await);
        shown[1].extend(take(&mut far_page, 2).await);
        eventually("in order again", async || {
            let hub = near.status().await["hubs"]["main"].clone();
            (hub["state"] == "running").then_some(())
        })
        .await;
    }
    let what = |events: &[(String, u64, u64)]| {
        let mut what: Vec<_> = events.iter().map(|(_, lane, n)| (*lane, *n)).collect();
        what.sort_unstable();
        what
    };
    assert_eq!(what(&shown[0]), [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!(what(&shown[1]), what(&shown[0]));

    // A place where the first was alone is a place on the other one too.
    let path = format!("/live/main/sse?channel=**&since={}", shown[0][1].0);
    let mut resumed = Subscriber::sse(far.public, &path, &[]).await;
    let rest = take(&mut resumed, 4).await;
    assert_eq!(what(&rest), [(1, 1), (1, 2), (2, 1), (2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_begins_anew() {
    let Some((_, vhost)) = brokers::quiet("backplane-anew").await else { return };
    let weir = daemon(&vhost.url).await;
    let mut page = weir.subscribe_websocket("main", &["**"]).await;
    weir.publish("/in?type=t", r#"{"lane":0,"n":0}"#).await.accepted();
    let before = take(&mut page, 1).await.remove(0);
    let delete = QueueDeleteOptions::default();
    vhost.amqp_channel.queue_delete("weir.hub.main".into(), delete).await.expect("it is there");
    weir.publish("/in?type=t", r#"{"lane":0,"n":1}"#).await.accepted();
    drop(page);
    let path = format!("/live/main/sse?channel=**&since={}", before.0);
    let mut page = Subscriber::sse(weir.public, &path, &[]).await;
    let gap = page.frame("gap").await;
    assert_eq!((&gap["reason"], &gap["missed_from"]), (&json!("restarted"), &json!(before.0)));
    assert_eq!(take(&mut page, 1).await[0].2, 1);
}
