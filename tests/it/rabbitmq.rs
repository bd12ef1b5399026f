//! The RabbitMQ sink against a real broker: what is delivered is in the queue, whatever happens.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use weir::ack::{Answer, Code, Outcome, Receipt};
use weir::event::{Batch, Draft};
use weir_harness::broker::{Taken, Vhost};
use weir_harness::rig::Rig;
use weir_harness::{eventually, within};

use crate::brokers::{quiet, rough};

pub(crate) fn sink(settings: &str) -> Rig {
    Rig::start(&Arc::default(), "rabbitmq", settings).expect("good settings")
}

/// A sink on `vhost` that declares the exchange `events` and the queue `all`.
pub(crate) fn declaring(vhost: &Vhost, more: &str) -> String {
    let url = &vhost.url;
    format!(
        "url = \"{url}\"\nexchange = {{ name = \"events\", declare = true }}\n\
         queue = {{ name = \"all\", bind = [\"shop.#\"] }}\nrouting_key = \"shop.{{{{type}}}}\"\n{more}"
    )
}

pub(crate) fn event<'a>(id: &'a str, event_type: &'a str) -> Draft<'a> {
    Draft {
        id,
        source: "/in/clicks",
        event_type,
        content_type: Some("application/json"),
        time: 1_764_000_000_000_000,
        data: br#"{"n":1}"#,
        ..Draft::default()
    }
}

/// Publishes events with the ids `from..to` in batches of 50.
pub(crate) fn publish(
    rig: &Rig,
    from: usize,
    to: usize,
    event_type: impl Fn(usize) -> &'static str,
) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for start in (from..to).step_by(50) {
        let mut batch = Batch::default();
        for number in start..to.min(start + 50) {
            batch.push(&event(&number.to_string(), event_type(number)));
        }
        receipts.push(rig.publish(batch).expect("there is room"));
    }
    receipts
}

pub(crate) async fn answers(receipts: &[Receipt]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for receipt in receipts {
        within("a verdict", receipt.wait()).await;
        answers.extend(receipt.answers());
    }
    answers
}

/// The code that an event was refused with, or `None` if it was delivered.
pub(crate) fn code(answer: &Answer) -> Option<Code> {
    match answer {
        Answer::Settled(Outcome::Delivered, None) => None,
        Answer::Settled(_, Some(refusal)) => Some(refusal.code),
        other => panic!("no verdict: {other:?}"),
    }
}

pub(crate) async fn code_of(receipt: &Receipt) -> Option<Code> {
    code(&answers(std::slice::from_ref(receipt)).await[0])
}

