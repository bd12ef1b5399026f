//! Settings, windows, patience and messages, without a broker.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::RabbitMq;
use super::held::Held;
use super::message::sequence;
use super::window::Window;
use crate::ack::{Account, Ack, AckMode, Answer, Code, Outcome, Receipt, Refusal};
use crate::component::{
    BuildContext, BuildError, ComponentId, Host, PipelineName, Settings, Sink, Table,
};
use crate::edge::{Capacity, Delivery, Sender, edge};
use crate::event::{Batch, Draft};

fn build(settings: &'static str) -> Result<RabbitMq, BuildError> {
    build_on(&Arc::default(), settings)
}

fn build_on(host: &Arc<Host>, settings: &'static str) -> Result<RabbitMq, BuildError> {
    let pipeline = PipelineName::new("shop").unwrap();
    let id = ComponentId::new(&pipeline, "rabbit").unwrap();
    let cx = BuildContext::for_sink(&id, host);
    let config = Settings::new(Table::parse(settings).0).read();
    RabbitMq::build(config.map_err(|faults| faults[0].clone())?, &cx)
}

/// The code, the words and the place of what is wrong with `settings`.
fn fault(settings: &'static str) -> (&'static str, String, &'static str) {
    let error = build(settings).unwrap_err();
    let place = error.span.map_or("", |span| &settings[span]);
    (error.code, error.message, place)
}

#[test]
fn settings_are_checked_with_a_finger_on_the_spot() {
    let (code, message, place) = fault("url = 'amqp://h/'\nqueue = 'q'");
    assert_eq!((code, place), ("W0311", "'amqp://h/'"));
    assert!(message.contains("empty name"), "{message}");
    for (settings, code) in [
        ("queue = 'q'", "W0313"),
        ("url = 'amqp://h'\nhosts = ['amqp://i']\nqueue = 'q'", "W0313"),
        ("url = 'http://h'\nqueue = 'q'", "W0310"),
        ("url = 'rabbit'\nqueue = 'q'", "W0310"),
        ("url = 'amqp://h?timeout=1'\nqueue = 'q'", "W0312"),
        ("url = 'amqp://h'", "W0316"),
        ("url = 'amqp://h'\nqueue = { name = 'q', bind = ['#'] }", "W0317"),
        ("url = 'amqp://h'\nexchange = 'logs.{{type}}'", "W0318"),
        ("url = 'amqp://h'\nexchange = { declare = true }", "W0318"),
        ("url = 'amqp://h'\nqueue = 'q'\nwindow = 0", "W0314"),
        ("url = 'amqp://h'\nqueue = 'q'\nheartbeat = '500ms'", "W0314"),
        ("url = 'amqps://h'\nqueue = 'q'\ntls = { cert = 'c.pem' }", "W0315"),
    ] {
        assert_eq!(fault(settings).0, code, "{settings}");
    }
}

