//! What a chain does with verdicts, routes and failures, with transforms written in Rust.

mod ticks;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir_fields::Path;

use super::{BreakerState, Chain, Links, OnError, SinkLink, Step, StepStats, Target};
use crate::ack::{Account, Ack, AckMode, Answer, Code, Limits, Outcome, Receipt};
use crate::component::{
    ComponentId, Failure, FailureKind, Patches, PipelineName, Rows, Transform, TransformError,
    Verdict, Verdicts,
};
use crate::edge::{Capacity, Delivery, Inlet, edge};
use crate::event::{Batch, Column, Draft, Fields, NONE};

const CAPACITY: Capacity = Capacity { events: 10_000, bytes: 1 << 20 };

/// A transform that judges with a function.
struct Judge<F>(F);

impl<F> Transform for Judge<F>
where
    F: FnMut(&Batch) -> Result<Verdicts, TransformError> + Send + 'static,
{
    fn transform(&mut self, batch: &Batch, _: &Fields<'_>) -> Result<Verdicts, TransformError> {
        (self.0)(batch)
    }
}

fn step<F>(name: &str, on_error: OnError, links: Links, judge: F) -> Step
where
    F: FnMut(&Batch) -> Result<Verdicts, TransformError> + Send + 'static,
{
    let pipeline = PipelineName::new("test").unwrap();
    Step {
        id: ComponentId::new(&pipeline, name).unwrap(),
        plugin: "judge".to_owned(),
        transform: Box::new(Judge(judge)),
        tick: None,
        on_error,
        rescue: None,
        links,
        stats: Arc::new(StepStats::default()),
    }
}

fn to_sink(sink: usize) -> Links {
    Links { default: vec![Target::Sink(sink)], routes: Vec::new() }
}

/// Judges each event by its data.
fn each(judge: impl Fn(&[u8]) -> Verdict) -> impl Fn(&Batch) -> Result<Verdicts, TransformError> {
    move |batch| {
        let verdicts: Vec<_> = batch.iter().map(|event| judge(event.data())).collect();
        let failed = verdicts.iter().enumerate().filter(|(_, verdict)| **verdict == Verdict::Fail);
        let failures = failed.map(|(event, _)| Failure {
            event: event.try_into().unwrap(),
            kind: FailureKind::Invalid,
            message: "no good".to_owned(),
        });
        Ok(Verdicts { failures: failures.collect(), verdicts, ..Verdicts::default() })
    }
}

fn chain(steps: Vec<Step>, sinks: usize) -> (Chain, Vec<Inlet>) {
    let (senders, inlets): (Vec<_>, Vec<_>) = (0..sinks).map(|_| edge(CAPACITY)).unzip();
    let sinks = senders.into_iter().map(|sender| SinkLink { sender, is_durable: false }).collect();
    let account = Arc::new(Account::new(Limits::default()));
    (Chain::new(vec![vec![Target::Step(0)]], steps, sinks, account), inlets)
}

fn publish(account: &Arc<Account>, data: &[&str]) -> (Receipt, Delivery) {
    let mut batch = Batch::default();
    for (index, data) in data.iter().enumerate() {
        let id = index.to_string();
        batch.push(&Draft {
            id: &id,
            source: "/test",
            event_type: "t",
            data: data.as_bytes(),
            extensions: &[("tenant", "a")],
            ..Draft::default()
        });
    }
    let sizes = data.iter().map(|data| data.len());
    let (receipt, acks) = account.admit(sizes, AckMode::Settled).unwrap();
    (receipt, Delivery { batch: Arc::new(batch), acks, entry: 0 })
}

/// Takes everything that waits, settles it as delivered, answers the data.
fn take(inlet: &mut Inlet) -> Vec<String> {
    let mut taken = Vec::new();
    while let Some(delivery) = inlet.try_recv() {
        let data = delivery.batch.iter().map(|event| event.data().to_vec());
        taken.extend(data.map(|data| String::from_utf8(data).unwrap()));
        delivery.acks.into_iter().for_each(|ack: Ack| ack.settle(Outcome::Delivered));
    }
    taken
}

fn outcomes(receipt: &Receipt) -> Vec<(Outcome, Option<Code>)> {
    let settled = |answer| match answer {
        Answer::Settled(outcome, refusal) => (outcome, refusal.map(|refusal| refusal.code)),
        other => panic!("not settled: {other:?}"),
    };
    receipt.answers().into_iter().map(settled).collect()
}

