//! Daemons that share a stream, in a world where connections break at any moment: everybody gets
//! everything once and in the same order, and who is cut off goes on alone.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::{Duration, Instant};

use super::signal::{Signal, Signals};
use super::{Relay, Waiting};
use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome, Receipt};
use crate::event::{Batch, Draft};
use crate::live::cursor::Cursor;
use crate::live::hub::{Hub, Start};
use crate::live::keeper::Keeper;
use crate::live::message::GapReason;
use crate::live::parcel::Parcel;
use crate::live::pattern::{Channel, Pattern};
use crate::live::subscription::{Gap, Next, Subscription};
use crate::live::{HistoryLimits, HubSettings};

/// A stream at a broker that works.
#[derive(Debug, Default)]
struct Stream {
    /// Messages before this one are gone.
    first: usize,
    messages: Vec<Vec<u8>>,
}

/// One daemon as far as its hub goes.
struct Node {
    hub: Arc<Hub>,
    relay: Relay,
    subscription: Option<Subscription>,
    /// The next message that the broker sends, while there is a connection.
    place: Option<usize>,
    /// On its way to the broker.
    outgoing: Vec<Vec<u8>>,
    seen: Vec<(u64, String)>,
    gaps: Vec<Gap>,
}

impl Node {
    fn new(events_max: usize) -> Self {
        let history = HistoryLimits { events_max, ..HistoryLimits::default() };
        let settings = HubSettings { history, is_shared: true, ..HubSettings::default() };
        let hub = Arc::new(Hub::with(settings, Keeper::Shared(super::Backplane::new())));
        let (relay, _) = hub.relay().unwrap();
        let (subscription, place) = (None, None);
        let (outgoing, seen, gaps) = (Vec::new(), Vec::new(), Vec::new());
        Self { hub, relay, subscription, place, outgoing, seen, gaps }
    }

    fn subscribe(&mut self, start: Start) {
        let mut subscription = Subscription::new(Arc::clone(&self.hub));
        let joined = subscription.join(&[Pattern::new("**").unwrap()], start).unwrap();
        let channels = Vec::new();
        self.gaps.extend(joined.missed.map(|missed| Gap { channels, missed }));
        self.subscription = Some(subscription);
    }

    /// Takes what the subscriber gets; one that was cut off comes back.
    fn read(&mut self) {
        let cx = Context::from_waker(Waker::noop());
        while let Some(subscription) = &mut self.subscription {
            let Poll::Ready(next) = subscription.poll_next(&cx, 4_096) else { return };
            let Next::Burst(gap, pieces) = next else {
                let seq = self.seen.last().map_or(0, |(seq, _)| *seq);
                let cursor = Cursor { epoch: crate::live::Epoch::random(), seq };
                self.subscribe(Start::Since(cursor));
                continue;
            };
            self.gaps.extend(gap);
            for (seq, line) in pieces.iter().flat_map(|piece| piece.lines()) {
                let frame: serde_json::Value = serde_json::from_slice(line).unwrap();
                self.seen.push((seq, frame["event"]["id"].as_str().unwrap().to_owned()));
            }
        }
    }

    fn publish(&mut self, id: &str, count: usize) -> Receipt {
        let mut batch = Batch::default();
        for row in 0..count {
            let id = format!("{id}.{row}");
            batch.push(&Draft { id: &id, source: "/", event_type: "t", ..Draft::default() });
        }
        let account = Arc::new(Account::new(Limits::default()));
        let sizes = vec![1; count];
        let (receipt, acks) = account.admit(sizes.into_iter(), AckMode::Routed).unwrap();
        let mut parcel = Parcel::new(Arc::new(batch));
        for (row, ack) in (0..).zip(acks) {
            let channel = if row % 3 == 0 { "a.b" } else { "c" };
            parcel.push(row, Channel::new(channel).unwrap(), ack);
        }
        self.relay.take(Waiting::Parcel(parcel), Instant::now());
        self.send();
        receipt
    }

    fn send(&mut self) {
        if self.place.is_some() {
            self.outgoing.extend(std::iter::from_fn(|| self.relay.next_message()));
        }
    }

    /// As the carrier does it.
    fn connect(&mut self, stream: &mut Stream) {
        let place = self.relay.resume();
        self.enter(stream, place);
    }

    fn enter(&mut self, stream: &mut Stream, place: Option<u64>) {
        let end = stream.messages.len();
        if place.is_none() {
            self.relay.look();
        }
        stream.messages.push(self.relay.hello());
        let start = place.unwrap_or_else(|| {
            let found = (end..).zip(&stream.messages[end..]);
            let mut found = found.map(|(offset, bytes)| self.relay.found(offset as u64, bytes));
            found.find_map(|found| found).unwrap()
        });
        let start = usize::try_from(start).unwrap();
        // The broker begins where it can.
        self.place = Some(if start > end { end } else { start.max(stream.first) });
    }

