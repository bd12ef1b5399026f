//! Settings, messages and verdicts, without a broker.

use std::sync::Arc;

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray, FieldTable};

use super::RabbitMq;
use super::config::Offset;
use super::message::Reader;
use super::settle::{Messages, Verdicts};
use crate::ack::{Account, Answer, Code, Outcome, Refusal};
use crate::component::{
    BuildContext, BuildError, ComponentId, Host, PipelineName, Settings, Source, Table,
};
use crate::edge::Outlet;
use crate::event::{Batch, Draft};

fn build_on(host: &Arc<Host>, settings: &str) -> Result<RabbitMq, BuildError> {
    let pipeline = PipelineName::new("shop").unwrap();
    let id = ComponentId::new(&pipeline, "rabbit").unwrap();
    let cx = BuildContext::for_source(&id, host, Outlet::new(Arc::new(Account::default())));
    let config = Settings::new(Table::parse(settings).0).read();
    RabbitMq::build(config.map_err(|faults| faults[0].clone())?, &cx)
}

fn build(settings: &str) -> Result<RabbitMq, BuildError> {
    build_on(&Arc::default(), settings)
}

#[test]
fn settings_are_checked_with_a_finger_on_the_spot() {
    for (settings, code, place) in [
        ("queue = 'q'", "W0313", ""),
        ("url = 'amqp://h'", "W0203", ""),
        ("url = 'amqp://h'\nqueue = ''", "W0318", "''"),
        ("url = 'amqp://h'\nqueue = '{{type}}'", "W0318", "'{{type}}'"),
        ("url = 'amqp://h'\nqueue = 'q'\nprefetch = 0", "W0314", "0"),
        ("url = 'amqp://h'\nqueue = 'q'\nexchange = 'e'", "W0317", "'e'"),
        (
            "url = 'amqp://h'\nqueue = { name = 'q', type = 'stream' }",
            "W0203",
            "{ name = 'q', type = 'stream' }",
        ),
        ("url = 'amqp://h'\nqueue = { name = 'q' }\noffset = 'first'", "W0114", "'first'"),
        ("url = 'amqp://h'\nqueue = 'q'\noffset = 'frist'", "W0202", "'frist'"),
        ("url = 'amqp://h'\nqueue = 'q'\noffset = -1", "W0202", "-1"),
    ] {
        let error = build(settings).unwrap_err();
        let found = error.span.map_or("", |span| &settings[span]);
        assert_eq!((error.code, found), (code, place), "{settings}: {}", error.message);
    }
}

#[test]
fn an_offset_is_a_word_a_number_or_a_time() {
    for (offset, expected) in [
        ("'first'", Offset::First),
        ("'last'", Offset::Last),
        ("'next'", Offset::Next),
        ("42", Offset::At(42)),
        ("'2025-11-24T16:00:00Z'", Offset::Since(1_764_000_000)),
    ] {
        let stream = "url = 'amqp://h'\nqueue = { name = 'q', type = 'stream' }";
        let source = build(&format!("{stream}\noffset = {offset}")).unwrap();
        assert_eq!(source.plan.offset, Some(expected));
    }
}

#[test]
fn generations_share_the_connection_and_the_seat() {
    let host = Arc::default();
    let first = build_on(&host, "url = 'amqp://h'\nqueue = 'q'").unwrap();
    let next = build_on(&host, "url = 'amqp://h'\nqueue = 'q'\nprefetch = 5").unwrap();
    let other = build_on(&host, "url = 'amqp://h'\nqueue = 'other'").unwrap();
    assert!(Arc::ptr_eq(&first.link, &next.link) && Arc::ptr_eq(&first.link, &other.link));
    assert!(Arc::ptr_eq(&first.seat, &next.seat));
    assert!(!Arc::ptr_eq(&first.seat, &other.seat));
}

fn message(exchange: &str, data: &[u8], properties: BasicProperties) -> Delivery {
    let mut message = Delivery::mock(1, exchange.into(), "order.paid".into(), false, data.to_vec());
    message.properties = properties;
    message
}