const DELIVERED: (Outcome, Option<Code>) = (Outcome::Delivered, None);
const FILTERED: (Outcome, Option<Code>) = (Outcome::Filtered, None);
const REJECTED: (Outcome, Option<Code>) = (Outcome::Rejected, Some(Code::Rejected));

#[test]
fn kept_batches_are_not_copied() {
    let account = Arc::new(Account::new(Limits::default()));
    let (mut chain, mut inlets) =
        chain(vec![step("keep", OnError::Reject, to_sink(0), each(|_| Verdict::Keep))], 1);
    let (_receipt, delivery) = publish(&account, &["a", "b"]);
    let batch = Arc::clone(&delivery.batch);
    chain.process(delivery);
    let out = inlets[0].try_recv().unwrap();
    assert!(Arc::ptr_eq(&batch, &out.batch));
    out.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    assert_eq!(account.balance().delivered, 2);
}

#[test]
fn verdicts_decide_what_passes_and_what_publishers_hear() {
    let account = Arc::new(Account::new(Limits::default()));
    let judge = each(|data| match data {
        b"drop" => Verdict::Drop,
        b"fail" => Verdict::Fail,
        _ => Verdict::Keep,
    });
    let (mut chain, mut inlets) = chain(vec![step("j", OnError::Reject, to_sink(0), judge)], 1);
    let (receipt, delivery) = publish(&account, &["a", "drop", "b", "fail", "c"]);
    chain.process(delivery);
    assert_eq!(take(&mut inlets[0]), ["a", "b", "c"]);
    let expected = [DELIVERED, FILTERED, DELIVERED, REJECTED, DELIVERED];
    assert_eq!(outcomes(&receipt), expected);
    assert_eq!(account.balance().in_flight, 0);
}

#[test]
fn on_error_pass_lets_failed_events_through() {
    let account = Arc::new(Account::new(Limits::default()));
    let judge = each(|_| Verdict::Fail);
    let (mut chain, mut inlets) = chain(vec![step("j", OnError::Pass, to_sink(0), judge)], 1);
    let (receipt, delivery) = publish(&account, &["a"]);
    chain.process(delivery);
    assert_eq!(take(&mut inlets[0]), ["a"]);
    assert_eq!(outcomes(&receipt), [DELIVERED]);
}

#[test]
fn emitted_rows_replace_their_origin_in_order_and_by_route() {
    let account = Arc::new(Account::new(Limits::default()));
    let split = |batch: &Batch| {
        let mut rows = Rows::default();
        rows.dictionary.push("errors");
        let mut verdicts = Vec::new();
        for (index, event) in batch.iter().enumerate() {
            let text = std::str::from_utf8(event.data()).unwrap();
            if !text.contains(',') {
                verdicts.push(Verdict::Keep);
                continue;
            }
            verdicts.push(Verdict::Emit);
            for part in text.split(',') {
                rows.origins.push(index.try_into().unwrap());
                rows.data.push(part.as_bytes());
                rows.routes.push(if part == "bad" { 0 } else { NONE });
            }
        }
        Ok(Verdicts { verdicts, emitted: rows, ..Verdicts::default() })
    };
    let mut links = to_sink(0);
    links.routes.push(("errors".to_owned(), vec![Target::Sink(1)]));
    let (mut chain, mut inlets) = chain(vec![step("split", OnError::Reject, links, split)], 2);
    let (receipt, delivery) = publish(&account, &["a", "b,bad,c", "d"]);
    chain.process(delivery);
    assert_eq!(take(&mut inlets[0]), ["a", "b", "c", "d"]);
    let routed = inlets[1].try_recv().unwrap();
    assert_eq!(routed.batch.event(0).data(), b"bad");
    assert_eq!(routed.batch.event(0).extension("tenant"), Some("a"));
    assert_eq!(routed.batch.event(0).id(), "1");
    routed.acks.into_iter().for_each(|ack| ack.settle(Outcome::Unavailable));
    let worst = (Outcome::Unavailable, None);
    assert_eq!(outcomes(&receipt), [DELIVERED, worst, DELIVERED]);
}

/// Sets `seen` to what is in `user.id`, of all events that are not `keep`.
struct Marker(Vec<Path>);