    /// Takes one message of the stream, if there is one.
    fn step(&mut self, stream: &mut Stream) -> bool {
        let Some(place) = self.place.filter(|place| *place < stream.messages.len()) else {
            return false;
        };
        self.place = Some(place + 1);
        if self.relay.came(place as u64, &stream.messages[place]).is_err() {
            self.enter(stream, None);
        }
        self.send();
        self.read();
        true
    }

    /// What is on its way may get there or not, all before it too.
    fn disconnect(&mut self, stream: &mut Stream, arriving: usize) {
        let arriving = arriving.min(self.outgoing.len());
        stream.messages.extend(self.outgoing.drain(..arriving));
        self.outgoing.clear();
        self.place = None;
        self.relay.lost();
    }

    fn ids(&self) -> Vec<&str> {
        self.seen.iter().map(|(_, id)| id.as_str()).collect()
    }
}

fn is_delivered(receipt: &Receipt) -> bool {
    let delivered = Answer::Settled(Outcome::Delivered, None);
    receipt.answers().iter().all(|answer| *answer == delivered)
}

/// Lets all get everything.
fn settle(nodes: &mut [Node], stream: &mut Stream) {
    for node in nodes.iter_mut().filter(|node| node.place.is_none()) {
        node.connect(stream);
    }
    loop {
        let mut is_quiet = true;
        for node in nodes.iter_mut() {
            node.send();
            stream.messages.append(&mut node.outgoing);
            is_quiet &= !node.step(stream);
        }
        if is_quiet {
            return;
        }
    }
}

/// A run of several daemons in which everything happens by chance.
fn run(seed: u64, goes_alone: bool) -> (Vec<Node>, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stream = Stream::default();
    let mut nodes: Vec<_> = (0..3).map(|_| Node::new(10_000)).collect();
    settle(&mut nodes, &mut stream);
    nodes.iter_mut().for_each(|node| node.subscribe(Start::Live));
    let mut receipts = Vec::new();
    let mut events = 0;
    for round in 0..400 {
        let node = &mut nodes[random.usize(..3)];
        match random.u8(..12) {
            0..4 => {
                let count = random.usize(1..5);
                events += count;
                receipts.push(node.publish(&format!("{round}"), count));
            }
            4..6 if !node.outgoing.is_empty() => stream.messages.push(node.outgoing.remove(0)),
            6 if node.place.is_some() => node.disconnect(&mut stream, random.usize(..4)),
            7 if node.place.is_none() => node.connect(&mut stream),
            8 if goes_alone && node.place.is_none() => node.relay.go_alone(),
            _ => drop(node.step(&mut stream)),
        }
        node.read();
    }
    settle(&mut nodes, &mut stream);
    assert!(receipts.iter().all(is_delivered), "seed {seed}");
    for node in &mut nodes {
        node.read();
        assert!(node.gaps.is_empty(), "seed {seed}: {:?}", node.gaps);
        assert!(node.relay.is_idle());
        assert_eq!(node.hub.trouble(), None);
    }
    (nodes, events)
}

#[tokio::test]
async fn all_daemons_show_one_order_whatever_breaks() {
    for seed in 0..100 {
        let (nodes, events) = run(seed, false);
        assert_eq!(nodes[0].seen.len(), events, "seed {seed}");
        assert_eq!(nodes[0].seen, nodes[1].seen, "seed {seed}");
        assert_eq!(nodes[0].seen, nodes[2].seen, "seed {seed}");
        assert!(nodes[0].seen.is_sorted_by(|(one, _), (other, _)| one < other), "seed {seed}");
    }
}

