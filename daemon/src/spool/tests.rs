//! What a spool promises, with a real file and a sink that the test plays.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Front, Spool, SpoolSettings, record};
use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome, Receipt, Refusal};
use crate::component::{ComponentId, Health, PipelineName};
use crate::edge::{Capacity, Delivery, Inlet, Sender, edge};
use crate::event::{Batch, Draft};
use crate::tasks::Tasks;

const LIMIT: Duration = Duration::from_secs(20);

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-spool-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A front at work; the test is chain and sink.
struct Bench {
    spool: Arc<Spool>,
    health: Arc<Health>,
    account: Arc<Account>,
    chain: Sender,
    sink: Inlet,
    front: JoinHandle<()>,
    tasks: Tasks,
    published: usize,
}

impl Bench {
    fn new(folder: &Path, settings: SpoolSettings) -> Self {
        let pipeline = PipelineName::new("shop").expect("a name");
        let id = ComponentId::new(&pipeline, "broker").expect("a name");
        let spool = Arc::new(Spool::new(&id, folder, settings));
        let capacity = Capacity { events: 1 << 20, bytes: 1 << 30 };
        let ((chain, input), (feed, sink)) = (edge(capacity), edge(capacity));
        let health = Arc::new(Health::default());
        health.set_running();
        let front = Front::new(id, Arc::clone(&spool), settings, feed, Arc::clone(&health));
        let tasks = Tasks::default();
        let front = tasks.spawn(front.run(input, tasks.clone()));
        let account = Arc::new(Account::new(Limits::default()));
        Self { spool, health, account, chain, sink, front, tasks, published: 0 }
    }

    /// Publishes the next `count` events, numbered.
    fn publish(&mut self, count: usize) -> Receipt {
        let mut batch = Batch::default();
        for number in self.published..self.published + count {
            let id = number.to_string();
            batch.push(&Draft {
                id: &id,
                source: "/in",
                event_type: "n",
                data: b"{}",
                ..Draft::default()
            });
        }
        self.published += count;
        let sizes = vec![2; count];
        let (receipt, acks) =
            self.account.admit(sizes.into_iter(), AckMode::Settled).expect("room");
        self.chain.send(Delivery { batch: Arc::new(batch), acks, entry: 0 }).expect("it is open");
        receipt
    }

    async fn next(&mut self) -> Delivery {
        timeout(LIMIT, self.sink.recv()).await.expect("in time").expect("the edge is open")
    }

