//! A dead letter is on disk before it is told, says why, and comes back whole.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{DeadLetterSettings, Letters, Office};
use crate::ack::{Account, Ack, AckMode, Answer, Code, Outcome, Receipt, Refusal, rescue_refused};
use crate::event::{Batch, Draft};
use crate::store::StoreError;
use crate::tasks::{Stopper, Tasks};

const WAIT: Duration = Duration::from_secs(10);

/// An office in a directory that goes with the test.
struct Bench {
    dir: PathBuf,
    office: Office,
    tasks: Tasks,
    stopper: Stopper,
}

impl Bench {
    fn new() -> Self {
        Self::at(std::env::temp_dir().join(format!("weir-dead-{:x}", fastrand::u64(..))))
    }

    fn at(dir: PathBuf) -> Self {
        let office = Office::new(&dir);
        Self { dir, office, tasks: Tasks::default(), stopper: Stopper::default() }
    }

    fn open(&self, settings: DeadLetterSettings) -> Arc<Letters> {
        self.office.open("shop", settings, &self.tasks, &self.stopper.stop())
    }

    /// Ends as a process does; answers the directory.
    async fn stop(self) -> PathBuf {
        self.stopper.ask();
        assert_eq!(self.tasks.ended(WAIT).await, 0);
        self.dir
    }

    async fn clean_up(self) {
        let dir = self.stop().await;
        drop(fs::remove_dir_all(dir));
    }
}

fn batch(ids: &[&str]) -> Arc<Batch> {
    let mut batch = Batch::default();
    for id in ids {
        let data = format!("{{\"n\":1.10,\"id\":\"{id}\"}}");
        batch.push(&Draft {
            id,
            source: "/in",
            event_type: "t",
            data: data.as_bytes(),
            extensions: &[("tenant", "a")],
            ..Draft::default()
        });
    }
    Arc::new(batch)
}

/// Admits `batch` and has `letters` keep what of it is refused.
fn admitted(letters: &Arc<Letters>, batch: &Arc<Batch>) -> (Receipt, Vec<Ack>) {
    let account = Arc::new(Account::default());
    let sizes = vec![1; batch.len()].into_iter();
    let (receipt, mut acks) = account.admit(sizes, AckMode::Settled).unwrap();
    rescue_refused(&letters.rescue("filter", 7), batch, &mut acks);
    (receipt, acks)
}

fn no() -> Refusal {
    Refusal::new(Code::Unroutable, "no queue takes it")
}

#[tokio::test]
async fn a_refused_event_is_kept_whole_and_with_its_reason() {
    let bench = Bench::new();
    let letters = bench.open(DeadLetterSettings::default());
    let batch = batch(&["a", "b", "c"]);
    let (receipt, mut acks) = admitted(&letters, &batch);
    acks.pop().unwrap().settle(Outcome::Delivered);
    acks.pop().unwrap().refuse(no());
    acks.pop().unwrap().refuse(Refusal::new(Code::Unavailable, "away"));
    bench.office.settled().await;
    let answers = receipt.answers();
    assert!(matches!(answers[0], Answer::Settled(Outcome::Unavailable, Some(_))));
    assert_eq!(answers[1], Answer::Settled(Outcome::DeadLettered, None));
    let kept = letters.read(0).await.unwrap();
    assert_eq!(kept.len(), 1);
    let letter = &kept[0];
    assert_eq!((letter.cover.component.as_str(), letter.cover.generation), ("filter", 7));
    assert_eq!(
        (letter.cover.code.as_str(), &*letter.cover.error),
        ("unroutable", "no queue takes it")
    );
    assert_eq!(letter.event().data(), batch.event(1).data());
    assert_eq!(letter.event().extension("tenant"), Some("a"));
    assert_eq!(letters.get(letter.seq).await.unwrap().as_ref(), Some(letter));
    bench.clean_up().await;
}

#[tokio::test]
async fn letters_outlive_the_process_and_their_pipeline() {
    let bench = Bench::new();
    let letters = bench.open(DeadLetterSettings::default());
    let (_, acks) = admitted(&letters, &batch(&["a", "b"]));
    acks.into_iter().for_each(|ack| ack.refuse(no()));
    bench.office.settled().await;
    let bench = Bench::at(bench.stop().await);
    assert!(bench.office.get("shop").is_none());
    bench.office.open_kept(&bench.tasks, &bench.stopper.stop());
    let letters = bench.office.get("shop").unwrap();
    let ids = letters.read(0).await.unwrap();
    let ids: Vec<&str> = ids.iter().map(|letter| letter.event().id()).collect();
    assert_eq!(ids, ["a", "b"]);
    bench.clean_up().await;
}

#[tokio::test]
async fn an_event_that_does_not_fit_stays_rejected() {
    let bench = Bench::new();
    let letters =
        bench.open(DeadLetterSettings { bytes_max: 600, ..DeadLetterSettings::default() });
    let (receipt, acks) = admitted(&letters, &batch(&["a", "b", "c"]));
    acks.into_iter().for_each(|ack| ack.refuse(no()));
    bench.office.settled().await;
    let answers = receipt.answers();
    assert_eq!(answers[0], Answer::Settled(Outcome::DeadLettered, None));
    assert_eq!(answers[2], Answer::Settled(Outcome::Rejected, Some(no())));
    assert!(letters.counts().refused.load(std::sync::atomic::Ordering::Relaxed) > 0);
    bench.clean_up().await;
}

#[tokio::test]
async fn a_disk_that_fails_keeps_nothing_and_says_so() {
    let bench = Bench::new();
    fs::create_dir_all(&bench.dir).unwrap();
    // A file where the folder should be.
    fs::write(bench.dir.join("dead"), "").unwrap();
    let letters = bench.open(DeadLetterSettings::default());
    let (receipt, acks) = admitted(&letters, &batch(&["a"]));
    acks.into_iter().for_each(|ack| ack.refuse(no()));
    bench.office.settled().await;
    assert_eq!(receipt.answers(), [Answer::Settled(Outcome::Rejected, Some(no()))]);
    assert!(matches!(letters.read(0).await, Err(StoreError::Disk(_))));
    bench.clean_up().await;
}

#[tokio::test]
async fn purged_letters_are_gone() {
    let bench = Bench::new();
    let letters = bench.open(DeadLetterSettings::default());
    let (_, acks) = admitted(&letters, &batch(&["a", "b", "c"]));
    acks.into_iter().for_each(|ack| ack.refuse(no()));
    bench.office.settled().await;
    let first = letters.read(0).await.unwrap()[0].seq;
    assert_eq!(letters.purge(first + 1..first + 2).await.unwrap(), 1);
    let left = letters.read(0).await.unwrap();
    let left: Vec<&str> = left.iter().map(|letter| letter.event().id()).collect();
    assert_eq!(left, ["a", "c"]);
    assert_eq!(letters.purge(0..u64::MAX).await.unwrap(), 2);
    assert!(letters.read(0).await.unwrap().is_empty());
    assert_eq!(letters.stats().events, 0);
    bench.clean_up().await;
}