#[tokio::test]
async fn whoever_went_on_alone_misses_and_repeats_nothing() {
    for seed in 100..200 {
        let (nodes, events) = run(seed, true);
        let mut all = nodes[0].ids();
        all.sort_unstable();
        let mut different = all.clone();
        different.dedup();
        assert_eq!((all.len(), different.len()), (events, events), "seed {seed}");
        for node in &nodes {
            assert!(node.seen.is_sorted_by(|(one, _), (other, _)| one < other), "seed {seed}");
            let mut own = node.ids();
            own.sort_unstable();
            assert_eq!(own, all, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_good_on_every_daemon() {
    let mut stream = Stream::default();
    let mut nodes = vec![Node::new(1_000), Node::new(1_000)];
    settle(&mut nodes, &mut stream);
    nodes[0].subscribe(Start::Live);
    nodes[0].publish("a", 4);
    settle(&mut nodes, &mut stream);
    // Alone, the first daemon hands out what has no place in the stream.
    nodes[0].disconnect(&mut stream, 0);
    nodes[0].relay.go_alone();
    nodes[0].publish("b", 2);
    nodes[1].publish("c", 2);
    nodes[0].read();
    let epoch = nodes[0].hub.epoch();
    let (seen, last) = (nodes[0].seen.clone(), nodes[0].seen.last().unwrap().0);
    assert_eq!(seen.len(), 6);
    // Whoever comes to the other one meanwhile, or later, misses nothing and has no gap.
    nodes[1].subscribe(Start::Since(Cursor { epoch, seq: last }));
    settle(&mut nodes, &mut stream);
    assert_eq!(nodes[1].ids(), ["c.0", "c.1", "b.0", "b.1"]);
    let mut late = Node::new(1_000);
    late.connect(&mut stream);
    while late.step(&mut stream) {}
    late.subscribe(Start::Since(Cursor { epoch, seq: seen[1].0 }));
    late.read();
    assert_eq!(late.ids(), ["a.2", "a.3", "c.0", "c.1", "b.0", "b.1"]);
    assert!(nodes[1].gaps.is_empty() && late.gaps.is_empty());
}

#[tokio::test]
async fn what_the_stream_lost_is_a_gap() {
    let mut stream = Stream::default();
    let mut nodes = vec![Node::new(1_000), Node::new(1_000)];
    settle(&mut nodes, &mut stream);
    nodes[0].subscribe(Start::Live);
    nodes[0].publish("a", 1);
    settle(&mut nodes, &mut stream);
    nodes[0].disconnect(&mut stream, 0);
    for id in ["b", "c", "d"] {
        nodes[1].publish(id, 1);
        settle(&mut nodes[1..], &mut stream);
    }
    stream.first = stream.messages.len() - 1;
    settle(&mut nodes, &mut stream);
    assert_eq!(nodes[0].ids(), ["a.0", "d.0"]);
    let gap = nodes[0].gaps.pop().unwrap();
    assert_eq!(gap.missed.reason, GapReason::Expired);
    assert!(nodes[0].seen[0].0 <= gap.missed.from.seq && gap.missed.until.seq < nodes[0].seen[1].0);
    assert!(nodes[0].gaps.is_empty());
}

#[tokio::test]
async fn another_stream_of_the_same_name_is_another_life() {
    let mut stream = Stream::default();
    let mut nodes = vec![Node::new(1_000), Node::new(1_000)];
    settle(&mut nodes, &mut stream);
    nodes[0].subscribe(Start::Live);
    for round in 0..20 {
        nodes[0].publish(&format!("{round}"), 1);
        settle(&mut nodes, &mut stream);
    }
    let before = nodes[0].hub.epoch();
    let lost = nodes[0].publish("lost", 2);
    nodes.iter_mut().for_each(|node| node.disconnect(&mut stream, 0));
    let mut stream = Stream::default();
    settle(&mut nodes, &mut stream);
    let receipt = nodes[1].publish("new", 1);
    settle(&mut nodes, &mut stream);
    assert!(is_delivered(&receipt) && is_delivered(&lost), "what was on its way is sent again");
    assert_ne!(before, nodes[0].hub.epoch());
    assert_eq!(nodes[1].hub.epoch(), nodes[0].hub.epoch());
    assert_eq!(nodes[0].ids()[20..], ["lost.0", "lost.1", "new.0"]);
    let reasons: Vec<_> = nodes[0].gaps.iter().map(|gap| gap.missed.reason).collect();
    assert_eq!(reasons, [GapReason::Restarted]);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_in_the_stream() {
    let mut stream = Stream::default();
    let mut nodes = vec![Node::new(1_000)];
    settle(&mut nodes, &mut stream);
    nodes[0].subscribe(Start::Live);
    nodes[0].disconnect(&mut stream, 0);
    nodes[0].relay.go_alone();
    let receipt = nodes[0].publish("a", 1);
    nodes[0].read();
    assert_eq!(nodes[0].ids(), ["a.0"]);
    let soon = Instant::now() + Duration::from_secs(10);
    nodes[0].relay.expire(Some(soon));
    assert_eq!(receipt.answers()[0], Answer::Pending);
    nodes[0].relay.expire(Some(soon + Duration::from_secs(20)));
    assert_eq!(receipt.answers()[0].code(), Some(Code::Unavailable));
    settle(&mut nodes, &mut stream);
    assert_eq!(nodes[0].ids(), ["a.0"], "it was refused and does not come again");
}

#[test]
fn signals_wait_for_those_before_them_within_bounds() {
    let mut signals = Signals::default();
    let end = |user: String| Signal::End { user: user.into() };
    let mut sent = 0;
    for n in 0..100 {
        signals.add(end(n.to_string()));
        sent += usize::from(signals.take().is_some());
    }
    assert_eq!(sent, 4);
    signals.came_back();
    let rest = signals.take().unwrap();
    assert_eq!(serde_json::from_slice::<Vec<Signal>>(&rest.bytes).unwrap().len(), 96);
    signals.came_back();
    for _ in 0..3_000 {
        signals.add(end("x".repeat(1_000)));
    }
    let rest = signals.take().unwrap();
    assert!((1 << 20..2 << 20).contains(&rest.bytes.len()), "{}", rest.bytes.len());
}