    /// Confirms events until `count` came; answers their numbers.
    async fn confirm(&mut self, count: usize) -> Vec<usize> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let delivery = self.next().await;
            numbers.extend(
                delivery.batch.iter().map(|event| event.id().parse::<usize>().expect("a number")),
            );
            delivery.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
        }
        numbers
    }

    async fn empties(&self) {
        eventually("the spool is empty", || self.spool.balance().events == 0).await;
    }

    /// Ends the input and waits for the front and the file's writer.
    async fn end(self) {
        self.chain.close();
        timeout(LIMIT, self.front).await.expect("in time").expect("no panic");
        drop(self.spool);
        assert_eq!(self.tasks.ended(LIMIT).await, 0);
        assert_eq!(self.account.balance().in_flight, 0);
        assert_eq!(self.account.balance().lost, 0);
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn outcomes(receipt: &Receipt) -> Vec<Outcome> {
    timeout(LIMIT, receipt.wait()).await.expect("a verdict in time");
    let outcome = |answer: Answer| match answer {
        Answer::Settled(outcome, _) => outcome,
        other => panic!("no verdict: {other:?}"),
    };
    receipt.answers().into_iter().map(outcome).collect()
}

fn away() -> Refusal {
    Refusal::new(Code::Unavailable, "away")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_the_sink_confirms() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    let receipt = bench.publish(3);
    assert_eq!(bench.confirm(3).await, [0, 1, 2]);
    assert_eq!(outcomes(&receipt).await, [Outcome::Delivered; 3]);
    assert_eq!(bench.spool.balance().appended, 0);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_is_kept_and_sent_again_in_order_before_anything_new() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    let receipts: Vec<_> = (0..20).map(|_| bench.publish(5)).collect();
    let first = bench.next().await;
    bench.health.set_degraded("away");
    first.refuse(&away());
    for _ in 1..20 {
        bench.next().await.refuse(&away());
    }
    let later: Vec<_> = (0..20).map(|_| bench.publish(5)).collect();
    for receipt in receipts.iter().chain(&later) {
        assert_eq!(outcomes(receipt).await, [Outcome::Spooled; 5]);
    }
    assert_eq!(bench.spool.balance().events, 200);
    bench.health.set_running();
    assert_eq!(bench.confirm(200).await, (0..200).collect::<Vec<_>>());
    bench.empties().await;
    let balance = bench.spool.balance();
    assert_eq!((balance.appended, balance.delivered), (200, 200));
    // Back to memory: the disk is not touched any more.
    sleep(Duration::from_millis(100)).await;
    let receipt = bench.publish(1);
    assert_eq!(bench.confirm(1).await, [200]);
    assert_eq!(outcomes(&receipt).await, [Outcome::Delivered]);
    assert_eq!(bench.spool.balance().appended, 200);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_comes_back_begins_again_with_the_oldest() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    bench.health.set_degraded("away");
    let receipts: Vec<_> = (0..10).map(|_| bench.publish(1)).collect();
    for receipt in &receipts {
        assert_eq!(outcomes(receipt).await, [Outcome::Spooled]);
    }
    bench.health.set_running();
    assert_eq!(bench.confirm(3).await, [0, 1, 2]);
    for _ in 3..10 {
        bench.next().await.refuse(&away());
    }
    assert_eq!(bench.confirm(7).await, (3..10).collect::<Vec<_>>());
    bench.empties().await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sends_what_was_kept_before_anything_new() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    bench.health.set_degraded("away");
    let receipts: Vec<_> = (0..100).map(|_| bench.publish(2)).collect();
    for receipt in &receipts {
        assert_eq!(outcomes(receipt).await, [Outcome::Spooled; 2]);
    }
    bench.end().await;
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    eventually("the file is open", || bench.spool.balance().events == 200).await;
    bench.published = 200;
    let receipt = bench.publish(1);
    assert_eq!(bench.confirm(201).await, (0..201).collect::<Vec<_>>());
    assert_ne!(outcomes(&receipt).await, [Outcome::Unavailable]);
    bench.empties().await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sink_owes_too_long_is_safe_and_a_late_confirm_counts() {
    let folder = Folder::new();
    let settings = SpoolSettings { after: Duration::from_millis(50), ..SpoolSettings::default() };
    let mut bench = Bench::new(&folder.0, settings);
    let receipt = bench.publish(1);
    let held = bench.next().await;
    let is_safe = || receipt.answers() == [Answer::Settled(Outcome::Spooled, None)];
    eventually("a publisher that leaves now is told `spooled`", is_safe).await;
    held.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    assert_eq!(outcomes(&receipt).await, [Outcome::Delivered]);
    bench.empties().await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_gives_back_and_takes_again_once_there_is_room() {
    let folder = Folder::new();
    let settings = SpoolSettings { bytes_max: 2_000, ..SpoolSettings::default() };
    let mut bench = Bench::new(&folder.0, settings);
    bench.health.set_degraded("away");
    let mut kept = Vec::new();
    for number in 0..200 {
        let receipt = bench.publish(1);
        match outcomes(&receipt).await[..] {
            [Outcome::Spooled] => kept.push(number),
            [Outcome::Unavailable] => {}
            ref other => panic!("{other:?}"),
        }
    }
    assert!(!kept.is_empty() && kept.len() < 100, "{} kept", kept.len());
    bench.health.set_running();
    assert_eq!(bench.confirm(kept.len()).await, kept);
    bench.empties().await;
    bench.health.set_degraded("away");
    sleep(Duration::from_millis(100)).await;
    let receipt = bench.publish(1);
    assert_eq!(outcomes(&receipt).await, [Outcome::Spooled]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_does_not_wait_for_a_sink_that_is_stuck() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    let receipt = bench.publish(7);
    let held = bench.next().await;
    let since = Instant::now();
    bench.chain.close();
    assert_eq!(outcomes(&receipt).await, [Outcome::Spooled; 7]);
    assert!(since.elapsed() < Duration::from_secs(5));
    assert_eq!(bench.spool.balance().events, 7);
    held.refuse(&away());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_after_it_was_kept_is_not_lost() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    bench.health.set_degraded("away");
    let receipt = bench.publish(2);
    assert_eq!(outcomes(&receipt).await, [Outcome::Spooled; 2]);
    bench.health.set_running();
    let delivery = bench.next().await;
    delivery.refuse(&Refusal::new(Code::Unroutable, "no queue takes it"));
    bench.empties().await;
    assert_eq!(bench.spool.balance().rejected, 2);
    assert_eq!(bench.spool.rejected.stats().next, 2);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_is_set_aside() {
    let folder = Folder::new();
    let file = folder.0.join("spool/shop.broker.redb");
    fs::create_dir_all(folder.0.join("spool")).expect("a folder");
    fs::write(&file, vec![7; 100_000]).expect("a file");
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    bench.health.set_degraded("away");
    eventually("the file is open", || bench.spool.journal.is_opened()).await;
    let receipt = bench.publish(1);
    assert_eq!(outcomes(&receipt).await, [Outcome::Spooled]);
    let names = fs::read_dir(folder.0.join("spool")).expect("a folder");
    let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
    let is_aside = |name: &std::ffi::OsString| name.to_string_lossy().contains(".broken-");
    assert!(names.iter().any(is_aside), "{names:?}");
    bench.end().await;
}

#[test]
fn a_record_is_the_batch_and_a_part_of_it_is_an_error_or_fewer_events() {
    let mut batch = Batch::default();
    batch.push(&Draft {
        id: "1",
        source: "/in",
        event_type: "a.b",
        subject: Some("s"),
        content_type: Some("text/plain"),
        time: 5,
        arrival: 6,
        data: b"\x00\xff",
        extensions: &[("tenant", "acme"), ("x", "")],
    });
    batch.push(&Draft { id: "2", source: "/in", event_type: "a", ..Draft::default() });
    let bytes = record::encode(&batch);
    assert_eq!(record::decode(&bytes), Ok(batch));
    for end in 0..bytes.len() {
        if let Ok(batch) = record::decode(&bytes[..end]) {
            assert!(batch.len() < 2, "cut at {end}");
        }
    }
}
