//! A repeat is answered for its first, shares its fate, and is remembered within bounds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Dedupe, DedupeSettings};
use crate::ack::{Account, Ack, AckMode, Answer, Code, Outcome, Receipt, Refusal};
use crate::event::{Batch, Draft};

const AGE: Duration = Duration::from_secs(60);

struct Bench {
    account: Arc<Account>,
    dedupe: Arc<Dedupe>,
}

/// What was published and what of it goes on.
struct Published {
    receipt: Receipt,
    /// The ids that go on.
    ids: Vec<String>,
    acks: Vec<Ack>,
}

impl Bench {
    fn new() -> Self {
        let dedupe = Dedupe::new(DedupeSettings { events: 3, age: AGE });
        Self { account: Arc::default(), dedupe: Arc::new(dedupe) }
    }

    /// Publishes events with these ids, all of which the publisher gave.
    fn publish(&self, ids: &[&str], mode: AckMode) -> Published {
        let named: Vec<u32> = (0..).take(ids.len()).collect();
        self.publish_from("/in", ids, &named, mode)
    }

    fn publish_from(&self, source: &str, ids: &[&str], named: &[u32], mode: AckMode) -> Published {
        let mut batch = Batch::default();
        for id in ids {
            batch.push(&Draft { id, source, ..Draft::default() });
        }
        let (receipt, acks) = self.account.admit(vec![1; ids.len()].into_iter(), mode).unwrap();
        let (rows, acks) = self.dedupe.sift(&batch, named, acks);
        let rows = rows.unwrap_or_else(|| (0..).take(ids.len()).collect());
        let ids = rows.iter().map(|row| ids[*row as usize].to_owned()).collect();
        Published { receipt, ids, acks }
    }

    /// Publishes one event and has it delivered; answers whether it was new.
    fn deliver(&self, id: &str) -> bool {
        let published = self.publish(&[id], AckMode::Settled);
        let is_new = !published.acks.is_empty();
        published.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
        is_new
    }
}

fn duplicate() -> Answer {
    Answer::Settled(Outcome::Duplicate, None)
}

#[test]
fn a_repeat_of_a_delivered_event_goes_no_further() {
    let bench = Bench::new();
    assert!(bench.deliver("a"));
    let again = bench.publish(&["b", "a", "c"], AckMode::Settled);
    assert_eq!(again.ids, ["b", "c"]);
    assert_eq!(again.receipt.answers(), [Answer::Pending, duplicate(), Answer::Pending]);
    again.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    let balance = bench.account.balance();
    assert_eq!((balance.delivered, balance.duplicate, balance.in_flight), (3, 1, 0));
}

#[test]
fn events_of_other_sources_and_ids_made_here_are_no_repeats() {
    let bench = Bench::new();
    assert!(bench.deliver("a"));
    let other = bench.publish_from("/other", &["a"], &[0], AckMode::Settled);
    assert_eq!(other.ids, ["a"]);
    let unnamed = bench.publish_from("/in", &["a", "b"], &[1], AckMode::Settled);
    assert_eq!(unnamed.ids, ["a", "b"]);
    for ack in other.acks.into_iter().chain(unnamed.acks) {
        ack.settle(Outcome::Delivered);
    }
}

#[test]
fn a_repeat_waits_for_the_verdict_on_its_first() {
    let bench = Bench::new();
    // The second is in the same request as its first.
    let first = bench.publish(&["a", "a"], AckMode::Settled);
    let repeat = bench.publish(&["a"], AckMode::Settled);
    assert_eq!((first.ids.len(), repeat.ids.len()), (1, 0));
    assert_eq!(repeat.receipt.answers(), [Answer::Pending]);
    first.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    assert_eq!(repeat.receipt.answers(), [duplicate()]);
    let delivered = Answer::Settled(Outcome::Delivered, None);
    assert_eq!(first.receipt.answers(), [delivered, duplicate()]);
}

#[test]
fn a_failed_event_fails_its_repeats_and_may_come_again() {
    let bench = Bench::new();
    let first = bench.publish(&["a"], AckMode::Settled);
    let repeat = bench.publish(&["a"], AckMode::Settled);
    let away = Refusal::new(Code::Unavailable, "the broker is away");
    first.acks.into_iter().for_each(|ack| ack.refuse(away.clone()));
    let refused = Answer::Settled(Outcome::Unavailable, Some(away));
    let refused = [refused];
    assert_eq!(first.receipt.answers(), refused);
    assert_eq!(repeat.receipt.answers(), refused);
    assert!(bench.deliver("a"));
    assert!(!bench.deliver("a"));
}