impl Transform for Marker {
    fn reads(&self) -> &[Path] {
        &self.0
    }

    fn transform(
        &mut self,
        batch: &Batch,
        fields: &Fields<'_>,
    ) -> Result<Verdicts, TransformError> {
        if batch.iter().any(|event| event.data() == b"poison") {
            return Err(TransformError { reason: "trap", message: "unreachable".to_owned() });
        }
        let mut ids = Column::default();
        fields.fill(0, batch, &mut ids);
        let mut patches = Patches { names: vec!["seen".parse().unwrap()], ..Patches::default() };
        let mut verdicts = Vec::new();
        for (row, id) in ids.values.iter().enumerate() {
            if batch.data.get(row) == b"keep" {
                verdicts.push(Verdict::Keep);
                continue;
            }
            verdicts.push(Verdict::Patch);
            patches.origins.push(row.try_into().unwrap());
            patches.name_of.push(0);
            patches.kinds.push(5);
            patches.values.push(id);
        }
        Ok(Verdicts { verdicts, patches, ..Verdicts::default() })
    }
}

fn marker(reads: &str, links: Links) -> Step {
    let judge = |_: &Batch| Ok(Verdicts::default());
    let step = step("marker", OnError::Reject, links, judge);
    Step { transform: Box::new(Marker(vec![reads.parse().unwrap()])), ..step }
}

