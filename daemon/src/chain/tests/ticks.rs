//! What a chain does when it is time to tick, with transforms written in Rust.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::{CAPACITY, publish, step, to_sink};
use crate::ack::{Account, Code, Limits, Outcome, Refusal};
use crate::chain::{Chain, Legacy, SinkLink, Step, Target};
use crate::component::{Rows, Transform, TransformError, Verdict, Verdicts};
use crate::edge::{Delivery, Inlet, Sender, edge};
use crate::event::{Batch, Fields, Texts};

const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);

/// A transform that keeps every event and emits what `0` answers when it is told the time.
struct Emitter<F>(F);

impl<F> Transform for Emitter<F>
where
    F: FnMut() -> Result<Rows, TransformError> + Send + 'static,
{
    fn transform(&mut self, batch: &Batch, _: &Fields<'_>) -> Result<Verdicts, TransformError> {
        Ok(Verdicts { verdicts: vec![Verdict::Keep; batch.len()], ..Verdicts::default() })
    }

    fn tick(&mut self, _: u64) -> Result<Rows, TransformError> {
        (self.0)()
    }
}

/// One row of the type `t`.
fn row() -> Rows {
    let dictionary = Texts { ends: vec![1], text: "t".to_owned() };
    Rows { dictionary, types: vec![0], ..Rows::default() }
}

fn emitter<F>(tick: F) -> Step
where
    F: FnMut() -> Result<Rows, TransformError> + Send + 'static,
{
    let step = step("emitter", super::OnError::Reject, to_sink(0), |_| unreachable!());
    Step { transform: Box::new(Emitter(tick)), tick: Some(TICK), ..step }
}

/// A chain of one step at work, with its ends in hand.
struct Rig {
    account: Arc<Account>,
    intake: Sender,
    out: Inlet,
    legacy: Arc<Legacy>,
    thread: thread::JoinHandle<()>,
}

impl Rig {
    fn start(step: Step, account: Arc<Account>, before: Option<&Legacy>) -> Self {
        let (sender, out) = edge(CAPACITY);
        let sinks = vec![SinkLink { sender, is_durable: false }];
        let entries = vec![vec![Target::Step(0)]];
        let mut chain = Chain::new(entries, vec![step], sinks, Arc::clone(&account));
        if let Some(before) = before {
            chain.inherit(before);
        }
        let (intake, mut inlet) = edge(CAPACITY);
        let legacy = Arc::new(Legacy::default());
        let left = Arc::clone(&legacy);
        let thread = thread::spawn(move || chain.run_blocking(&mut inlet, &left));
        Self { account, intake, out, legacy, thread }
    }

    /// The next delivery at the sink.
    fn next(&mut self) -> Delivery {
        eventually(|| self.out.try_recv())
    }

    fn stop(self) -> (Inlet, Arc<Legacy>) {
        self.intake.close();
        self.thread.join().unwrap();
        (self.out, self.legacy)
    }
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "it does not come");
        thread::sleep(Duration::from_millis(1));
    }
}

fn account() -> Arc<Account> {
    Arc::new(Account::new(Limits::default()))
}

fn deliver(delivery: Delivery) {
    delivery.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
}

fn give_back(delivery: Delivery) {
    delivery.refuse(&Refusal::new(Code::Unavailable, "the sink is away"));
}

fn id(delivery: &Delivery) -> String {
    delivery.batch.event(0).id().to_owned()
}

#[test]
fn what_a_tick_emits_is_a_new_event_in_the_books() {
    let mut rig = Rig::start(emitter(|| Ok(row())), account(), None);
    let first = rig.next();
    let event = first.batch.event(0);
    assert_eq!((event.source(), event.event_type()), ("/pipelines/test/emitter", "t"));
    assert_eq!((event.id().len(), event.data()), (26, &b""[..]));
    assert_eq!((event.time(), event.subject()), (event.arrival(), None));
    let balance = rig.account.balance();
    assert_eq!((balance.received, balance.in_flight), (1, 1));
    deliver(first);
    deliver(rig.next());
    let account = Arc::clone(&rig.account);
    let (mut out, _legacy) = rig.stop();
    while let Some(delivery) = out.try_recv() {
        deliver(delivery);
    }
    let balance = account.balance();
    assert_eq!((balance.received, balance.in_flight, balance.lost), (balance.delivered, 0, 0));
}

