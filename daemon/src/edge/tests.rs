//! Edges keep their bounds, wake whoever waits, and lose nothing when they are re-pointed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::{Capacity, Delivery, Inlet, MERGE, Outlet, SendError, Sender, Target, edge};
use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome};
use crate::event::{Batch, Draft};

const PATIENCE: Duration = Duration::from_secs(20);
const ROOMY: Capacity = Capacity { events: 1_000_000, bytes: 1 << 30 };

fn batch(ids: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for id in ids {
        batch.push(&Draft { id, data: b"1234567", ..Draft::default() });
    }
    batch
}

fn delivery(account: &Arc<Account>, ids: &[&str], entry: u16) -> Delivery {
    let batch = batch(ids);
    let sizes = vec![8; ids.len()].into_iter();
    let (_receipt, acks) = account.admit(sizes, AckMode::Settled).unwrap();
    Delivery { batch: Arc::new(batch), acks, entry }
}

fn ids(delivery: Delivery) -> Vec<String> {
    let ids = delivery.batch.iter().map(|event| event.id().to_owned()).collect();
    for ack in delivery.acks {
        ack.settle(Outcome::Delivered);
    }
    ids
}

/// What a thread that waits for ever gets.
fn taken(inlet: &mut Inlet) -> Option<Delivery> {
    match inlet.recv_merged_blocking(None) {
        Poll::Ready(taken) => taken,
        Poll::Pending => panic!("it waited for something else"),
    }
}

fn give(sender: &Sender, delivery: Delivery) {
    assert!(sender.send(delivery).is_ok());
}

fn account() -> Arc<Account> {
    Arc::new(Account::default())
}

#[tokio::test]
async fn deliveries_come_out_in_the_order_they_went_in() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    give(&sender, delivery(&account, &["a", "b"], 0));
    give(&sender, delivery(&account, &["c"], 0));
    assert_eq!(ids(inlet.recv().await.unwrap()), ["a", "b"]);
    assert_eq!(ids(inlet.try_recv().unwrap()), ["c"]);
    assert!(inlet.try_recv().is_none());
    assert_eq!((sender.stats().events, sender.stats().bytes, sender.stats().passed), (0, 0, 3));
}

#[tokio::test]
async fn an_edge_is_full_by_events_or_by_bytes_and_gives_back_what_does_not_fit() {
    let account = account();
    for capacity in [Capacity { events: 2, bytes: 1_000 }, Capacity { events: 100, bytes: 16 }] {
        let (sender, mut inlet) = edge(capacity);
        give(&sender, delivery(&account, &["a", "b"], 0));
        let Err(SendError::Full(back)) = sender.send(delivery(&account, &["c"], 0)) else {
            panic!("it fits");
        };
        assert_eq!(ids(back), ["c"]);
        assert_eq!((sender.stats().refused, sender.stats().events), (1, 2));
        ids(inlet.recv().await.unwrap());
        give(&sender, delivery(&account, &["d", "e", "f"], 0));
        assert_eq!(ids(inlet.recv().await.unwrap()).len(), 3);
    }
}

#[tokio::test]
async fn a_closed_edge_gives_what_waits_and_then_ends() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    give(&sender, delivery(&account, &["a"], 0));
    sender.close();
    let Err(SendError::Closed(back)) = sender.send(delivery(&account, &["b"], 0)) else {
        panic!("it is open");
    };
    assert_eq!(ids(back), ["b"]);
    assert_eq!(ids(inlet.recv().await.unwrap()), ["a"]);
    assert!(inlet.recv().await.is_none());
    assert!(inlet.recv_merged().await.is_none());
    assert!(matches!(inlet.recv_merged_blocking(None), Poll::Ready(None)));
}

#[tokio::test]
async fn what_waits_is_merged_up_to_a_size_and_never_across_entries() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    for (id, entry) in [("a", 0), ("b", 0), ("c", 1), ("d", 1)] {
        give(&sender, delivery(&account, &[id], entry));
    }
    let first = inlet.recv_merged().await.unwrap();
    assert_eq!(first.entry, 0);
    assert_eq!(ids(first), ["a", "b"]);
    let second = taken(&mut inlet).unwrap();
    assert_eq!(second.entry, 1);
    assert_eq!(ids(second), ["c", "d"]);
    let many: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for _ in 0..4 {
        give(&sender, delivery(&account, &many, 0));
    }
    assert_eq!(ids(inlet.recv_merged().await.unwrap()).len(), 200);
    let whole: Vec<&str> = many.iter().copied().cycle().take(MERGE.events + 1).collect();
    give(&sender, delivery(&account, &whole, 0));
    assert_eq!(ids(inlet.recv_merged().await.unwrap()).len(), 200);
    assert_eq!(ids(inlet.recv_merged().await.unwrap()).len(), MERGE.events + 1);
}

