//! The RabbitMQ source against a real broker: a second daemon takes what the first one queued,
//! whatever happens, and the broker forgets a message only once its event has settled.

use std::collections::HashSet;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, PublisherConfirm};
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_harness::broker::{Taken, Vhost};
use weir_harness::{Subscriber, Weir, eventually};

use crate::brokers::{quiet, rough};

/// Messages that the source may take without an acknowledgement.
const PREFETCH: usize = 256;

/// Messages that the sink behind it may publish again after the broker was away.
const WINDOW: usize = 1_024;

/// From HTTP into the quorum queue `in`.
fn first(vhost: &Vhost) -> String {
    format!(
        "[[source]]\ntype = \"http\"\npath = \"/in\"\n\n[[sink]]\ntype = \"rabbitmq\"\n\
         url = \"{}\"\nqueue = {{ name = \"in\" }}\n",
        vhost.url
    )
}

/// From the queue `in`, with `more` settings, to the hub.
fn to_hub(vhost: &Vhost, more: &str) -> String {
    format!(
        "[[source]]\ntype = \"rabbitmq\"\nurl = \"{}\"\n{more}\n\n\
         [[sink]]\ntype = \"broadcast\"\nhub = \"main\"\nchannel = \"all\"\n",
        vhost.url
    )
}

/// From the queue `in` to the queue `out`. Without a spool, so that only the source keeps events.
fn to_queue(vhost: &Vhost, more: &str) -> String {
    let url = &vhost.url;
    format!(
        "[[source]]\ntype = \"rabbitmq\"\nname = \"queue\"\nurl = \"{url}\"\n\
         queue = {{ name = \"in\" }}\n{more}\n\n\
         [[sink]]\ntype = \"rabbitmq\"\nurl = \"{url}\"\nqueue = {{ name = \"out\" }}\n\
         spool = \"none\"\n"
    )
}

async fn start(pipeline: &str) -> Weir {
    let settings = "[hub.main]\nhistory = { events = 10000 }";
    Weir::with(pipeline).settings(settings).start_unready().await
}

/// Subscribes to what comes, after all that came since the start.
async fn everything(weir: &Weir) -> Subscriber {
    Subscriber::sse(weir.public, "/live/main/sse?channel=all&last=1000", &[]).await
}

/// Puts messages with the ids `from..to` into a queue, past any daemon.
async fn put(vhost: &Vhost, queue: &str, from: usize, to: usize) {
    let mut sent = Vec::new();
    for number in from..to {
        let properties = BasicProperties::default()
            .with_message_id(number.to_string().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let data = format!("{{\"n\":{number}}}");
        sent.push(send(vhost, queue, data.as_bytes(), properties).await);
    }
    // What a broker that is killed has not confirmed was never there.
    for sent in sent {
        sent.await.expect("the channel is open");
    }
}

async fn publish(vhost: &Vhost, queue: &str, data: &[u8], properties: BasicProperties) {
    let sent = send(vhost, queue, data, properties).await;
    sent.await.expect("the channel is open");
}

/// Publishes a message; resolves to what resolves once the queue has it.
async fn send(
    vhost: &Vhost,
    queue: &str,
    data: &[u8],
    properties: BasicProperties,
) -> PublisherConfirm {
    let options = BasicPublishOptions::default();
    let sent =
        vhost.amqp_channel.basic_publish("".into(), queue.into(), options, data, properties).await;
    sent.expect("the channel is open")
}

fn quorum() -> (&'static str, AMQPValue) {
    ("x-queue-type", AMQPValue::LongString("quorum".into()))
}

/// The numbers of the next `count` events that a subscriber gets.
async fn numbers(page: &mut Subscriber, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let frame = page.frame("event").await;
        numbers.push(frame["event"]["data"]["n"].as_u64().expect("a number") as usize);
    }
    numbers
}

/// What the source says about itself.
async fn source(weir: &Weir) -> Value {
    let status = weir.status().await;
    let components = status["pipelines"][0]["components"].as_array().cloned().unwrap_or_default();
    components.into_iter().find(|component| component["role"] == "source").unwrap_or_default()
}

async fn counter_reaches(weir: &Weir, name: &str, value: u64) {
    let reached = async || (source(weir).await["counters"][name].as_u64()? >= value).then_some(());
    eventually(&format!("{name} >= {value}"), reached).await;
}

/// Waits until the source says a reason with `words` in it.
async fn degraded(weir: &Weir, words: &str) {
    let says = async || source(weir).await["reason"].as_str()?.contains(words).then_some(());
    eventually(&format!("the source says `{words}`"), says).await;
}

