//! What a spool promises, with a real file and a sink that the test plays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Front, Keepers, LeftBehind, Spool, SpoolSettings};
use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome, Receipt, Refusal};
use crate::component::{ComponentId, Health, PipelineName};
use crate::dead::{DeadLetterSettings, Letters, Office};
use crate::edge::{Capacity, Delivery, Inlet, Sender, edge};
use crate::event::{Batch, Draft};
use crate::tasks::{Stopper, Tasks};

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
    dead: Arc<Letters>,
    /// Asked when no letters come any more.
    stopper: Stopper,
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
        let tasks = Tasks::default();
        let stopper = Stopper::default();
        let office = Office::new(folder);
        let dead = office.open("shop", DeadLetterSettings::default(), &tasks, &stopper.stop());
        let keepers = Keepers { tasks: tasks.clone(), rescue: dead.rescue("broker", 1) };
        let front = Front::new(Arc::clone(&spool), settings, feed, &health, keepers);
        let front = tasks.spawn(front.run(input));
        let account = Arc::new(Account::new(Limits::default()));
        Self { spool, health, account, chain, sink, front, dead, stopper, tasks, published: 0 }
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
        self.stopper.ask();
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
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(bench.next().await);
    }
    bench.health.set_degraded("away");
    held.into_iter().for_each(|delivery| delivery.refuse(&away()));
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
    for _ in 0..10 {
        // One after the other, so that each is a record of its own.
        let receipt = bench.publish(1);
        assert_eq!(outcomes(&receipt).await, [Outcome::Spooled]);
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
async fn what_the_sink_owes_too_long_is_spooled_and_a_late_confirm_ends_it() {
    let folder = Folder::new();
    let settings = SpoolSettings { after: Duration::from_millis(50), ..SpoolSettings::default() };
    let mut bench = Bench::new(&folder.0, settings);
    let receipts = [bench.publish(1), bench.publish(2)];
    let held = [bench.next().await, bench.next().await];
    assert_eq!(outcomes(&receipts[0]).await, [Outcome::Spooled]);
    assert_eq!(outcomes(&receipts[1]).await, [Outcome::Spooled; 2]);
    let after = bench.publish(1);
    assert_eq!(outcomes(&after).await, [Outcome::Spooled], "what is new goes to disk at once");
    for delivery in held {
        delivery.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    }
    assert_eq!(bench.confirm(1).await, [3], "what was confirmed is not sent again");
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
    bench.next().await.refuse(&Refusal::new(Code::Unroutable, "no queue takes it"));
    bench.empties().await;
    assert_eq!(bench.spool.balance().rejected, 2);
    let kept = bench.dead.read(0).await.expect("a disk that works");
    let kept: Vec<&str> = kept.iter().map(|letter| letter.event().id()).collect();
    assert_eq!(kept, ["0", "1"]);
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
    eventually("the file is open", || bench.spool.journal.stats().next > 0).await;
    let receipt = bench.publish(1);
    assert_eq!(outcomes(&receipt).await, [Outcome::Spooled]);
    let names = fs::read_dir(folder.0.join("spool")).expect("a folder");
    let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
    let is_aside = |name: &std::ffi::OsString| name.to_string_lossy().contains(".broken-");
    assert!(names.iter().any(is_aside), "{names:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_before_it_was_kept_is_told_and_kept_nowhere() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    let receipt = bench.publish(1);
    bench.next().await.refuse(&Refusal::new(Code::Unroutable, "no queue takes it"));
    assert_eq!(outcomes(&receipt).await, [Outcome::Rejected]);
    let balance = bench.spool.balance();
    assert_eq!((balance.rejected, balance.appended), (0, 0));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_which_a_part_is_done_is_sent_from_there() {
    let folder = Folder::new();
    let settings = SpoolSettings { after: Duration::from_millis(50), ..SpoolSettings::default() };
    let mut bench = Bench::new(&folder.0, settings);
    let receipts = [bench.publish(2), bench.publish(3), bench.publish(1)];
    let mut held = Vec::new();
    for receipt in &receipts {
        held.push(bench.next().await);
        assert!(outcomes(receipt).await.iter().all(|outcome| *outcome == Outcome::Spooled));
    }
    let last = held.split_off(1);
    for delivery in held {
        delivery.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    }
    last.into_iter().for_each(|delivery| delivery.refuse(&away()));
    assert_eq!(bench.confirm(4).await, [2, 3, 4, 5]);
    bench.empties().await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_no_sink_sends_is_found() {
    let folder = Folder::new();
    let mut bench = Bench::new(&folder.0, SpoolSettings::default());
    let id = bench.spool.id.clone();
    bench.health.set_degraded("away");
    let receipt = bench.publish(3);
    assert_eq!(outcomes(&receipt).await, [Outcome::Spooled; 3]);
    let left = LeftBehind::default();
    left.look(&folder.0, &BTreeSet::new());
    assert_eq!(left.files(), [], "somebody has it open");
    bench.end().await;
    left.look(&folder.0, &BTreeSet::from([id]));
    assert_eq!(left.files(), [], "it is a sink's");
    left.look(&folder.0, &BTreeSet::new());
    let files = left.files();
    assert_eq!(files.iter().map(|file| file.events).collect::<Vec<_>>(), [3]);
    assert!(files[0].file.ends_with("spool/shop.broker.redb"), "{files:?}");
}