#[test]
fn a_thread_waits_for_events_until_its_deadline() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    let soon = Instant::now() + Duration::from_millis(20);
    assert!(inlet.recv_merged_blocking(Some(soon)).is_pending());
    assert!(Instant::now() >= soon);
    give(&sender, delivery(&account, &["a"], 0));
    // What waits is taken, however late it is.
    let Poll::Ready(Some(late)) = inlet.recv_merged_blocking(Some(soon)) else {
        panic!("nothing was there");
    };
    assert_eq!(ids(late), ["a"]);
    sender.close();
    assert!(matches!(inlet.recv_merged_blocking(Some(soon)), Poll::Ready(None)));
}

#[tokio::test]
async fn a_task_that_waits_is_woken_by_events_and_by_the_end() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    let mut consumer = JoinSet::new();
    consumer.spawn(async move {
        let mut taken = Vec::new();
        while let Some(delivery) = inlet.recv_merged().await {
            taken.extend(ids(delivery));
        }
        taken
    });
    for id in ["a", "b", "c"] {
        give(&sender, delivery(&account, &[id], 0));
        yield_now().await;
    }
    sender.close();
    let taken = timeout(PATIENCE, consumer.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(taken, ["a", "b", "c"]);
}

#[test]
fn a_thread_that_waits_is_woken_by_events_and_by_the_end() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    let consumer = thread::spawn(move || {
        let mut taken = 0;
        while let Some(delivery) = self::taken(&mut inlet) {
            taken += ids(delivery).len();
        }
        taken
    });
    for _ in 0..1_000 {
        give(&sender, delivery(&account, &["a"], 0));
        thread::yield_now();
    }
    sender.close();
    assert_eq!(consumer.join().unwrap(), 1_000);
    assert_eq!(account.balance().delivered, 1_000);
}