#[test]
fn unknown_keys_are_named() {
    for (settings, place) in [
        ("url = 'amqp://h'\nexchnage = 'e'", "exchnage"),
        ("url = 'amqp://h'\nexchange = { name = 'e', typ = 'topic' }", "typ"),
        ("url = 'amqp://h'\nqueue = { name = 'q', type = 'mirrored' }", "'mirrored'"),
        ("url = 'amqp://h'\nqueue = 5", "5"),
    ] {
        assert_eq!(fault(settings).2, place, "{settings}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let sink = build("url = 'amqp://user:s3cret@h/v'\nqueue = 'q'").unwrap();
    assert!(!format!("{sink:?}").contains("s3cret"));
    for settings in [
        "url = 'amqp://user:s3cret@h/'\nqueue = 'q'",
        "url = 'amqp://user:s3cret@h:port/v'\nqueue = 'q'",
        "url = 'amqp://user:s3cret@h/%ff'\nqueue = 'q'",
        "url = 'amqp://user:s3cret@h/v?heartbeat=x'\nqueue = 'q'",
    ] {
        let error = build(settings).unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn sinks_with_the_same_brokers_share_a_link() {
    let host = Arc::default();
    let same = build_on(&host, "url = 'amqp://u:p@h'\nqueue = 'a'").unwrap();
    let link = build_on(&host, "url = 'amqp://u:p@h:5672/%2f'\nqueue = 'b'").unwrap().link;
    assert!(Arc::ptr_eq(&same.link, &link));
    for other in [
        "url = 'amqp://u:q@h'\nqueue = 'a'",
        "url = 'amqp://u:p@h/v'\nqueue = 'a'",
        "url = 'amqps://u:p@h'\nqueue = 'a'",
    ] {
        let other = build_on(&host, other).unwrap();
        assert!(!Arc::ptr_eq(&same.link, &other.link));
    }
}

/// A batch of events with the ids `0..count`, its receipt and its acks.
fn admit(account: &Arc<Account>, count: usize) -> (Arc<Batch>, Receipt, Vec<Ack>) {
    let mut batch = Batch::default();
    for number in 0..count {
        let id = number.to_string();
        batch.push(&Draft { id: &id, event_type: "t", data: b"x", ..Draft::default() });
    }
    let (receipt, acks) = account.admit(vec![1; count].into_iter(), AckMode::Settled).unwrap();
    (Arc::new(batch), receipt, acks)
}

fn codes(receipt: &Receipt) -> Vec<Option<Code>> {
    let code = |answer: Answer| match answer {
        Answer::Settled(_, refusal) => refusal.map(|refusal| refusal.code),
        other => panic!("no verdict: {other:?}"),
    };
    receipt.answers().into_iter().map(code).collect()
}

#[tokio::test(start_paused = true)]
async fn a_window_publishes_again_in_order_and_stays_bounded() {
    let (batch, _receipt, acks) = admit(&Arc::default(), 4);
    let mut window = Window::new(10, 4);
    for (row, ack) in acks.into_iter().enumerate() {
        window.push(Arc::clone(&batch), row, ack);
    }
    assert!(window.is_full());
    window.take(11).unwrap().ack.settle(Outcome::Delivered);
    assert!(window.is_full(), "the oldest still waits");
    window.restart();
    let again = |window: &mut Window| window.next_again(Instant::now());
    assert_eq!([again(&mut window), again(&mut window)], [Some(10), Some(12)]);
    assert_eq!([again(&mut window), again(&mut window)], [Some(13), None]);
    window.take(10).unwrap().ack.settle(Outcome::Delivered);
    assert!(!window.is_full());
    assert_eq!((window.len(), window.next_seq()), (2, 14));

    assert_eq!(window.refuse(12), 1);
    assert_eq!(again(&mut window), None);
    advance(Duration::from_millis(50)).await;
    assert_eq!(again(&mut window), Some(12));
    for slot in window.take_all() {
        slot.ack.settle(Outcome::Delivered);
    }
    assert_eq!((window.len(), window.next_seq()), (0, 14));
}

const PATIENCE: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(10);

fn held() -> (Held, Sender, Arc<Account>) {
    let (sender, inlet) = edge(Capacity { events: 1000, bytes: 1 << 20 });
    let held = Held::new(inlet, Window::new(0, 2), PATIENCE, STALL);
    (held, sender, Arc::default())
}

#[tokio::test(start_paused = true)]
async fn patience_gives_back_what_was_sent_as_unknown_and_the_rest_as_unavailable() {
    let (mut held, sender, account) = held();
    let (batch, receipt, acks) = admit(&account, 3);
    sender.send(Delivery { batch, acks, entry: 0 }).unwrap();
    while let Some((batch, row, ack)) = held.next_new() {
        held.window.push(batch, row, ack);
    }
    held.away(None);
    advance(PATIENCE - Duration::from_millis(1)).await;
    assert_eq!(held.give_back_if_over(), 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(held.give_back_if_over(), 3);
    let unknown = Some(Code::Timeout);
    assert_eq!(codes(&receipt), [unknown, unknown, Some(Code::Unavailable)]);

    let (batch, receipt, acks) = admit(&account, 1);
    sender.send(Delivery { batch, acks, entry: 0 }).unwrap();
    held.receive().await;
    assert_eq!(held.give_back_if_over(), 1, "patience stays over until the broker is back");
    assert_eq!(codes(&receipt), [Some(Code::Unavailable)]);
    held.back();
    sender.close();
    held.receive().await;
    assert!(held.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_never_confirmed_gets_a_verdict() {
    let (mut held, _sender, account) = held();
    let (batch, receipt, acks) = admit(&account, 1);
    for ack in acks {
        held.window.push(Arc::clone(&batch), 0, ack);
    }
    advance(PATIENCE + STALL - Duration::from_millis(1)).await;
    assert_eq!(held.give_back_if_over(), 0);
    assert_eq!(held.patience_ends(), Instant::now() + Duration::from_millis(1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(held.give_back_if_over(), 1);
    assert_eq!(codes(&receipt), [Some(Code::Timeout)]);
}

#[test]
fn a_message_carries_its_sequence_number() {
    let sink = build("url = 'amqp://h'\nexchange = 'e'").unwrap();
    let mut batch = Batch::default();
    batch.push(&Draft { id: "i", event_type: "cart.add", ..Draft::default() });
    let (key, properties) = sink.plan.recipe.render(&batch.event(0), u64::MAX).unwrap();
    assert_eq!((key.as_str(), sequence(&properties)), ("cart.add", Some(u64::MAX)));
}

#[test]
fn a_missing_field_is_a_rejection() {
    let sink = build("url = 'amqp://h'\nexchange = 'e'\nrouting_key = '{{data.user}}'").unwrap();
    let mut batch = Batch::default();
    batch.push(&Draft { id: "i", event_type: "t", data: b"{}", ..Draft::default() });
    let refusal = sink.plan.recipe.render(&batch.event(0), 1).unwrap_err();
    assert_eq!(refusal, Refusal::new(Code::Rejected, "the event has no `data.user`"));
}
