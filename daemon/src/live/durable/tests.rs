//! What a durable hub settled is there after a restart, under the same cursors.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome, Receipt};
use crate::event::{Batch, Draft};
use crate::live::{
    Channel, Cursor, GapReason, HistoryLimits, Hub, HubSettings, Hubs, Joined, Next, Parcel,
    Pattern, Start, Subscription,
};
use crate::store::{Record, Volume, write_lines};
use crate::tasks::{Stopper, Tasks};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

/// A directory of the test's own; removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weir-hub-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("hubs/main.redb")
    }

    fn volume(&self) -> Volume {
        Volume::open(&self.file()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A daemon's life, as far as its hub notices.
struct Life {
    hubs: Hubs,
    hub: Arc<Hub>,
    tasks: Tasks,
    stopper: Stopper,
}

impl Life {
    fn new(scratch: &Scratch, history: HistoryLimits) -> Self {
        let settings = HubSettings { history, is_durable: true, ..HubSettings::default() };
        let hubs = Hubs::new(&scratch.0, [("main".to_owned(), settings)]);
        let hub = hubs.get("main").unwrap();
        Self { hubs, hub, tasks: Tasks::default(), stopper: Stopper::default() }
    }

    async fn begin(scratch: &Scratch, history: HistoryLimits) -> Self {
        let life = Self::new(scratch, history);
        life.start().await;
        assert!(life.hub.is_open(), "{:?}", life.hub.trouble());
        life
    }

    async fn start(&self) {
        self.hubs.start(&self.tasks, &self.stopper.stop());
        self.hubs.ready(LIMIT).await;
    }

    async fn end(self) {
        self.hub.settled().await;
        self.stopper.ask();
        drop((self.hubs, self.hub));
        assert_eq!(self.tasks.ended(LIMIT).await, 0);
    }

    async fn deliver(&self, channels: &[&str]) -> Receipt {
        let receipt = self.post(channels).await;
        tokio::time::timeout(LIMIT, receipt.wait()).await.unwrap();
        receipt
    }

    /// Delivers events whose data is the name of their channel, without waiting for the disk.
    async fn post(&self, channels: &[&str]) -> Receipt {
        let mut batch = Batch::default();
        for (number, channel) in channels.iter().enumerate() {
            let (id, data) = (number.to_string(), format!("{channel:?}"));
            let draft = Draft { id: &id, source: "/", event_type: "t", ..Draft::default() };
            batch.push(&Draft { data: data.as_bytes(), ..draft });
        }
        let account = Arc::new(Account::new(Limits::default()));
        let sizes = vec![1; batch.len()];
        let (receipt, acks) = account.admit(sizes.into_iter(), AckMode::Routed).unwrap();
        let mut parcel = Parcel::new(Arc::new(batch));
        for ((row, channel), ack) in (0..).zip(channels).zip(acks) {
            parcel.push(row, Channel::new(channel).unwrap(), ack);
        }
        self.hub.deliver(parcel).await;
        receipt
    }

    fn join(&self, start: Start) -> (Subscription, Joined) {
        let mut subscription = Subscription::new(Arc::clone(&self.hub));
        let joined = subscription.join(&[Pattern::new("**").unwrap()], start).unwrap();
        (subscription, joined)
    }
}

fn is_delivered(receipt: &Receipt) -> bool {
    let delivered = Answer::Settled(Outcome::Delivered, None);
    receipt.answers().iter().all(|answer| *answer == delivered)
}

/// The next `count` events as their number and channel.
async fn taken(subscription: &mut Subscription, count: usize) -> Vec<(u64, String)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(LIMIT, subscription.next(4_096)).await.unwrap();
        let Next::Burst(None, pieces) = next else { panic!("{next:?}") };
        for (seq, line) in pieces.iter().flat_map(|piece| piece.lines()) {
            let frame: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(frame["channel"], frame["event"]["data"], "{frame}");
            assert_eq!(frame["event"].as_object().unwrap().len(), 6, "{frame}");
            let cursor: Cursor = frame["cursor"].as_str().unwrap().parse().unwrap();
            assert_eq!((cursor.epoch, cursor.seq), (subscription.hub().epoch(), seq));
            taken.push((seq, frame["channel"].as_str().unwrap().to_owned()));
        }
    }
    taken
}

#[tokio::test]
async fn a_cursor_survives_a_restart() {
    let scratch = Scratch::new();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    let (mut live, _) = life.join(Start::Live);
    assert!(is_delivered(&life.deliver(&["a", "b.c", "a"]).await));
    let before = taken(&mut live, 3).await;
    let cursor = Cursor { epoch: life.hub.epoch(), seq: before[0].0 };
    drop(live);
    life.end().await;

    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    let (mut resumed, joined) = life.join(Start::Since(cursor));
    assert_eq!((joined.missed, joined.replayed), (None, 2));
    life.deliver(&["d"]).await;
    let mut all = vec![before[0].clone()];
    all.extend(taken(&mut resumed, 3).await);
    assert_eq!(all[..3], before);
    assert_eq!(all[3], (before[2].0 + 1, "d".to_owned()));
    assert_eq!(life.hub.stats().published, 1, "what was there before is not counted again");
    drop(resumed);
    life.end().await;
}