/// Every delivered event is in the queue, and at most `repeats_max` are there twice.
pub(crate) fn assert_kept(answers: &[Answer], taken: &[Taken], repeats_max: usize) {
    let ids: HashSet<_> = taken.iter().map(|message| message.id().to_owned()).collect();
    let delivered = answers.iter().enumerate().filter(|(_, answer)| code(answer).is_none());
    let lost: Vec<_> = delivered.filter(|(number, _)| !ids.contains(&number.to_string())).collect();
    assert!(lost.is_empty(), "{} acknowledged events are not in the queue", lost.len());
    let repeats = taken.len() - ids.len();
    assert!(repeats <= repeats_max, "{repeats} repeats, at most {repeats_max} allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_arrive_once_with_their_attributes() {
    let Some((_, vhost)) = quiet("once").await else { return };
    let more = "[headers]\ntenant = '{{ext.tenant | \"none\"}}'";
    let rig = sink(&declaring(&vhost, more));
    let first = Draft {
        subject: Some("cart 7"),
        extensions: &[("tenant", "acme"), ("traceparent", "00-1-2-01")],
        ..event("first", "cart.add")
    };
    let receipt = rig.publish_one(&first);
    assert_eq!(code_of(&receipt).await, None);
    let receipts = publish(&rig, 0, 10_000, |number| ["cart.add", "cart.remove"][number % 2]);
    assert!(answers(&receipts).await.iter().all(|answer| code(answer).is_none()));
    assert_eq!(rig.counter("confirmed"), 10_001);
    rig.finish().await;

    let taken = vhost.drain("all").await;
    assert_eq!(taken.len(), 10_001);
    assert_kept(&[], &taken, 0);
    let first = &taken[0];
    assert_eq!((first.id(), first.routing_key.as_str()), ("first", "shop.cart.add"));
    assert_eq!(first.data, br#"{"n":1}"#);
    assert_eq!(*first.properties.delivery_mode(), Some(2));
    assert_eq!(*first.properties.timestamp(), Some(1_764_000_000));
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
    assert_eq!(text(first.properties.content_type()).as_deref(), Some("application/json"));
    assert_eq!(text(first.properties.kind()).as_deref(), Some("cart.add"));
    for (name, value) in [
        ("cloudEvents:id", "first"),
        ("cloudEvents:source", "/in/clicks"),
        ("cloudEvents:type", "cart.add"),
        ("cloudEvents:subject", "cart 7"),
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:time", "2025-11-24T16:00:00.000Z"),
        ("cloudEvents:traceparent", "00-1-2-01"),
        ("tenant", "acme"),
    ] {
        assert_eq!(first.header(name).as_deref(), Some(value), "{name}");
    }
    for (number, message) in taken[1..].iter().enumerate() {
        assert_eq!(message.id(), number.to_string(), "in order");
        assert_eq!(message.routing_key, ["shop.cart.add", "shop.cart.remove"][number % 2]);
        assert_eq!(message.header("tenant").as_deref(), Some("none"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing_acknowledged() {
    let Some((broker, vhost)) = rough("killed").await else { return };
    let rig = sink(&declaring(&vhost, "patience = \"1m\"\nstall_timeout = \"3s\""));
    rig.running().await;
    broker.remember().await;
    let mut receipts = publish(&rig, 0, 5_000, |_| "good");
    eventually("some are confirmed", async || (rig.counter("confirmed") > 500).then_some(())).await;
    broker.kill9();
    receipts.extend(publish(&rig, 5_000, 10_000, |_| "good"));
    broker.start().await;
    let verdicts = answers(&receipts).await;
    assert!(verdicts.iter().all(|answer| code(answer).is_none()));
    assert!(rig.counter("reconnects") >= 1);
    rig.finish().await;
    assert_kept(&verdicts, &vhost.again().await.drain("all").await, 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_is_noticed_and_loses_nothing() {
    let Some((broker, vhost)) = rough("frozen").await else { return };
    let rig = sink(&declaring(&vhost, "patience = \"1m\"\nstall_timeout = \"1s\""));
    rig.running().await;
    let mut receipts = publish(&rig, 0, 2_000, |_| "good");
    broker.freeze();
    receipts.extend(publish(&rig, 2_000, 4_000, |_| "good"));
    eventually("the stall is noticed", async || (rig.counter("stalls") > 0).then_some(())).await;
    sleep(Duration::from_secs(1)).await;
    broker.thaw();
    let verdicts = answers(&receipts).await;
    assert!(verdicts.iter().all(|answer| code(answer).is_none()));
    rig.finish().await;
    assert_kept(&verdicts, &vhost.again().await.drain("all").await, 1024 * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_stops_the_flow_but_not_the_connection() {
    let Some((broker, vhost)) = rough("alarm").await else { return };
    let rig = sink(&declaring(&vhost, "patience = \"2s\"\nstall_timeout = \"1s\""));
    rig.running().await;
    broker.set_memory_alarm(true).await;
    // The broker tells a connection only once it publishes.
    let sent = rig.publish_one(&event("sent", "good"));
    rig.degraded("blocked").await;
    let held = rig.publish_one(&event("held", "good"));
    assert_eq!(code_of(&held).await, Some(Code::Unavailable));
    assert_eq!(code_of(&sent).await, Some(Code::Timeout));
    let late = rig.publish_one(&event("late", "good"));
    let at_once = timeout(Duration::from_millis(500), code_of(&late)).await;
    assert_eq!(at_once, Ok(Some(Code::Unavailable)));
    broker.set_memory_alarm(false).await;
    rig.running().await;
    assert_eq!(code_of(&rig.publish_one(&event("after", "good"))).await, None);
    assert_eq!((rig.counter("reconnects"), rig.counter("stalls")), (0, 0));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_closes_lose_nothing() {
    let Some((broker, vhost)) = rough("forced").await else { return };
    let rig = sink(&declaring(&vhost, "patience = \"1m\""));
    rig.running().await;
    let mut receipts = Vec::new();
    for round in 0..3 {
        receipts.extend(publish(&rig, round * 2_000, (round + 1) * 2_000, |_| "good"));
        broker.rabbitmqctl(&["close_all_connections", "--vhost", "forced", "test"]).await;
        let reconnected = async || (rig.counter("reconnects") as usize > round).then_some(());
        eventually("it reconnects", reconnected).await;
    }
    let verdicts = answers(&receipts).await;
    assert!(verdicts.iter().all(|answer| code(answer).is_none()));
    rig.finish().await;
    assert_kept(&verdicts, &vhost.again().await.drain("all").await, 3 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_makes_publishers_try_again() {
    let Some((broker, vhost)) = rough("away").await else { return };
    broker.stop_app().await;
    let rig = sink(&declaring(&vhost, "patience = \"500ms\""));
    let begun = Instant::now();
    assert_eq!(code_of(&rig.publish_one(&event("1", "good"))).await, Some(Code::Unavailable));
    assert!(begun.elapsed() < Duration::from_secs(5), "patience is short");
    let begun = Instant::now();
    assert_eq!(code_of(&rig.publish_one(&event("2", "good"))).await, Some(Code::Unavailable));
    assert!(begun.elapsed() < Duration::from_millis(400), "patience was over already");
    broker.start_app().await;
    rig.running().await;
    assert_eq!(code_of(&rig.publish_one(&event("3", "good"))).await, None);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_input_without_a_broker_comes_soon() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let settings =
        format!("url = \"amqp://127.0.0.1:{port}\"\nqueue = \"q\"\npatience = \"300ms\"");
    let rig = sink(&settings);
    let receipt = rig.publish_one(&event("1", "good"));
    let balance = rig.finish().await;
    assert_eq!(balance.unavailable, 1);
    assert_eq!(code_of(&receipt).await, Some(Code::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_logins_show_and_are_tried_slowly() {
    let Some((_, vhost)) = quiet("login").await else { return };
    let url = vhost.url.replace("guest:guest", "guest:s3cret");
    let rig = sink(&format!("url = \"{url}\"\nqueue = \"q\"\npatience = \"100ms\""));
    rig.degraded("misconfigured").await;
    let said = format!("{:?}", rig.health.snapshot());
    assert!(said.contains("403") && !said.contains("s3cret"), "{said}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_passed_over() {
    let Some((_, vhost)) = quiet("hosts").await else { return };
    let hosts = format!("hosts = [\"amqp://127.0.0.1:1/hosts\", \"{}\"]", vhost.url);
    let rig = sink(&format!("{hosts}\nqueue = {{ name = \"q\" }}"));
    assert_eq!(code_of(&rig.publish_one(&event("1", "good"))).await, None);
    rig.finish().await;
    let taken = vhost.drain("q").await;
    assert_eq!(taken[0].routing_key, "q");
}

/// Threads of this process with lapin's name, by the test that asks.
fn lapin_threads() -> HashMap<String, usize> {
    let mut names = HashMap::new();
    for task in fs::read_dir("/proc/self/task").expect("a process has threads").flatten() {
        if let Ok(name) = fs::read_to_string(task.path().join("comm")) {
            *names.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_handshakes_leave_no_threads() {
    // Accepts and hangs up in the middle of the handshake; each attempt starts one thread.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let hosts: Vec<_> = (0..20).map(|_| format!("\"amqp://127.0.0.1:{port}\"")).collect();
    let hosts = hosts.join(", ");
    let rig = sink(&format!("hosts = [{hosts}]\nqueue = \"q\"\npatience = \"100ms\""));
    for _ in 0..20 {
        let accepted = within("an attempt", listener.accept()).await.expect("a connection");
        drop(accepted);
    }
    rig.finish().await;
    drop(listener);
    // Other tests have connections of their own, all of which end with their tests or stay few.
    let few = async || {
        let count = lapin_threads().get("lapin-io-loop").copied().unwrap_or_default();
        (count < 20).then_some(())
    };
    eventually("lapin's threads end", few).await;
}