#[test]
fn events_pass_between_ticks_and_nothing_is_told_after_the_end() {
    let ticks = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&ticks);
    let tick = move || {
        told.fetch_add(1, Ordering::Relaxed);
        Ok(Rows::default())
    };
    let mut rig = Rig::start(emitter(tick), account(), None);
    eventually(|| (ticks.load(Ordering::Relaxed) > 2).then_some(()));
    let (_receipt, delivery) = publish(&rig.account, &["a"]);
    rig.intake.send(delivery).unwrap();
    deliver(rig.next());
    rig.stop();
    let told = ticks.load(Ordering::Relaxed);
    thread::sleep(TICK * 3);
    assert_eq!(ticks.load(Ordering::Relaxed), told);
}

#[test]
fn what_comes_back_is_offered_again_before_the_next_tick() {
    let ticks = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&ticks);
    let tick = move || {
        told.fetch_add(1, Ordering::Relaxed);
        Ok(row())
    };
    let mut rig = Rig::start(emitter(tick), account(), None);
    let first = rig.next();
    let known = id(&first);
    // Not settled: the step is not told the time.
    thread::sleep(TICK * 3);
    assert_eq!(ticks.load(Ordering::Relaxed), 1);
    give_back(first);
    let again = rig.next();
    assert_eq!((id(&again), ticks.load(Ordering::Relaxed)), (known.clone(), 1));
    deliver(again);
    let second = rig.next();
    assert_ne!(id(&second), known);
    assert_eq!(ticks.load(Ordering::Relaxed), 2);
    deliver(second);
    rig.stop();
}

#[test]
fn what_the_books_do_not_take_waits_for_the_next_tick() {
    let account = Arc::new(Account::new(Limits { events_max: 1, bytes_max: 1 << 20 }));
    let (_receipt, other) = publish(&account, &["a"]);
    let mut emitted = false;
    let tick = move || {
        assert!(!std::mem::replace(&mut emitted, true), "the first row was not taken");
        Ok(row())
    };
    let mut rig = Rig::start(emitter(tick), account, None);
    thread::sleep(TICK * 3);
    assert!(rig.out.try_recv().is_none());
    deliver(other);
    let late = rig.next();
    deliver(late);
    rig.stop();
}

#[test]
fn the_next_chain_takes_over_what_is_not_settled() {
    let books = account();
    let mut once = Some(row());
    let tick = move || Ok(once.take().unwrap_or_default());
    let mut old = Rig::start(emitter(tick), Arc::clone(&books), None);
    let first = old.next();
    let known = id(&first);
    old.legacy.promise();
    let (_out, legacy) = old.stop();
    give_back(first);
    legacy.close();
    let mut new = Rig::start(emitter(|| Ok(Rows::default())), Arc::clone(&books), Some(&legacy));
    let again = new.next();
    assert_eq!(id(&again), known);
    deliver(again);
    new.stop();
    assert_eq!((books.balance().received, books.balance().delivered), (2, 1));
}

#[test]
fn a_tick_that_keeps_failing_is_quarantined_and_tried_again() {
    let ticks = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&ticks);
    let tick = move || match told.fetch_add(1, Ordering::Relaxed) {
        0..5 => Err(TransformError { reason: "trap", message: "no".to_owned() }),
        5 => panic!("a panic is a failure too"),
        _ => Ok(Rows::default()),
    };
    let step = emitter(tick);
    let stats = Arc::clone(&step.stats);
    let rig = Rig::start(step, account(), None);
    eventually(|| (stats.breaker().name() == "open").then_some(()));
    assert_eq!(ticks.load(Ordering::Relaxed), 5);
    eventually(|| (ticks.load(Ordering::Relaxed) > 7).then_some(()));
    eventually(|| (stats.breaker().name() == "closed").then_some(()));
    assert_eq!(stats.failed_runs.load(Ordering::Relaxed), 6);
    rig.stop();
}
