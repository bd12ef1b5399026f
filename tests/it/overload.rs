//! Too much at once: publishers are told to come back later, the daemon lives, and what was
//! acknowledged has arrived.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use weir_harness::http::request;
use weir_harness::{Connection, Weir, eventually, process, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"
max_event = "1MiB"

[[sink]]
type = "broadcast"
hub = "main"
"#;

/// Little memory; half of it is for events.
const SETTINGS: &str = "memory = \"76MiB\"\n[hub.main]\nhistory = { events = 10 }";

/// A large body: less than the source takes, but many do not fit.
const BODY: usize = 800_000;

/// How much of each body comes before everybody waits.
const BEGUN: usize = 700_000;

async fn start() -> Weir {
    Weir::with(PIPELINE).settings(SETTINGS).start().await
}

fn publication() -> Vec<u8> {
    let body = format!("\"{}\"", "x".repeat(BODY - 2));
    request("POST", "/in", &[("content-type", "application/json")], body.as_bytes())
}

async fn stage(weir: &Weir, name: &str) {
    let is = async || (weir.status().await["memory"]["stage"] == name).then_some(());
    eventually(&format!("the stage {name}"), is).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_budget_refuses_quickly_and_takes_what_was_begun() {
    let weir = start().await;
    let whole = publication();
    let mut early = Vec::new();
    for _ in 0..20 {
        early.push(weir.connect().await);
    }
    let mut begun = Vec::new();
    for _ in 0..54 {
        let mut connection = weir.connect().await;
        connection.send(&whole[..whole.len() - BODY + BEGUN]).await.expect("it is read");
        begun.push(connection);
    }
    weir.metric_reaches("weir_memory_used_bytes", &[], (54 * BEGUN) as f64).await;
    stage(&weir, "refusing").await;

    let mut times = Vec::new();
    for connection in &mut early {
        let since = Instant::now();
        let reply = connection.call("POST", "/in", &[], b"1").await.expect("a reply comes");
        times.push(since.elapsed());
        assert_eq!((reply.status(), reply.json()["code"].as_str()), (503, Some("overloaded")));
        assert!(
            reply.header("retry-after").is_some() && reply.header("connection") == Some("close")
        );
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_millis(50), "{times:?}");
    assert_eq!(weir.get("/livez").await.status(), 200);

    // Bodies that were begun may go on, up to where connections are refused as well.
    for connection in &mut begun[..5] {
        connection.send(&whole[whole.len() - BODY + BEGUN..][..95_000]).await.expect("it is read");
    }
    stage(&weir, "closed").await;
    let mut late = weir.connect().await;
    let reply = within("a refusal", late.reply("GET")).await.expect("a reply comes");
    assert!(reply.status() == 503 && reply.header("retry-after").is_some());
    assert_eq!(weir.get("/livez").await.status(), 200);

    for (number, connection) in begun.iter_mut().enumerate() {
        let sent = if number < 5 { BEGUN + 95_000 } else { BEGUN };
        connection.send(&whole[whole.len() - BODY + sent..]).await.expect("it is read");
        let reply = within("a verdict", connection.reply("POST")).await.expect("a reply comes");
        assert_eq!(reply.status(), 200, "{}", reply.text());
    }
    stage(&weir, "normal").await;
    assert_eq!(weir.status().await["memory"]["used"], json!(0));
    weir.publish("/in", "1").await;
    assert_eq!(weir.status().await["pipelines"][0]["events"]["delivered"], json!(55));
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_memory_left_connections_in_use_stay_and_idle_ones_are_closed() {
    let weir = start().await;
    let whole = publication();
    let mut early = weir.connect().await;
    let mut begun = Vec::new();
    for _ in 0..48 {
        let mut connection = weir.connect().await;
        connection.send(&whole[..whole.len() - BODY + BEGUN]).await.expect("it is read");
        begun.push(connection);
    }
    weir.metric_reaches("weir_memory_used_bytes", &[], (48 * BEGUN) as f64).await;
    stage(&weir, "tight").await;
    for _ in 0..2 {
        let reply = early.call("POST", "/in", &[], b"1").await.expect("a reply comes");
        assert_eq!((reply.status(), reply.header("connection")), (200, None));
    }
    within("the end", early.reply("GET")).await.expect_err("it is idle");
    weir.metric_reaches("weir_listener_cuts_total", &[("reason", "idle")], 1.0).await;
    drop(begun);
    stage(&weir, "normal").await;
    weir.stop().await.clean();
}

/// What a publisher came to.
#[derive(Default)]
struct Tally {
    taken: u64,
    refused: u64,
    /// The connection ended without a reply.
    cut: u64,
}

async fn flood(weir: Arc<Weir>, whole: Arc<[u8]>, end: watch::Receiver<bool>) -> Tally {
    let mut tally = Tally::default();
    while !*end.borrow() {
        let Ok(mut connection) = Connection::open(weir.public).await else { continue };
        let sent = connection.send(&whole).await;
        match (within("a reply or an end", connection.reply("POST")).await, sent) {
            (Ok(reply), _) if reply.status() == 200 => tally.taken += 1,
            (Ok(reply), _) => {
                assert_eq!(reply.status(), 503, "{}", reply.text());
                assert!(reply.header("retry-after").is_some());
                tally.refused += 1;
                sleep(Duration::from_millis(20)).await;
            }
            (Err(_), _) => tally.cut += 1,
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_survived_and_everything_acknowledged_arrived() {
    let weir = Arc::new(start().await);
    weir.publish("/in", "1").await;
    let calm = process::rss_kib(weir.pid());
    let whole: Arc<[u8]> = publication().into();
    let (stop, end) = watch::channel(false);
    let mut publishers = JoinSet::new();
    for _ in 0..150 {
        publishers.spawn(flood(Arc::clone(&weir), Arc::clone(&whole), end.clone()));
    }
    let mut peak = 0;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert_eq!(weir.get("/livez").await.status(), 200);
        peak = peak.max(process::rss_kib(weir.pid()));
        sleep(Duration::from_millis(20)).await;
    }
    stop.send_replace(true);
    let tallies = publishers.join_all().await;
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (taken, refused, cut) =
        (sum(|tally| tally.taken), sum(|tally| tally.refused), sum(|tally| tally.cut));
    let said = format!("{taken} taken, {refused} refused, {cut} cut, {calm} then {peak} KiB");
    assert!(taken > 0 && refused > 0, "{said}");
    // What is begun at once would be 120 MB; the allocator keeps a multiple of what was in use.
    assert!(peak < calm + (256 << 10), "{said}");
    stage(&weir, "normal").await;
    let events = weir.status().await["pipelines"][0]["events"].clone();
    // Who was cut off after its last byte may have been taken as well.
    let delivered = events["delivered"].as_u64().expect("a number");
    assert!((taken + 1..=taken + 1 + cut).contains(&delivered), "{said}: {events}");
    assert_eq!((&events["lost"], &events["in_flight"]), (&json!(0), &json!(0)));
    weir.stop().await.clean();
}
