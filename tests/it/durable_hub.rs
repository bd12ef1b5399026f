//! A hub whose history is on disk: cursors go on after restarts and kills, and nothing that was
//! acknowledged is missing, repeated or out of order.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use weir_harness::directory::Small;
use weir_harness::http::Connection;
use weir_harness::{Subscriber, Weir, artifacts, eventually, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

const DURABLE: &str = "[hub.main]\nhistory = { events = 100000, age = \"1h\", durable = true }";

/// Publishers at a time.
const LANES: u64 = 4;

/// How often the daemon goes away; the last time it is asked to.
const ROUNDS: u64 = 12;

/// Events that are acknowledged in each life at least.
const EACH: u64 = 300;

/// Where the daemon is while it is there.
type Place = watch::Receiver<Option<SocketAddr>>;

/// What the test shares with its publishers and subscribers.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: AtomicU64,
    connected: AtomicU64,
    is_over: AtomicBool,
}

/// What a subscriber saw, over all its connections.
#[derive(Debug, Default)]
struct Seen {
    /// Lane and number of every event.
    events: Vec<(u64, u64)>,
    /// The numbers of their cursors.
    seqs: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Transport {
    Sse,
    WebSocket,
}

/// The daemon's address, once there is one.
async fn address(place: &mut Place) -> SocketAddr {
    let known = within("a daemon", place.wait_for(Option::is_some)).await;
    known.ok().and_then(|known| *known).expect("the test holds the other end")
}

/// Counts upwards on one channel, one event at a time; answers the lane and the numbers that were
/// acknowledged. What was not answered is not sent again, so nothing has a reason to come twice.
async fn publish(lane: u64, mut place: Place, tally: Arc<Tally>) -> (u64, Vec<u64>) {
    let mut acknowledged = Vec::new();
    let mut n = 0;
    while !tally.is_over.load(Ordering::Relaxed) {
        let Ok(mut connection) = Connection::open(address(&mut place).await).await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        while !tally.is_over.load(Ordering::Relaxed) {
            n += 1;
            let body = json!({"lane": lane, "n": n}).to_string();
            let path = format!("/in?type=lane.{lane}");
            let json = [("content-type", "application/json")];
            let Ok(reply) = connection.call("POST", &path, &json, body.as_bytes()).await else {
                break;
            };
            if reply.status() == 200 {
                acknowledged.push(n);
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            if reply.header("connection") == Some("close") {
                break;
            }
        }
    }
    (lane, acknowledged)
}

/// Follows all channels over every life of the daemon, until every lane has had its last event.
async fn follow(transport: Transport, mut place: Place, tally: Arc<Tally>) -> Seen {
    let mut seen = Seen::default();
    let mut cursor: Option<String> = None;
    let mut finals = 0;
    while finals < LANES {
        let address = address(&mut place).await;
        let mut subscriber = connect(transport, address, cursor.as_deref()).await;
        cursor.get_or_insert_with(|| subscriber.cursor().to_owned());
        tally.connected.fetch_add(1, Ordering::Relaxed);
        while let Some(frame) = subscriber.next().await {
            if frame["type"] == "bye" {
                continue;
            }
            assert_eq!(frame["type"], "event", "after {cursor:?}: {frame}");
            let newest = frame["cursor"].as_str().expect("an event has a cursor").to_owned();
            let (_, seq) = newest.split_once('.').expect("our own cursors");
            seen.seqs.push(seq.parse().expect("our own cursors"));
            cursor = Some(newest);
            let data = &frame["event"]["data"];
            if data["last"] == true {
                finals += 1;
                if finals == LANES {
                    break;
                }
                continue;
            }
            let number = |key: &str| data[key].as_u64().expect("our own events");
            seen.events.push((number("lane"), number("n")));
        }
    }
    seen
}

async fn connect(transport: Transport, address: SocketAddr, since: Option<&str>) -> Subscriber {
    match transport {
        Transport::Sse => {
            let headers: Vec<_> = since.map(|since| ("last-event-id", since)).into_iter().collect();
            Subscriber::sse(address, "/live/main/sse?channel=lane.*", &headers).await
        }
        Transport::WebSocket => {
            let mut subscriber = Subscriber::websocket(address, "/live/main/ws").await;
            let more = since.map_or(Value::Null, |since| json!({ "since": since }));
            let answer = subscriber.sub(&["lane.*"], &more).await;
            assert_eq!(answer["gaps"], json!([]), "after {since:?}: {answer}");
            subscriber
        }
    }
}

/// All that was acknowledged came once and in order.
fn judge(seen: &Seen, acknowledged: &[Vec<u64>]) {
    assert!(seen.seqs.is_sorted_by(|one, other| one < other), "no cursor twice, none backwards");
    let mut lanes: HashMap<u64, Vec<u64>> = HashMap::new();
    for (lane, n) in &seen.events {
        lanes.entry(*lane).or_default().push(*n);
    }
    for (lane, acknowledged) in (0..).zip(acknowledged) {
        let seen = &lanes[&lane];
        assert!(seen.is_sorted_by(|one, other| one < other), "lane {lane} repeats or goes back");
        let lost: Vec<_> = acknowledged.iter().filter(|n| seen.binary_search(n).is_err()).collect();
        assert!(lost.is_empty(), "lane {lane} lost {} events: {lost:?}", lost.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_go_on_after_restarts_and_kills_under_load() {
    let mut weir = Weir::with(PIPELINE).settings(DURABLE).start().await;
    let (place, known) = watch::channel(Some(weir.public));
    let tally = Arc::new(Tally::default());
    let mut following = JoinSet::new();
    for transport in [Transport::Sse, Transport::WebSocket] {
        following.spawn(follow(transport, known.clone(), Arc::clone(&tally)));
    }
    let mut publishing = JoinSet::new();
    for round in 1..=ROUNDS {
        let count = || tally.connected.load(Ordering::Relaxed);
        eventually("both follow", async || (count() >= 2 * round).then_some(())).await;
        if round == 1 {
            for lane in 0..LANES {
                publishing.spawn(publish(lane, known.clone(), Arc::clone(&tally)));
            }
        }
        let start = tally.acknowledged.load(Ordering::Relaxed);
        eventually("events are acknowledged", async || {
            (tally.acknowledged.load(Ordering::Relaxed) >= start + EACH).then_some(())
        })
        .await;
        place.send_replace(None);
        if round == ROUNDS {
            weir.stop().await.regular();
        } else {
            weir.kill9();
        }
        weir.start_again().await;
        place.send_replace(Some(weir.public));
    }
    let count = || tally.connected.load(Ordering::Relaxed);
    eventually("both follow again", async || (count() >= 2 * (ROUNDS + 1)).then_some(())).await;
    tally.is_over.store(true, Ordering::Relaxed);
    let mut acknowledged = vec![Vec::new(); LANES as usize];
    for (lane, numbers) in within("the publishers", publishing.join_all()).await {
        acknowledged[lane as usize] = numbers;
    }
    for lane in 0..LANES {
        let body = json!({"last": true}).to_string();
        weir.publish(&format!("/in?type=lane.{lane}"), &body).await.accepted();
    }
    for seen in within("the last events", following.join_all()).await {
        judge(&seen, &acknowledged);
    }
    let damaged = weir.metric("weir_journal_dropped_events_total", &[("reason", "damaged")]).await;
    assert_eq!(damaged, 0.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn the_journal_of_a_hub_can_be_read() {
    let weir = Weir::with(PIPELINE).settings(DURABLE).start().await;
    for n in 0..3 {
        weir.publish("/in?type=orders", &json!({ "n": n }).to_string()).await.accepted();
    }
    let hub = &weir.status().await["hubs"]["main"];
    assert_eq!((&hub["state"], &hub["durable"]), (&json!("running"), &json!(true)), "{hub}");
    let labels = [("journal", "hubs/main")];
    assert_eq!(weir.metric("weir_journal_events", &labels).await, 3.0);
    let lines = journal(&weir, &["read", "hubs/main", "--from", "2"]);
    weir.stop().await.clean();
    assert_eq!(journal(&weir, &["read", "main", "--from", "2"]), lines);
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1]["seq"], 3);
    assert_eq!(
        (&lines[1]["channel"], &lines[1]["event"]["data"]["n"]),
        (&json!("orders"), &2.into())
    );
    assert_eq!(journal(&weir, &["verify"]), "hubs/main: 3 events, 0 missing or damaged\n");
}

/// What `weir journal` prints.
fn journal(weir: &Weir, arguments: &[&str]) -> String {
    let mut command = Command::new(artifacts::weir());
    command.arg("journal").args(arguments).arg("--admin").arg(weir.admin.to_string());
    command.arg("--data-dir").arg(weir.directory.path().join("data"));
    let output = command.output().expect("the binary can be started");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_publishers_try_again_and_the_hub_resumes_by_itself() {
    let Some(small) = Small::mount() else { return };
    let ballast = small.path().join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).expect("there is room for it");
    let settings = format!("data_dir = {}\n{DURABLE}", json!(small.path()));
    let mut weir = Weir::with(PIPELINE).settings(&settings).start().await;
    let mut page = weir.subscribe("main", &["a"]).await;
    let start = page.cursor().to_owned();
    let mut kept = Vec::new();
    let pad = "x".repeat(100_000);
    let mut n = 0;
    let mut publish = async || {
        n += 1;
        let body = json!({ "n": n, "pad": pad }).to_string();
        let reply = weir.publish("/in?type=a", &body).await;
        if reply.status() == 200 {
            kept.push(n);
        }
        reply
    };
    let refused = eventually("the disk is full", async || {
        let reply = publish().await;
        (reply.status() != 200).then_some(reply)
    })
    .await;
    refused.refused(503, "unavailable");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let ready = weir.get("/readyz").await;
    assert_eq!(ready.status(), 503, "{ready:?}");
    assert!(ready.text().contains("hub `main` takes no events"), "{ready:?}");
    assert_eq!(weir.status().await["hubs"]["main"]["state"], "degraded");
    assert_eq!(weir.metric("weir_hub_degraded", &[("hub", "main")]).await, 1.0);
    fs::remove_file(&ballast).expect("it is there");
    eventually("events are kept again", async || (publish().await.status() == 200).then_some(()))
        .await;
    weir.ready().await;
    assert_eq!(weir.metric("weir_hub_degraded", &[("hub", "main")]).await, 0.0);
    assert!(kept.len() > 5, "only {kept:?} were kept");
    let live = numbers(&mut page, *kept.last().expect("some were kept")).await;
    assert!(kept.iter().all(|n| live.contains(n)), "{live:?} of {kept:?}");
    drop(page);

    weir.kill9();
    weir.start_again().await;
    let path = format!("/live/main/sse?channel=a&since={start}");
    let mut page = Subscriber::sse(weir.public, &path, &[]).await;
    let again = numbers(&mut page, *kept.last().expect("some were kept")).await;
    assert_eq!(again, live, "the same after a restart");
    weir.stop().await.clean();
}

/// The numbers of the events up to number `last`.
async fn numbers(page: &mut Subscriber, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let frame = page.frame("event").await;
        numbers.push(frame["event"]["data"]["n"].as_u64().expect("our own events"));
    }
    numbers
}