async fn running(weir: &Weir) {
    let is = async || (source(weir).await["state"] == "running").then_some(());
    eventually("the source runs", is).await;
}

/// The ids `0..count` are all there, in the order of their first appearance.
fn assert_whole(taken: &[Taken], count: usize, repeats_max: usize) {
    let mut known = HashSet::new();
    let numbers = taken.iter().map(|message| message.id().parse::<usize>().expect("a number"));
    let firsts: Vec<_> = numbers.filter(|number| known.insert(*number)).collect();
    let missing = (0..count).filter(|number| !known.contains(number)).count();
    assert_eq!(missing, 0, "of {count} messages");
    let early = firsts.windows(2).position(|pair| pair[0] > pair[1]);
    assert!(
        early.is_none(),
        "out of order: {:?}",
        &firsts[early.unwrap_or_default()..][..count.min(9)]
    );
    let repeats = taken.len() - count;
    assert!(repeats <= repeats_max, "{repeats} repeats, at most {repeats_max} allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_gets_what_the_first_one_queued_once_and_in_order() {
    let Some((_, vhost)) = quiet("two").await else { return };
    let first = Weir::with(&first(&vhost)).start().await;
    let second = start(&to_hub(&vhost, "queue = { name = \"in\" }")).await;
    let mut page = second.subscribe("main", &["all"]).await;
    for start in (0..5_000).step_by(100) {
        let events = (start..start + 100).map(|n| {
            json!({
                "specversion": "1.0", "id": n.to_string(), "source": "/shop", "type": "cart.add",
                "subject": "ada", "time": "2025-11-24T16:00:00.123456Z", "tenant": "acme",
                "data": {"n": n},
            })
        });
        let body = Value::Array(events.collect()).to_string();
        let headers = [("content-type", "application/cloudevents-batch+json")];
        assert_eq!(first.post("/in", &headers, body.as_bytes()).await.status(), 200);
    }
    let event = page.frame("event").await["event"].clone();
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": "0", "source": "/shop", "type": "cart.add",
            "subject": "ada", "time": "2025-11-24T16:00:00.123456Z", "tenant": "acme",
            "datacontenttype": "application/json", "data": {"n": 0},
        })
    );
    assert_eq!(numbers(&mut page, 4_999).await, (1..5_000).collect::<Vec<_>>());
    counter_reaches(&second, "acknowledged", 5_000).await;
    let counters = source(&second).await["counters"].clone();
    assert_eq!((&counters["consumed"], &counters["retried"]), (&json!(5_000), &json!(0)));
    first.stop().await.clean();
    second.stop().await.clean();
    assert_eq!(vhost.drain("in").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_loses_no_message() {
    let Some((_, vhost)) = quiet("killed").await else { return };
    let mut second = start(&to_queue(&vhost, "")).await;
    running(&second).await;
    put(&vhost, "in", 0, 5_000).await;
    for _ in 0..3 {
        counter_reaches(&second, "acknowledged", 500).await;
        second.signal("KILL");
        second.ended().await;
        second = start(&to_queue(&vhost, "")).await;
    }
    let empty = async || (vhost.waiting("in").await == 0).then_some(());
    eventually("everything is taken", empty).await;
    let settled =
        async || (source(&second).await["counters"]["unacknowledged"] == json!(0)).then_some(());
    eventually("everything is acknowledged", settled).await;
    second.stop().await.clean();
    assert_eq!(vhost.drain("in").await.len(), 0);
    assert_whole(&vhost.drain("out").await, 5_000, 3 * PREFETCH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_load_repeats_loses_and_reorders_nothing() {
    let Some((_, vhost)) = quiet("reloads").await else { return };
    let weir = start(&to_queue(&vhost, "")).await;
    running(&weir).await;
    let load = put(&vhost, "in", 0, 5_000);
    let reloads = async {
        for number in 1..=10 {
            counter_reaches(&weir, "acknowledged", number * 300).await;
            // Most reloads hand the consumer on, every fifth has to begin anew.
            let more = format!("source = \"/{number}\"\nprefetch = {}", 100 + number / 5);
            weir.edit("pipelines/test.toml", to_queue(&vhost, &more));
            assert_eq!(weir.reload().await.status(), 200);
        }
    };
    tokio::join!(load, reloads);
    counter_reaches(&weir, "acknowledged", 5_000).await;
    weir.stop().await.clean();
    assert_whole(&vhost.drain("out").await, 5_000, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_broker_is_consumed_again() {
    let Some((broker, vhost)) = rough("source-crash").await else { return };
    vhost.declare_queue("in", &[quorum()]).await;
    put(&vhost, "in", 0, 3_000).await;
    let weir = start(&to_queue(&vhost, "")).await;
    running(&weir).await;
    counter_reaches(&weir, "acknowledged", 500).await;
    broker.remember().await;
    broker.restart().await;
    let vhost = vhost.again().await;
    counter_reaches(&weir, "reconnects", 1).await;
    let all = eventually("everything arrives", async || {
        (vhost.waiting("out").await >= 3_000).then_some(())
    });
    if timeout(Duration::from_secs(40), all).await.is_err() {
        let (left, out) = (vhost.waiting("in").await, vhost.waiting("out").await);
        panic!("{left} wait and {out} of 3,000 arrived: {}", weir.status().await);
    }
    let settled =
        async || (source(&weir).await["counters"]["unacknowledged"] == json!(0)).then_some(());
    eventually("everything is acknowledged", settled).await;
    weir.stop().await.clean();
    assert_whole(&vhost.drain("out").await, 3_000, PREFETCH + WINDOW);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_blocks_publishers_does_not_stop_a_source() {
    let Some((broker, vhost)) = rough("source-alarm").await else { return };
    vhost.declare_queue("in", &[]).await;
    put(&vhost, "in", 0, 500).await;
    let filled = async || (vhost.waiting("in").await == 500).then_some(());
    eventually("the messages are queued", filled).await;
    broker.set_memory_alarm(true).await;
    let weir = start(&to_hub(&vhost, "queue = \"in\"")).await;
    counter_reaches(&weir, "acknowledged", 500).await;
    broker.set_memory_alarm(false).await;
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_goes_to_the_dead_letters_and_no_other_does() {
    let Some((_, vhost)) = quiet("rejected").await else { return };
    vhost.declare_queue("dead", &[]).await;
    let arguments =
        "arguments = { x-dead-letter-exchange = \"\", x-dead-letter-routing-key = \"dead\" }";
    let queue = format!("queue = {{ name = \"in\", {arguments} }}");
    let pipeline = to_queue(&vhost, "").replace("queue = { name = \"in\" }", &queue);
    let weir = start(&format!("{pipeline}max_message = \"1KiB\"\n")).await;
    running(&weir).await;
    let json = || BasicProperties::default().with_content_type("application/json".into());
    let large = format!("\"{}\"", "x".repeat(2_000));
    for (number, data) in ["1", "{broken", "2", &large, "3"].iter().enumerate() {
        let properties = json().with_message_id(number.to_string().into());
        publish(&vhost, "in", data.as_bytes(), properties).await;
    }
    counter_reaches(&weir, "acknowledged", 3).await;
    counter_reaches(&weir, "rejected", 2).await;
    weir.stop().await.clean();
    let ids = |taken: Vec<Taken>| taken.iter().map(|m| m.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(vhost.drain("out").await), ["0", "2", "4"]);
    let mut dead = ids(vhost.drain("dead").await);
    dead.sort();
    assert_eq!(dead, ["1", "3"]);
    assert_eq!(vhost.drain("in").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_held_while_a_sink_is_away() {
    let Some((_, vhost)) = quiet("held").await else { return };
    let good = to_queue(&vhost, "");
    let (source_table, sink) = good.split_once("\n[[sink]]").expect("both are there");
    let away = sink.replace(&vhost.url, "amqp://127.0.0.1:1") + "patience = \"100ms\"\n";
    let weir = start(&format!("{source_table}\n[[sink]]{away}")).await;
    let declared = async || source(&weir).await["counters"].get("consumed").map(|_| ());
    eventually("the source consumes", declared).await;
    running(&weir).await;
    put(&vhost, "in", 0, 1_000).await;
    degraded(&weir, "messages are held").await;
    counter_reaches(&weir, "retried", 300).await;
    let counters = source(&weir).await["counters"].clone();
    assert_eq!((&counters["acknowledged"], &counters["rejected"]), (&json!(0), &json!(0)));
    assert!(counters["consumed"].as_u64() <= Some(PREFETCH as u64), "{counters}");
    vhost.declare_queue("out", &[quorum()]).await;
    weir.edit("pipelines/test.toml", good);
    assert_eq!(weir.reload().await.status(), 200);
    let out = async || (vhost.waiting("out").await == 1_000).then_some(());
    eventually("everything arrives", out).await;
    weir.stop().await.clean();
    assert_whole(&vhost.drain("out").await, 1_000, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_from_an_offset_and_goes_on_after_a_broken_connection() {
    let Some((broker, vhost)) = quiet("streams").await else { return };
    let stream = |offset: &str| {
        let queue = "queue = { name = \"log\", type = \"stream\" }";
        to_hub(&vhost, &format!("{queue}\noffset = {offset}"))
    };
    let weir = start(&stream("\"first\"")).await;
    let mut page = weir.subscribe("main", &["all"]).await;
    running(&weir).await;
    put(&vhost, "log", 0, 1_000).await;
    assert_eq!(numbers(&mut page, 1_000).await, (0..1_000).collect::<Vec<_>>());
    counter_reaches(&weir, "acknowledged", 1_000).await;

    broker.rabbitmqctl(&["close_all_connections", "--vhost", "streams", "test"]).await;
    let vhost = vhost.again().await;
    put(&vhost, "log", 1_000, 1_100).await;
    assert_eq!(numbers(&mut page, 100).await, (1_000..1_100).collect::<Vec<_>>());

    let stream = stream("1050");
    weir.edit("pipelines/test.toml", &stream);
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(numbers(&mut page, 50).await, (1_050..1_100).collect::<Vec<_>>());
    // Another reload goes on where this one was.
    counter_reaches(&weir, "acknowledged", 1_150).await;
    weir.edit("pipelines/test.toml", stream.replace("\nqueue", "\nprefetch = 9\nqueue"));
    assert_eq!(weir.reload().await.status(), 200);
    put(&vhost, "log", 1_100, 1_101).await;
    assert_eq!(numbers(&mut page, 1).await, [1_100]);
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_restart_where_it_was() {
    let Some((_, vhost)) = quiet("bookmark").await else { return };
    let queue = "queue = { name = \"log\", type = \"stream\" }";
    let stream = |offset: &str| to_hub(&vhost, &format!("{queue}\noffset = \"{offset}\""));
    let mut weir = start(&stream("next")).await;
    let mut page = weir.subscribe("main", &["all"]).await;
    running(&weir).await;
    put(&vhost, "log", 0, 100).await;
    assert_eq!(numbers(&mut page, 100).await, (0..100).collect::<Vec<_>>());
    counter_reaches(&weir, "acknowledged", 100).await;
    weir.stop().await.clean();
    weir.start_again().await;
    // Nobody was there for these, which `next` alone would leave out.
    put(&vhost, "log", 100, 200).await;
    let mut page = everything(&weir).await;
    assert_eq!(numbers(&mut page, 100).await, (100..200).collect::<Vec<_>>());
    counter_reaches(&weir, "acknowledged", 100).await;
    weir.kill9();
    put(&vhost, "log", 200, 300).await;
    weir.start_again().await;
    let mut page = everything(&weir).await;
    let first = numbers(&mut page, 1).await[0];
    assert!((100..=200).contains(&first), "a second is repeated at most: {first}");
    assert_eq!(numbers(&mut page, 299 - first).await, (first + 1..300).collect::<Vec<_>>());
    weir.edit("pipelines/test.toml", stream("first"));
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(numbers(&mut page, 300).await, (0..300).collect::<Vec<_>>());
    weir.stop().await.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again_or_waited_for() {
    let Some((_, vhost)) = quiet("deleted").await else { return };
    let owner = start(&to_hub(&vhost, "queue = { name = \"in\" }")).await;
    let guest = start(&to_hub(&vhost, "queue = \"other\"")).await;
    let mut page = owner.subscribe("main", &["all"]).await;
    let mut other = guest.subscribe("main", &["all"]).await;
    degraded(&guest, "NOT_FOUND - no queue 'other'").await;
    running(&owner).await;
    vhost.declare_queue("other", &[]).await;
    running(&guest).await;
    for round in 0..3 {
        put(&vhost, "in", round, round + 1).await;
        put(&vhost, "other", round, round + 1).await;
        assert_eq!(numbers(&mut page, 1).await, [round]);
        assert_eq!(numbers(&mut other, 1).await, [round]);
        for name in ["in", "other"] {
            let options = QueueDeleteOptions::default();
            vhost.amqp_channel.queue_delete(name.into(), options).await.expect("it is there");
        }
        degraded(&guest, "NOT_FOUND").await;
        let kind = AMQPValue::LongString("classic".into());
        vhost.declare_queue("other", &[("x-queue-type", kind)]).await;
        let is_back = async || (source(&owner).await["state"] == "running").then_some(());
        eventually("the queue is declared again", is_back).await;
        running(&guest).await;
        let declared = async || vhost.exists("in").await.then_some(());
        eventually("the queue is there", declared).await;
    }
    owner.stop().await.clean();
    guest.stop().await.clean();
}
