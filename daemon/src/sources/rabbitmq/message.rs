//! An AMQP message as an event. Its body becomes the data, verbatim.
//!
//! Attributes come from `cloudEvents:` or `cloudEvents_` headers, as the CloudEvents binding for
//! AMQP names them, else from the message's properties. What cannot be an attribute is left out.

use std::borrow::Cow;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use crate::ack::{Code, Refusal};
use crate::event::cloudevents::{Form, JSON, Payload, Spelled};
use crate::event::encode::is_json;
use crate::event::id::{IdBuffer, ulid};
use crate::event::{Batch, Draft, json};
use crate::units::{now_micros, parse_time};

/// The type of an event whose message says nothing else.
const DEFAULT_TYPE: &str = "event";

/// The type of bytes that nothing is known about.
const OCTETS: &str = "application/octet-stream";

/// A message whose body is a whole CloudEvent.
const STRUCTURED: &str = "application/cloudevents+json";

/// The header that says where in a stream a message is.
const OFFSET_HEADER: &str = "x-stream-offset";

/// Names that a header without a prefix cannot set.
const CORE_NAMES: [&str; 8] =
    ["id", "source", "type", "subject", "time", "specversion", "datacontenttype", "data"];

/// How one source reads messages.
#[derive(Debug)]
pub(super) struct Reader {
    /// The `source` of events whose messages name none.
    pub(super) source: String,
    /// Largest body, in bytes.
    pub(super) size_max: usize,
}

impl Reader {
    /// Appends the event in `message` to `batch`; answers whether its id came with the message.
    ///
    /// # Errors
    /// If it is no event: too large, or not what its content type says.
    pub(super) fn read(&self, message: &Delivery, batch: &mut Batch) -> Result<bool, Refusal> {
        if message.data.len() > self.size_max {
            let words = format!("the message is larger than {} bytes", self.size_max);
            return Err(Refusal::new(Code::TooLarge, words));
        }
        let spelled = match content_type(message) {
            Some(kind) if essence(kind).eq_ignore_ascii_case(STRUCTURED) => {
                let text = json::check(&message.data).map_err(malformed)?.text;
                let spelled = Spelled::from_json(text, Form::CloudEvents);
                spelled.map_err(|misspelled| malformed(misspelled.error))?
            }
            kind => from_headers(message, kind)?,
        };
        let mut made = IdBuffer::default();
        let arrival = now_micros();
        let timestamp = message.properties.timestamp();
        let timestamp = timestamp.map(|seconds| seconds.saturating_mul(1_000_000));
        let extensions: Vec<(&str, &str)> =
            spelled.extensions.iter().map(|(name, value)| (&**name, &**value)).collect();
        batch.push(&Draft {
            id: spelled.id.as_deref().unwrap_or_else(|| ulid(arrival, &mut made)),
            source: spelled.source.as_deref().unwrap_or(&self.source),
            event_type: spelled.event_type.as_deref().unwrap_or(DEFAULT_TYPE),
            subject: spelled.subject.as_deref(),
            content_type: spelled.media_type(),
            time: spelled.time.or(timestamp).unwrap_or(arrival),
            arrival,
            data: spelled.data(),
            extensions: &extensions,
        });
        Ok(spelled.id.is_some())
    }
}

/// Where in a stream the message is, if it comes from one.
pub(super) fn offset(message: &Delivery) -> Option<i64> {
    match message.properties.headers().as_ref()?.inner().get(OFFSET_HEADER)? {
        AMQPValue::LongLongInt(offset) => Some(*offset),
        _ => None,
    }
}