#[test]
fn patches_change_the_text_and_later_steps_see_it() {
    let account = Arc::new(Account::new(Limits::default()));
    let to_next = Links { default: vec![Target::Step(1)], routes: Vec::new() };
    let drops = each(|data| if data.starts_with(b"[") { Verdict::Drop } else { Verdict::Keep });
    let last = Links { default: vec![Target::Step(2)], routes: Vec::new() };
    let steps = vec![
        step("drops", OnError::Reject, to_next, drops),
        marker("user.id", last),
        marker("seen", to_sink(0)),
    ];
    let (mut chain, mut inlets) = chain(steps, 1);
    let data = ["[]", r#"{ "user":{"id":"a"} }"#, "keep", "poison", "{", r#"{"seen":7}"#];
    // From the second time on it is known what is changed, and found with what is read.
    for _ in 0..3 {
        let (receipt, delivery) = publish(&account, &data);
        chain.process(delivery);
        let passed = take(&mut inlets[0]);
        assert_eq!(passed, [r#"{ "user":{"id":"a"},"seen":"a" }"#, "keep", r#"{"seen":""}"#]);
        let expected = [FILTERED, DELIVERED, DELIVERED, REJECTED, REJECTED, DELIVERED];
        assert_eq!(outcomes(&receipt), expected);
    }
}

#[test]
fn a_route_that_nobody_takes_drops_on_purpose() {
    let account = Arc::new(Account::new(Limits::default()));
    let judge = each(|_| Verdict::Keep);
    let (mut chain, _inlets) = chain(vec![step("j", OnError::Reject, Links::default(), judge)], 0);
    let (receipt, delivery) = publish(&account, &["a"]);
    chain.process(delivery);
    assert_eq!(outcomes(&receipt), [FILTERED]);
}

#[test]
fn a_trap_costs_only_the_event_that_caused_it() {
    let account = Arc::new(Account::new(Limits::default()));
    let trap = |batch: &Batch| {
        if batch.iter().any(|event| event.data() == b"poison") {
            return Err(TransformError { reason: "trap", message: "unreachable".to_owned() });
        }
        each(|_| Verdict::Keep)(batch)
    };
    let step = step("trap", OnError::Reject, to_sink(0), trap);
    let stats = Arc::clone(&step.stats);
    let (mut chain, mut inlets) = chain(vec![step], 1);
    let mut data: Vec<String> = (0..256).map(|index| index.to_string()).collect();
    data[137] = "poison".to_owned();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let (receipt, delivery) = publish(&account, &data);
    chain.process(delivery);
    let passed = take(&mut inlets[0]);
    let expected: Vec<&str> = data.iter().copied().filter(|data| *data != "poison").collect();
    assert_eq!(passed, expected, "all others pass, in order");
    assert_eq!(outcomes(&receipt)[137], REJECTED);
    assert_eq!(stats.failed_runs.load(Ordering::Relaxed), 9);
}

#[test]
fn a_transform_that_always_traps_gives_up_within_bounds() {
    let account = Arc::new(Account::new(Limits::default()));
    let trap =
        |_: &Batch| Err(TransformError { reason: "timeout", message: "too slow".to_owned() });
    let step = step("trap", OnError::Reject, to_sink(0), trap);
    let stats = Arc::clone(&step.stats);
    let (mut chain, mut inlets) = chain(vec![step], 1);
    let data = vec!["x"; 256];
    let (receipt, delivery) = publish(&account, &data);
    chain.process(delivery);
    assert!(take(&mut inlets[0]).is_empty());
    assert!(outcomes(&receipt).iter().all(|outcome| *outcome == REJECTED));
    let runs = stats.failed_runs.load(Ordering::Relaxed);
    assert!(runs < 64, "{runs} runs");
}

#[test]
fn a_panicking_transform_rejects_and_the_chain_goes_on() {
    let account = Arc::new(Account::new(Limits::default()));
    let judge = |batch: &Batch| {
        assert!(batch.event(0).data() != b"boom", "boom");
        each(|_| Verdict::Keep)(batch)
    };
    let (mut chain, mut inlets) = chain(vec![step("j", OnError::Reject, to_sink(0), judge)], 1);
    let (receipt, delivery) = publish(&account, &["boom"]);
    chain.process(delivery);
    assert_eq!(outcomes(&receipt), [REJECTED]);
    let (receipt, delivery) = publish(&account, &["fine"]);
    chain.process(delivery);
    assert_eq!(take(&mut inlets[0]), ["fine"]);
    assert_eq!(outcomes(&receipt), [DELIVERED]);
}

#[test]
fn every_sink_gets_every_event_and_the_worst_outcome_wins() {
    let account = Arc::new(Account::new(Limits::default()));
    let links = Links { default: vec![Target::Sink(0), Target::Sink(1)], routes: Vec::new() };
    let judge = each(|_| Verdict::Keep);
    let (mut chain, mut inlets) = chain(vec![step("j", OnError::Reject, links, judge)], 2);
    let (receipt, delivery) = publish(&account, &["a"]);
    chain.process(delivery);
    assert_eq!(take(&mut inlets[0]), ["a"]);
    assert_eq!(receipt.answers(), [Answer::Pending]);
    let other = inlets[1].try_recv().unwrap();
    other.acks.into_iter().for_each(|ack| ack.settle(Outcome::Rejected));
    assert_eq!(outcomes(&receipt), [(Outcome::Rejected, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_keeps_failing_is_left_alone_and_tried_again() {
    let account = Arc::new(Account::new(Limits::default()));
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    let judge = move |batch: &Batch| {
        seen.fetch_add(1, Ordering::Relaxed);
        if batch.iter().any(|event| event.data() == b"poison") {
            return Err(TransformError { reason: "trap", message: "unreachable".to_owned() });
        }
        Ok(Verdicts { verdicts: vec![Verdict::Keep; batch.len()], ..Verdicts::default() })
    };
    let (mut chain, _inlets) = chain(vec![step("a", OnError::Reject, to_sink(0), judge)], 1);
    let stats = Arc::clone(&chain.steps[0].stats);
    let mut feed = |data: &[&str]| {
        let before = runs.load(Ordering::Relaxed);
        let (_receipt, delivery) = publish(&account, data);
        chain.process(delivery);
        runs.load(Ordering::Relaxed) - before
    };
    // One poison event among others costs itself alone, however often it comes.
    for _ in 0..20 {
        feed(&["poison", "b", "c"]);
    }
    assert_eq!(stats.breaker(), BreakerState::Closed);
    tokio::time::advance(Duration::from_secs(20)).await;
    for _ in 0..5 {
        feed(&["poison"]);
    }
    assert_eq!(stats.breaker(), BreakerState::Open);
    assert_eq!(feed(&["b", "c"]), 0, "a quarantined plugin does not run");
    assert_eq!(stats.quarantined.load(Ordering::Relaxed), 2);
    // A trial that fails doubles the pause, one that works ends the quarantine.
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(feed(&["poison"]), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(feed(&["b"]), 0, "the second pause is longer");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(feed(&["b"]), 1);
    assert_eq!(stats.breaker(), BreakerState::Closed);
}