fn headers(headers: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn words(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn read(message: &Delivery) -> Result<Batch, Refusal> {
    let reader = Reader { source: "/queues/orders".to_owned(), size_max: 1_000 };
    let mut batch = Batch::default();
    reader.read(message, &mut batch).map(|_| batch)
}

#[test]
fn what_our_sink_writes_comes_back_whole() {
    let properties = BasicProperties::default()
        .with_message_id("7".into())
        .with_type("order.paid".into())
        .with_timestamp(1_764_000_000)
        .with_content_type("application/json".into())
        .with_headers(headers(&[
            ("cloudEvents:specversion", words("1.0")),
            ("cloudEvents:id", words("7")),
            ("cloudEvents:source", words("/in/orders")),
            ("cloudEvents:type", words("order.paid")),
            ("cloudEvents:time", words("2025-11-24T16:00:00.123456Z")),
            ("cloudEvents:subject", words("ada")),
            ("cloudEvents:traceparent", words("00-1-2-01")),
            ("tenant", words("acme")),
            ("x-weir-seq", AMQPValue::LongLongInt(9)),
        ]));
    let batch = read(&message("events", br#"{"n": 1}"#, properties)).unwrap();
    let event = batch.event(0);
    let extensions: Vec<_> = event.extensions().collect();
    assert_eq!(event.time(), 1_764_000_000_123_456, "the header is more precise");
    assert_eq!((event.id(), event.source(), event.event_type()), ("7", "/in/orders", "order.paid"));
    assert_eq!((event.subject(), event.content_type()), (Some("ada"), Some("application/json")));
    assert_eq!(event.data(), br#"{"n": 1}"#);
    assert_eq!(extensions, [("traceparent", "00-1-2-01"), ("tenant", "acme")]);
}

#[test]
fn a_plain_message_gets_attributes_from_its_properties() {
    let properties = BasicProperties::default()
        .with_message_id("7".into())
        .with_type("paid".into())
        .with_timestamp(1_764_000_000);
    let batch = read(&message("events", b"[1]", properties)).unwrap();
    let event = batch.event(0);
    assert_eq!((event.id(), event.source(), event.event_type()), ("7", "/queues/orders", "paid"));
    assert_eq!(event.time(), 1_764_000_000_000_000);
    assert_eq!(event.content_type(), Some("application/json"));

    let bare = read(&message("events", b"\xff", BasicProperties::default())).unwrap();
    let bare = bare.event(0);
    assert_eq!(bare.id().len(), 26);
    assert_eq!(bare.event_type(), "order.paid", "a routing key is a name of the same shape");
    assert_eq!(
        (bare.time(), bare.content_type()),
        (bare.arrival(), Some("application/octet-stream"))
    );

    let direct = read(&message("", b"", BasicProperties::default())).unwrap();
    assert_eq!(direct.event(0).event_type(), "event");
    assert_eq!(direct.event(0).content_type(), None);

    let offset = headers(&[("x-stream-offset", AMQPValue::LongLongInt(42))]);
    let streamed = read(&message("", b"1", BasicProperties::default().with_headers(offset)));
    assert_eq!(streamed.unwrap().event(0).id(), "42");
}

#[test]
fn headers_become_attributes_where_they_can() {
    let table = headers(&[
        ("cloudEvents_id", words("spelled")),
        ("cloudEvents_type", words("has\na line break")),
        ("attempt", AMQPValue::LongInt(3)),
        ("type", words("not an attribute of ours")),
        ("Upper-Case", words("x")),
        ("x-death", AMQPValue::FieldArray(FieldArray::default())),
        ("bytes", words("x\0")),
        ("empty", words("")),
    ]);
    let properties = BasicProperties::default().with_headers(table).with_message_id("m".into());
    let batch = read(&message("", b"1", properties)).unwrap();
    let event = batch.event(0);
    assert_eq!((event.id(), event.event_type()), ("spelled", "event"));
    assert_eq!(event.extensions().collect::<Vec<_>>(), [("attempt", "3")]);
}

#[test]
fn a_whole_cloudevent_in_the_body_is_read() {
    let structured = |data: &[u8]| {
        let kind = "application/cloudevents+json; charset=utf-8";
        read(&message("", data, BasicProperties::default().with_content_type(kind.into())))
    };
    let data = br#"{"specversion":"1.0","id":"a","source":"/s","type":"t","data":{"n":1}}"#;
    let batch = structured(data).unwrap();
    let event = batch.event(0);
    assert_eq!((event.id(), event.source(), event.event_type()), ("a", "/s", "t"));
    assert_eq!(
        (event.data(), event.content_type()),
        (&br#"{"n":1}"#[..], Some("application/json"))
    );
    assert_eq!(
        structured(br#"{"specversion":"1.0","id":"a"}"#).unwrap_err().code,
        Code::BadRequest
    );
}

#[test]
fn a_message_that_is_not_what_it_says_is_refused_and_a_packed_one_is_not() {
    let json = || BasicProperties::default().with_content_type("application/json".into());
    assert_eq!(read(&message("", b"{", json())).unwrap_err().code, Code::BadRequest);
    assert_eq!(read(&message("", &[b' '; 1_001], json())).unwrap_err().code, Code::TooLarge);
    let packed = read(&message("", b"\x1f\x8b", json().with_content_encoding("gzip".into())));
    let packed = packed.unwrap();
    assert_eq!(packed.event(0).content_type(), Some("application/octet-stream"));
    assert_eq!(packed.event(0).extension("contentencoding"), Some("gzip"));
    let plain = read(&message("", b"{}", json().with_content_encoding("UTF-8".into()))).unwrap();
    assert_eq!(plain.event(0).content_type(), Some("application/json"));
}

#[test]
fn what_the_pipeline_could_not_take_gets_no_verdict() {
    let refusal = |code| Some(Refusal::new(code, "why"));
    let verdicts = Verdicts::of(&[
        Answer::Settled(Outcome::Delivered, None),
        Answer::Settled(Outcome::Unavailable, refusal(Code::Unavailable)),
        Answer::Settled(Outcome::Rejected, refusal(Code::Rejected)),
        Answer::Settled(Outcome::Filtered, None),
        Answer::Settled(Outcome::Lost, None),
        Answer::Settled(Outcome::Spooled, None),
        Answer::Settled(Outcome::DeadLettered, None),
        Answer::Settled(Outcome::Duplicate, None),
    ]);
    assert_eq!(verdicts.accepted, [0, 3, 5, 6, 7]);
    assert_eq!(verdicts.rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2]);
    assert_eq!((verdicts.again, verdicts.why_again), (vec![1, 4], refusal(Code::Unavailable)));
}

#[test]
fn held_messages_keep_their_order_and_their_tags() {
    let messages = |tags: std::ops::Range<u64>| {
        let mut batch = Batch::default();
        let mut messages = Messages::default();
        for tag in tags {
            batch.push(&Draft { id: &tag.to_string(), ..Draft::default() });
            messages.push(tag, tag % 2 == 0, Some(tag.cast_signed() + 100));
        }
        messages.batch = Arc::new(batch);
        messages
    };
    let mut held = messages(1..5).select(&[1, 3]);
    held.append(messages(5..7));
    let ids: Vec<_> = held.batch.iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(ids, ["2", "4", "5", "6"]);
    assert_eq!((held.len(), held.offset, held.named()), (4, Some(106), vec![0, 1, 3]));
}
