//! What the RabbitMQ sink does with events that the broker or its queues do not take.

use std::sync::Arc;
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;
use weir::ack::{Answer, Code, Outcome};
use weir::component::Host;
use weir::event::Draft;
use weir_harness::rig::Rig;
use weir_harness::{eventually, within};

use crate::brokers::quiet;
use crate::rabbitmq::{answers, assert_kept, code, code_of, declaring, event, publish, sink};

#[tokio::test(flavor = "multi_thread")]
async fn every_unroutable_event_is_told_from_the_others() {
    let Some((_, vhost)) = quiet("unroutable").await else { return };
    let settings = declaring(&vhost, "").replace("shop.#", "shop.good");
    let rig = sink(&settings);
    let receipts =
        publish(&rig, 0, 20_000, |number| if number % 10 == 3 { "nowhere" } else { "good" });
    for (number, answer) in answers(&receipts).await.iter().enumerate() {
        let expected = (number % 10 == 3).then_some(Code::Unroutable);
        assert_eq!(code(answer), expected, "event {number}");
    }
    assert_eq!(rig.counter("returned"), 2_000);
    rig.finish().await;
    let taken = vhost.drain("all").await;
    assert_eq!(taken.len(), 18_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_goes_to_the_dead_letter_exchange() {
    let Some((_, vhost)) = quiet("letters").await else { return };
    let more = "dead_letter_exchange = \"dead\"";
    let rig = sink(&declaring(&vhost, more).replace("shop.#", "shop.good"));
    // While there is no such exchange, publishers are told as if none were named.
    assert_eq!(code_of(&rig.publish_one(&event("lost", "nowhere"))).await, Some(Code::Unroutable));

    let kind = ExchangeKind::Fanout;
    let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
    let broker = &vhost.amqp_channel;
    let declaring = broker.exchange_declare("dead".into(), kind, options, none.clone());
    declaring.await.expect("a new exchange");
    vhost.declare_queue("letters", &[]).await;
    let options = QueueBindOptions::default();
    let binding = broker.queue_bind("letters".into(), "dead".into(), "".into(), options, none);
    binding.await.expect("both are there");
    let receipts =
        publish(&rig, 0, 2_000, |number| if number % 10 == 3 { "nowhere" } else { "good" });
    for (number, answer) in answers(&receipts).await.iter().enumerate() {
        let expected = if number % 10 == 3 { Outcome::DeadLettered } else { Outcome::Delivered };
        assert_eq!(*answer, Answer::Settled(expected, None), "event {number}");
    }
    assert_eq!(rig.counter("dead_lettered"), 200);
    rig.finish().await;
    let letters = vhost.drain("letters").await;
    let mut ids: Vec<usize> = letters.iter().map(|letter| letter.id().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (3..2_000).step_by(10).collect::<Vec<_>>());
    assert_eq!(letters[0].header("x-weir-code").as_deref(), Some("unroutable"));
    assert_eq!(letters[0].header("x-weir-error").as_deref(), Some("no queue takes it"));
    assert_eq!(letters[0].routing_key, "shop.nowhere");
    assert_eq!(vhost.drain("all").await.len(), 1_800);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_ids_are_told_apart() {
    let Some((_, vhost)) = quiet("equal").await else { return };
    let rig = sink(&declaring(&vhost, "").replace("shop.#", "shop.good"));
    let receipts: Vec<_> = ["good", "nowhere", "good", "nowhere"]
        .map(|event_type| rig.publish_one(&event("same", event_type)))
        .into();
    let codes: Vec<_> = answers(&receipts).await.iter().map(code).collect();
    let nowhere = Some(Code::Unroutable);
    assert_eq!(codes, [None, nowhere, None, nowhere]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_costs_only_its_own_events() {
    let Some((_, vhost)) = quiet("missing").await else { return };
    // Two sinks on one connection.
    let host = Arc::new(Host::default());
    let good = Rig::start(&host, "rabbitmq", &declaring(&vhost, "")).expect("good settings");
    let settings = format!("url = \"{}\"\nexchange = \"absent\"", vhost.url);
    let bad = Rig::start(&host, "rabbitmq", &settings).expect("good settings");
    good.running().await;
    bad.degraded("no exchange `absent`").await;
    let receipts = publish(&good, 0, 1_000, |_| "good");
    for number in 0..10 {
        let receipt = bad.publish_one(&event(&number.to_string(), "lost"));
        assert_eq!(code_of(&receipt).await, Some(Code::Unroutable));
    }
    assert!(answers(&receipts).await.iter().all(|answer| code(answer).is_none()));
    assert_eq!(good.counter("resent"), 0);

    // It is looked for again, and found once somebody declares it.
    let declare = format!(
        "url = \"{}\"\nexchange = {{ name = \"absent\", declare = true }}\nqueue = {{ name = \"late\" }}",
        vhost.url
    );
    let owner = Rig::start(&host, "rabbitmq", &declare).expect("good settings");
    owner.running().await;
    bad.running().await;
    assert_eq!(code_of(&bad.publish_one(&event("late", "found"))).await, None);
    for rig in [good, bad, owner] {
        rig.finish().await;
    }
    assert_eq!(vhost.drain("late").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_or_unbound_is_declared_again() {
    let Some((broker, vhost)) = quiet("deleted").await else { return };
    let rig = sink(&declaring(&vhost, ""));
    rig.running().await;
    assert_eq!(code_of(&rig.publish_one(&event("before", "a"))).await, None);
    assert_eq!(vhost.drain("all").await.len(), 1);
    broker.rabbitmqctl(&["delete_queue", "all", "-p", "deleted"]).await;
    let receipts = publish(&rig, 0, 1_000, |_| "b");
    assert!(answers(&receipts).await.iter().all(|answer| code(answer).is_none()));
    assert_eq!(vhost.drain("all").await.len(), 1_000);

    let (queue, exchange) = ("all".into(), "events".into());
    let unbinding =
        vhost.amqp_channel.queue_unbind(queue, exchange, "shop.#".into(), FieldTable::default());
    unbinding.await.expect("it was bound");
    // The declaration is believed for a second, after which it is tried again.
    eventually("an event is taken again", async || {
        code_of(&rig.publish_one(&event("after", "c"))).await.is_none().then_some(())
    })
    .await;
    assert_eq!(vhost.drain("all").await.len(), 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_amqp_cannot_carry_is_refused_alone() {
    let Some((_, vhost)) = quiet("poison").await else { return };
    let rig = sink(&declaring(&vhost, "max_message = \"1KiB\""));
    let long_type = "t".repeat(300);
    let long_id = "i".repeat(256);
    let header = "h".repeat(100 << 10);
    let large = vec![b'x'; 1025];
    let extensions = [("huge", header.as_str())];
    let receipts: Vec<_> = [
        event("a", &long_type),
        event(&long_id, "good"),
        Draft { data: &large, ..event("c", "good") },
        Draft { extensions: &extensions, ..event("d", "good") },
        event("e", "good"),
    ]
    .iter()
    .map(|draft| rig.publish_one(draft))
    .collect();
    let codes: Vec<_> = answers(&receipts).await.iter().map(code).collect();
    let (rejected, large) = (Some(Code::Rejected), Some(Code::TooLarge));
    assert_eq!(codes, [rejected, rejected, large, large, None]);
    assert_eq!(rig.counter("reconnects"), 0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_breaks_the_channel_is_refused_alone() {
    let Some((broker, vhost)) = quiet("breaks").await else { return };
    // The broker closes a channel that publishes what the user may not.
    let rule = "rabbit_auth_backend_internal:set_topic_permissions(<<\"guest\">>, <<\"breaks\">>, \
                <<\"events\">>, <<\"^shop.good$\">>, <<\".*\">>, <<\"test\">>).";
    broker.rabbitmqctl(&["eval", rule]).await;
    let rig = sink(&declaring(&vhost, ""));
    let receipts = publish(&rig, 0, 300, |number| if number == 150 { "forbidden" } else { "good" });
    for (number, answer) in answers(&receipts).await.iter().enumerate() {
        let expected = (number == 150).then_some(Code::Rejected);
        assert_eq!(code(answer), expected, "event {number}");
    }
    rig.finish().await;
    let taken = vhost.drain("all").await;
    assert_kept(&[], &taken, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_is_tried_again() {
    let Some((_, vhost)) = quiet("refuses").await else { return };
    let arguments = [
        ("x-max-length", AMQPValue::LongLongInt(100)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ("x-queue-type", AMQPValue::LongString("classic".into())),
    ];
    vhost.declare_queue("small", &arguments).await;
    let rig = sink(&format!("url = \"{}\"\nqueue = \"small\"", vhost.url));
    let receipts = publish(&rig, 0, 300, |_| "good");
    let mut taken = Vec::new();
    let all = async {
        let verdicts = answers(&receipts);
        tokio::pin!(verdicts);
        loop {
            match timeout(Duration::from_millis(50), &mut verdicts).await {
                Ok(verdicts) => return verdicts,
                Err(_) => taken.extend(vhost.drain("small").await),
            }
        }
    };
    let verdicts = within("all verdicts", all).await;
    taken.extend(vhost.drain("small").await);
    assert!(verdicts.iter().all(|answer| code(answer).is_none()));
    assert!(rig.counter("nacked") > 0);
    assert_kept(&verdicts, &taken, 0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_stays_full_rejects() {
    let Some((_, vhost)) = quiet("full").await else { return };
    let queue = "queue = { name = \"full\", type = \"classic\", \
                 arguments = { x-max-length = 0, x-overflow = \"reject-publish\" } }";
    let rig = sink(&format!("url = \"{}\"\n{queue}", vhost.url));
    assert_eq!(code_of(&rig.publish_one(&event("1", "any"))).await, Some(Code::Rejected));
    rig.finish().await;
}
