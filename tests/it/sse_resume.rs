//! A stock `EventSource` and the channels of a hub: whatever happens to its connection, it gets
//! every event once and in order, or is told which channels have a gap.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_harness::http::{Connection, request};
use weir_harness::{Weir, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
channel = "ch.{{data.channel}}"
"#;

const CHANNELS: u64 = 20;

/// What a browser does, as the HTML standard has it: an id counts once its block is complete, and
/// goes back in `Last-Event-ID`.
#[derive(Debug, Default)]
struct EventSource {
    last_event_id: String,
    /// What was dispatched: the type and the data of each event.
    dispatched: Vec<(String, Value)>,
}

impl EventSource {
    /// Connects, and reads until so many bytes of the stream have come or `is_enough`.
    async fn connect(
        &mut self,
        address: SocketAddr,
        bytes_max: usize,
        is_enough: impl Fn(&[(String, Value)]) -> bool,
    ) {
        let channels: Vec<_> = (0..CHANNELS).map(|n| format!("channel=ch.{n}")).collect();
        let path = format!("/live/main/sse?{}", channels.join("&"));
        let mut headers = vec![("accept", "text/event-stream"), ("cache-control", "no-store")];
        let last = self.last_event_id.clone();
        if !last.is_empty() {
            headers.push(("last-event-id", &last));
        }
        let mut connection = Connection::open(address).await.expect("the listener accepts");
        connection.send(&request("GET", &path, &headers, b"")).await.expect("an open connection");
        let head = within("a head", connection.head()).await.expect("a reply comes");
        assert_eq!(head.status, 200, "{head:?}");
        let (mut text, mut read) = (Vec::new(), 0);
        while read < bytes_max && !is_enough(&self.dispatched) {
            let chunk = within("a chunk", connection.chunk()).await.expect("an open connection");
            let chunk = chunk.expect("a stream does not end");
            // The cut may be anywhere, also in the middle of a line.
            let taken = chunk.len().min(bytes_max - read);
            read += taken;
            text.extend_from_slice(&chunk[..taken]);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = text.drain(..end + 2).collect();
                self.block(std::str::from_utf8(&block).expect("an event stream is text"));
            }
        }
    }

    fn block(&mut self, block: &str) {
        let (mut kind, mut data) = (String::new(), String::new());
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value.to_owned(),
                "data" => data.push_str(value),
                "id" => value.clone_into(&mut self.last_event_id),
                _ => {}
            }
        }
        if !data.is_empty() {
            self.dispatched.push((kind, serde_json::from_str(&data).expect("data is JSON")));
        }
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.dispatched.iter().filter(move |(own, _)| own == kind).map(|(_, data)| data)
    }
}

/// Publishes `count` events with growing numbers on each channel, from `first` on.
async fn publish(mut connection: Connection, first: u64, count: u64) {
    for start in (first..first + count).step_by(25) {
        let mut body = String::new();
        for n in start..(start + 25).min(first + count) {
            for channel in 0..CHANNELS {
                let event = json!({"channel": channel, "n": n});
                body.extend([&event.to_string(), "\n"]);
            }
        }
        let kind = [("content-type", "application/x-ndjson")];
        let reply = connection.call("POST", "/in", &kind, body.as_bytes()).await;
        assert_eq!(reply.expect("a reply comes").status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_that_is_cut_gets_everything_once() {
    const EACH: u64 = 2_500;
    const CUTS: usize = 100;
    let history = "[hub.main]\nhistory = { events = 100000, bytes = \"256MiB\" }";
    let weir = Weir::with(PIPELINE).settings(history).start().await;
    let mut source = EventSource::default();
    source.connect(weir.public, usize::MAX, |seen| !seen.is_empty()).await;
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(weir.connect().await, 0, EACH));
    let mut random: u64 = 0x5eed;
    for _ in 0..CUTS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = usize::try_from(random >> 33).expect("31 bits") % 100_000;
        source.connect(weir.public, bytes, |_| false).await;
    }
    let is_over = |seen: &[(String, Value)]| {
        seen.last().is_some_and(|(_, data)| data["event"]["data"]["n"] == EACH - 1)
            && seen.iter().filter(|(kind, _)| kind == "message").count() as u64 >= EACH * CHANNELS
    };
    source.connect(weir.public, usize::MAX, is_over).await;
    publishing.join_all().await;
    assert_eq!(source.of("gap").count(), 0);
    assert!(source.of("welcome").count() > CUTS / 2);
    let mut seen: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for data in source.of("message") {
        let n = data["event"]["data"]["n"].as_u64().expect("our own number");
        seen.entry(data["channel"].as_str().expect("a channel")).or_default().push(n);
    }
    assert_eq!(seen.len() as u64, CHANNELS);
    for (channel, numbers) in seen {
        assert!(numbers.iter().copied().eq(0..EACH), "{channel}: lost, repeated or out of order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_that_was_away_too_long_has_one_gap_per_channel() {
    let history = "[hub.main]\nhistory = { events = 1000 }";
    let weir = Weir::with(PIPELINE).settings(history).start().await;
    let mut source = EventSource::default();
    let has = |count: usize| {
        move |seen: &[(String, Value)]| {
            seen.iter().filter(|(kind, _)| kind == "message").count() >= count
        }
    };
    source.connect(weir.public, usize::MAX, |seen| !seen.is_empty()).await;
    publish(weir.connect().await, 0, 1).await;
    source.connect(weir.public, usize::MAX, has(20)).await;
    publish(weir.connect().await, 1, 100).await;
    let before = source.dispatched.len();
    source.connect(weir.public, usize::MAX, has(20 + 1000)).await;
    let after = EventSource { dispatched: source.dispatched.split_off(before), ..source };
    let mut gaps: Vec<_> = after.of("gap").map(|gap| gap["channel"].clone()).collect();
    gaps.sort_by_key(ToString::to_string);
    let mut channels: Vec<_> = (0..CHANNELS).map(|n| json!(format!("ch.{n}"))).collect();
    channels.sort_by_key(ToString::to_string);
    assert_eq!(gaps, channels, "one gap each");
    assert!(after.of("gap").all(|gap| gap["reason"] == "expired"));
    let numbers: Vec<_> = after.of("message").map(|data| &data["event"]["data"]["n"]).collect();
    assert_eq!((numbers.len(), numbers[0]), (1_000, &json!(51)));
}