#[test]
fn an_event_lost_by_a_defect_may_come_again() {
    let bench = Bench::new();
    let first = bench.publish(&["a"], AckMode::Settled);
    let repeat = bench.publish(&["a"], AckMode::Settled);
    drop(first.acks);
    let answers = repeat.receipt.answers();
    assert!(matches!(answers[..], [Answer::Settled(Outcome::Unavailable, Some(_))]));
    assert!(bench.deliver("a"));
    assert_eq!(bench.account.balance().lost, 1);
}

#[test]
fn a_repeat_of_an_event_on_disk_is_a_duplicate() {
    let bench = Bench::new();
    let mut first = bench.publish(&["a"], AckMode::Settled);
    let repeat = bench.publish(&["a"], AckMode::Settled);
    first.acks.remove(0).settle(Outcome::Spooled);
    assert_eq!(repeat.receipt.answers(), [duplicate()]);
    assert!(!bench.deliver("a"));
}

#[test]
fn a_repeat_waits_no_longer_than_its_first_did() {
    let bench = Bench::new();
    let mut first = bench.publish(&["a"], AckMode::Routed);
    let early = bench.publish(&["a"], AckMode::Routed);
    first.acks[0].detach();
    let late = bench.publish(&["a"], AckMode::Routed);
    let patient = bench.publish(&["a"], AckMode::Settled);
    assert_eq!(early.receipt.answers(), [duplicate()]);
    assert_eq!(late.receipt.answers(), [duplicate()]);
    assert_eq!(patient.receipt.answers(), [Answer::Pending]);
    let no = Refusal::new(Code::Rejected, "no");
    first.acks.remove(0).refuse(no);
    let answers = patient.receipt.answers();
    assert!(matches!(answers[..], [Answer::Settled(Outcome::Rejected, Some(_))]));
    assert_eq!(bench.account.balance().rejected, 4);
}

#[test]
fn what_is_remembered_is_bounded_by_number() {
    let bench = Bench::new();
    for id in ["a", "b", "c"] {
        assert!(bench.deliver(id));
    }
    assert!(bench.deliver("d"));
    assert!(!bench.deliver("b"), "the last three are remembered");
    for id in ["e", "f", "g"] {
        assert!(bench.deliver(id));
    }
    assert!(bench.deliver("a"));
    assert!(bench.dedupe.stats().ids <= 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded_by_age() {
    let bench = Bench::new();
    assert!(bench.deliver("a"));
    tokio::time::advance(AGE).await;
    assert!(!bench.deliver("a"));
    tokio::time::advance(AGE).await;
    assert!(bench.deliver("a"));
    tokio::time::advance(AGE * 2).await;
    assert!(bench.deliver("a"));
}

#[test]
fn many_threads_deliver_each_event_once() {
    let bench = Bench::new();
    bench.dedupe.resize(DedupeSettings { events: 10_000, age: AGE });
    let delivered = std::thread::scope(|scope| {
        let publish = || (0..2_000).filter(|id| bench.deliver(&id.to_string())).count();
        let threads = [(); 4].map(|()| scope.spawn(publish));
        threads.map(|thread| thread.join().unwrap()).iter().sum::<usize>()
    });
    let balance = bench.account.balance();
    assert_eq!((delivered, balance.delivered, balance.in_flight), (2_000, 2_000, 0));
    assert_eq!((balance.duplicate, balance.lost), (6_000, 0));
    assert_eq!(bench.dedupe.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_packed_window_is_the_same_until_it_is_too_old() {
    let bench = Bench::new();
    for id in ["a", "b", "c", "d"] {
        assert!(bench.deliver(id));
    }
    let made = SystemTime::now();
    let bytes = bench.dedupe.pack(made);
    let settings = DedupeSettings { events: 3, age: AGE };
    let after = |pause: Duration| {
        let dedupe = Arc::new(Dedupe::unpack(&bytes, settings, made + pause)?);
        Some(Bench { account: Arc::default(), dedupe })
    };
    let soon = after(AGE / 2).expect("nothing is too old");
    assert!(["a", "b", "c", "d"].iter().all(|id| !soon.deliver(id)));
    assert!(soon.deliver("e"));
    // The generation of `d` is the older one now, and that of the others is forgotten.
    let later = after(AGE).expect("something is left");
    assert!(later.deliver("a") && !later.deliver("d"));
    assert!(after(AGE * 2).is_none(), "all of it is too old");

    // A clock that was set back keeps what there is.
    assert!(Dedupe::unpack(&bytes, settings, made - AGE).is_some());
    for length in 0..bytes.len() {
        assert!(Dedupe::unpack(&bytes[..length], settings, made).is_none(), "{length} bytes");
    }
    let mut other = bytes.clone();
    other[0] ^= 1;
    assert!(Dedupe::unpack(&other, settings, made).is_none());
}