/// A message whose body is the data, of the content type `kind` as far as its properties say.
fn from_headers<'a>(message: &'a Delivery, kind: Option<&'a str>) -> Result<Spelled<'a>, Refusal> {
    let (properties, data) = (&message.properties, &message.data);
    let mut spelled = Spelled::default();
    if let Some(headers) = properties.headers() {
        read_headers(headers, &mut spelled);
    }
    for (name, value) in [
        ("id", properties.message_id().as_ref().map(|id| id.as_str().into())),
        ("id", offset(message).map(|offset| offset.to_string().into())),
        ("type", properties.kind().as_ref().map(|kind| kind.as_str().into())),
        ("type", routing_type(message).map(Into::into)),
    ] {
        if let Some(value) = value {
            put(&mut spelled, name, value);
        }
    }
    let kind = kind.map(Cow::Borrowed).or(spelled.content_type.take());
    spelled.content_type = match (kind, encoding(message)) {
        (kind, None) if data.is_empty() => kind,
        // Nobody here decodes it, so it is not what its content type says.
        (_, Some(encoding)) => {
            put(&mut spelled, "contentencoding", encoding.into());
            Some(OCTETS.into())
        }
        (Some(kind), None) => {
            if is_json(Some(&kind)) {
                json::check(data).map_err(malformed)?;
            }
            Some(kind)
        }
        (None, None) if json::check(data).is_ok() => Some(JSON.into()),
        (None, None) => Some(OCTETS.into()),
    };
    spelled.payload = Payload::Bytes(Cow::Borrowed(data));
    Ok(spelled)
}

/// The attributes among the headers: first those that say so, then what else can be one.
fn read_headers<'a>(headers: &'a FieldTable, spelled: &mut Spelled<'a>) {
    let texts = || headers.inner().iter().map(|(name, value)| (name.as_str(), value));
    for (name, value) in texts() {
        let Some(name) = attribute(name) else { continue };
        match (name, text(value)) {
            ("time", Some(value)) => spelled.time = parse_time(&value),
            ("specversion" | "data", _) | (_, None) => {}
            (name, Some(value)) => put(spelled, name, value),
        }
    }
    for (name, value) in texts() {
        if attribute(name).is_some() || CORE_NAMES.contains(&name) {
            continue;
        }
        if let Some(value) = text(value) {
            put(spelled, name, value);
        }
    }
}

/// Sets an attribute that is not set yet, if it can be one.
fn put<'a>(spelled: &mut Spelled<'a>, name: &'a str, value: Cow<'a, str>) {
    let is_known = match name {
        "id" => spelled.id.is_some(),
        "source" => spelled.source.is_some(),
        "type" => spelled.event_type.is_some(),
        "subject" => spelled.subject.is_some(),
        "datacontenttype" => spelled.content_type.is_some(),
        _ => false,
    };
    if !is_known {
        // What cannot be one is no reason to refuse the message.
        drop(spelled.put(Cow::Borrowed(name), value));
    }
}

/// The attribute that a header spells, such as `subject` for `cloudEvents:subject`.
fn attribute(header: &str) -> Option<&str> {
    header.strip_prefix("cloudEvents:").or_else(|| header.strip_prefix("cloudEvents_"))
}

/// A header's value as text.
fn text(value: &AMQPValue) -> Option<Cow<'_, str>> {
    let text = match value {
        AMQPValue::LongString(text) => return str::from_utf8(text.as_bytes()).ok().map(Into::into),
        AMQPValue::ShortString(text) => return Some(text.as_str().into()),
        AMQPValue::Boolean(truth) => truth.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => return None,
    };
    Some(text.into())
}

/// The routing key as a type: it is a name of the same shape. A message that went straight to its
/// queue has only the queue's name there.
fn routing_type(message: &Delivery) -> Option<&str> {
    let is_routed = !message.exchange.as_str().is_empty();
    is_routed.then_some(message.routing_key.as_str())
}

/// The content type that the message says, if it is one.
fn content_type(message: &Delivery) -> Option<&str> {
    let text = message.properties.content_type().as_ref()?.as_str().trim();
    let is_plausible = text.contains('/') && !text.contains(char::is_control);
    is_plausible.then_some(text)
}

/// How the body is packed, if it is.
fn encoding(message: &Delivery) -> Option<&str> {
    let text = message.properties.content_encoding().as_ref()?.as_str().trim();
    let is_plain = ["", "identity", "utf-8", "utf8"].iter().any(|p| text.eq_ignore_ascii_case(p));
    (!is_plain).then_some(text)
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim_end()
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::BadRequest, error.to_string())
}