#[tokio::test]
async fn a_wait_that_is_given_up_takes_nothing() {
    let account = account();
    let (sender, mut inlet) = edge(ROOMY);
    assert!(timeout(Duration::from_millis(1), inlet.recv()).await.is_err());
    give(&sender, delivery(&account, &["a"], 0));
    assert_eq!(ids(inlet.recv().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_copy_is_settled_on_its_own() {
    let account = account();
    let original = delivery(&account, &["a"], 3);
    let copy = original.fork();
    assert_eq!(copy.entry, 3);
    ids(original);
    assert_eq!(account.balance().in_flight, 1);
    ids(copy);
    assert_eq!((account.balance().delivered, account.balance().in_flight), (1, 0));
}

#[test]
fn an_outlet_that_leads_nowhere_takes_nothing() {
    let account = account();
    let outlet = Outlet::new(Arc::clone(&account));
    assert_eq!(outlet.publish(batch(&["a"]), &[], None).unwrap_err().code, Code::Draining);
    assert_eq!(account.balance().received, 0);
}

#[test]
fn an_outlet_into_a_full_or_closed_edge_settles_what_it_took() {
    let account = account();
    let outlet = Outlet::new(Arc::clone(&account));
    let (sender, inlet) = edge(Capacity { events: 1, bytes: 1_000 });
    outlet.point(Some(target(&sender)));
    let receipt = outlet.publish(batch(&["a"]), &[], None).unwrap();
    assert_eq!(receipt.answers(), [Answer::Pending]);
    assert_eq!(outlet.publish(batch(&["b"]), &[], None).unwrap_err().code, Code::Overloaded);
    sender.close();
    assert_eq!(outlet.publish(batch(&["c"]), &[], None).unwrap_err().code, Code::Draining);
    let balance = account.balance();
    assert_eq!((balance.unavailable, balance.in_flight, balance.lost), (2, 1, 0));
    drop(inlet);
}

#[tokio::test(start_paused = true)]
async fn an_outlet_takes_nothing_that_would_wait_too_long() {
    let account = account();
    let outlet = Outlet::new(Arc::clone(&account)).for_waiting(Duration::from_secs(10));
    let (sender, mut inlet) = edge(ROOMY);
    outlet.point(Some(target(&sender)));
    let settled = Some(AckMode::Settled);
    assert!(outlet.publish(batch(&["a"]), &[], settled).is_ok());
    sleep(Duration::from_secs(5)).await;
    assert!(outlet.publish(batch(&["b"]), &[], settled).is_ok(), "the sink may only be slow");
    sleep(Duration::from_millis(1)).await;
    let refusal = outlet.publish(batch(&["c"]), &[], settled).unwrap_err();
    assert_eq!(refusal.code, Code::Overloaded);
    let unasked = outlet.publish(batch(&["d"]), &[], Some(AckMode::Routed));
    assert!(unasked.is_ok(), "nobody waits for this one");
    assert_eq!(ids(inlet.recv().await.unwrap()), ["a"]);
    assert!(outlet.publish(batch(&["e"]), &[], settled).is_ok());
    assert_eq!(account.balance().received, 4);
}

#[test]
fn an_outlet_asks_for_what_its_target_says_unless_the_source_says_more() {
    let account = account();
    let outlet = Outlet::new(Arc::clone(&account));
    let (sender, _inlet) = edge(ROOMY);
    outlet.point(Some(Target { sender, entry: 0, ack: AckMode::Accepted, dedupe: None }));
    assert_eq!(outlet.publish(batch(&["a"]), &[], None).unwrap().answers(), [Answer::Accepted]);
    let settled = outlet.publish(batch(&["b"]), &[], Some(AckMode::Settled)).unwrap();
    assert_eq!(settled.answers(), [Answer::Pending]);
}

fn target(sender: &Sender) -> Target {
    Target { sender: sender.clone(), entry: 0, ack: AckMode::Settled, dedupe: None }
}

async fn consume(mut inlet: Inlet) -> Vec<String> {
    let mut taken = Vec::new();
    while let Some(delivery) = inlet.recv_merged().await {
        taken.extend(ids(delivery));
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn re_pointing_an_outlet_under_load_loses_and_reorders_nothing() {
    const PUBLISHERS: usize = 8;
    const EVENTS: usize = 2_000;
    let account = Arc::new(Account::new(Limits { events_max: 1 << 20, bytes_max: 1 << 30 }));
    let outlet = Outlet::new(Arc::clone(&account));
    let (mut sender, inlet) = edge(ROOMY);
    outlet.point(Some(target(&sender)));
    let mut consumers = vec![tokio_spawn(consume(inlet))];
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let outlet = outlet.clone();
        publishers.spawn(async move {
            for number in 0..EVENTS {
                let id = format!("{publisher}.{number:05}");
                let receipt = outlet.publish(batch(&[&id]), &[], None).unwrap();
                receipt.wait().await;
                assert_eq!(receipt.answers(), [Answer::Settled(Outcome::Delivered, None)]);
            }
        });
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let (reloads, is_over) = (outlet.clone(), Arc::clone(&is_done));
    let mut reloading = tokio_spawn(async move {
        while !is_over.load(Ordering::Relaxed) {
            let (next, inlet) = edge(ROOMY);
            consumers.push(tokio_spawn(consume(inlet)));
            reloads.point(Some(target(&next)));
            sender.close();
            sender = next;
            yield_now().await;
        }
        sender.close();
        consumers
    });
    let published = async { while publishers.join_next().await.transpose().unwrap().is_some() {} };
    timeout(PATIENCE, published).await.unwrap();
    is_done.store(true, Ordering::Relaxed);
    let mut consumers = reloading.join_next().await.unwrap().unwrap();
    let mut taken = Vec::new();
    for consumer in &mut consumers {
        taken.extend(consumer.join_next().await.unwrap().unwrap());
    }
    assert_eq!(taken.len(), PUBLISHERS * EVENTS);
    for publisher in 0..PUBLISHERS {
        let start = format!("{publisher}.");
        let own: Vec<_> = taken.iter().filter(|id| id.starts_with(&start)).collect();
        assert_eq!(own.len(), EVENTS);
        assert!(own.is_sorted());
    }
    let balance = account.balance();
    assert_eq!((balance.received, balance.delivered), (taken.len() as u64, taken.len() as u64));
}

/// One task in a set of its own, so that a failed assertion in it fails the test.
fn tokio_spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinSet<T> {
    let mut set = JoinSet::new();
    set.spawn(future);
    set
}