#[tokio::test]
async fn nothing_reaches_a_subscriber_before_the_disk() {
    let scratch = Scratch::new();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    let (mut live, _) = life.join(Start::Live);
    let receipts: Vec<_> = [life.post(&["a"; 40]).await, life.post(&["b"; 2]).await].into();
    let (seq, _) = taken(&mut live, 1).await.remove(0);
    let durable = life.hub.durable().unwrap();
    assert!(durable.journal().stats().next > seq, "what is seen is on disk");
    for receipt in &receipts {
        receipt.wait().await;
        assert!(is_delivered(receipt));
    }
    drop(live);
    life.end().await;
}

#[tokio::test]
async fn the_bounds_of_the_history_bound_the_file() {
    let scratch = Scratch::new();
    let history = HistoryLimits { events_max: 10, ..HistoryLimits::default() };
    let life = Life::begin(&scratch, history).await;
    let start = life.hub.cursor();
    for _ in 0..30 {
        life.deliver(&["a"; 100]).await;
    }
    life.end().await;
    assert!(scratch.volume().stats().events < 2_000, "{:?}", scratch.volume().stats());

    let life = Life::begin(&scratch, history).await;
    let (mut resumed, joined) = life.join(Start::Since(start));
    assert_eq!(joined.missed.unwrap().reason, GapReason::Expired);
    assert_eq!((joined.replayed, joined.cursor.seq), (10, 3_000));
    assert_eq!(taken(&mut resumed, 10).await[9].0, 3_000);
    drop(resumed);
    life.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_a_new_life_begins() {
    let scratch = Scratch::new();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    life.deliver(&["a", "b"]).await;
    let cursor = life.hub.cursor();
    life.end().await;
    fs::write(scratch.file(), b"this is no database at all".repeat(1_000)).unwrap();

    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    assert_ne!(life.hub.epoch(), cursor.epoch);
    let (mut resumed, joined) = life.join(Start::Since(cursor));
    assert_eq!(joined.missed.unwrap().reason, GapReason::Restarted);
    assert!(is_delivered(&life.deliver(&["c"]).await));
    assert_eq!(taken(&mut resumed, 1).await[0].1, "c");
    drop(resumed);
    life.end().await;
}

#[tokio::test]
async fn a_file_that_went_back_in_time_is_no_reason_for_silence() {
    let scratch = Scratch::new();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    life.deliver(&["a"]).await;
    life.end().await;
    let backup = fs::read(scratch.file()).unwrap();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    life.deliver(&["b"]).await;
    let cursor = life.hub.cursor();
    life.end().await;
    fs::write(scratch.file(), backup).unwrap();

    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    let (resumed, joined) = life.join(Start::Since(cursor));
    assert_eq!(joined.missed.unwrap().reason, GapReason::Restarted);
    assert_eq!(joined.replayed, 1);
    drop(resumed);
    life.end().await;
}

#[tokio::test]
async fn a_hub_that_is_not_open_takes_nothing() {
    let scratch = Scratch::new();
    fs::write(scratch.0.join("hubs"), "in the way").unwrap();
    let life = Life::new(&scratch, HistoryLimits::default());
    life.hubs.start(&life.tasks, &life.stopper.stop());
    life.hubs.ready(Duration::from_millis(50)).await;
    assert!(!life.hub.is_open());
    let receipt = life.deliver(&["a"]).await;
    assert_eq!(receipt.answers()[0].code(), Some(Code::Unavailable));
    assert!(life.hub.trouble().is_some());
    fs::remove_file(scratch.0.join("hubs")).unwrap();
    life.hubs.ready(LIMIT).await;
    assert_eq!(life.hub.trouble(), None);
    assert!(is_delivered(&life.deliver(&["a"]).await));
    life.end().await;
}

#[tokio::test]
async fn what_is_on_disk_though_it_was_refused_comes_before_what_follows() {
    let scratch = Scratch::new();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    let (mut live, _) = life.join(Start::Live);
    life.deliver(&["a"]).await;
    // As a sync leaves it that failed after the write: stored, and nobody was told so.
    let journal = life.hub.durable().unwrap().journal();
    let stored = journal.read(1, 1).await.unwrap().remove(0);
    journal.append(stored.record).await.unwrap();
    // What no version reads is passed over.
    let odd = Record { events: 3, bytes: b"odd".to_vec() };
    journal.append(odd).await.unwrap();
    life.deliver(&["b"]).await;
    let all = taken(&mut live, 3).await;
    let expected = [(1, "a"), (2, "a"), (6, "b")].map(|(seq, name)| (seq, name.to_owned()));
    assert_eq!(all, expected);
    drop(live);
    life.end().await;
}

#[tokio::test]
async fn the_file_can_be_read_as_lines() {
    let scratch = Scratch::new();
    let life = Life::begin(&scratch, HistoryLimits::default()).await;
    life.deliver(&["a.b"]).await;
    life.end().await;
    let stored = scratch.volume().read(0, 1).unwrap();
    let mut lines = Vec::new();
    write_lines(&stored[0], 0, 10, &mut lines).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
    assert_eq!((&line["seq"], &line["channel"]), (&1.into(), &"a.b".into()), "{line}");
    assert!(line["event"].get(".channel").is_none(), "{line}");
}
