//! An event as an AMQP message: its routing key and properties. The body is the data, verbatim.
//!
//! Attributes travel as `cloudEvents:` headers, as the CloudEvents binding for AMQP names them.

use std::sync::Arc;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use crate::ack::{Code, Refusal};
use crate::event::{Batch, Event};
use crate::template::Template;
use crate::units::format_time;

/// The header by which a returned message is known again: ids may repeat, this does not.
pub(super) const SEQUENCE_HEADER: &str = "x-weir-seq";

/// Most bytes of headers. All properties share one frame, and one that does not fit costs the
/// connection.
const HEADERS_MAX: usize = 96 << 10;

const PERSISTENT: u8 = 2;

/// How events become messages.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) routing_key: Template,
    pub(super) headers: Vec<(ShortString, Template)>,
    pub(super) content_type: Option<ShortString>,
    pub(super) is_persistent: bool,
    /// In milliseconds.
    pub(super) expiration: Option<ShortString>,
    pub(super) priority: Option<u8>,
    pub(super) app_id: ShortString,
    /// Largest body, in bytes.
    pub(super) size_max: usize,
}

impl Recipe {
    /// The routing key and properties for `event`, the same on every call with the same `seq`.
    pub(super) fn render(
        &self,
        event: &Event<'_>,
        seq: u64,
    ) -> Result<(ShortString, BasicProperties), Refusal> {
        if event.data().len() > self.size_max {
            let message = format!("the event is larger than {} bytes", self.size_max);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let routing_key = short("routing key", render(&self.routing_key, event)?)?;
        let mut properties = BasicProperties::default()
            .with_message_id(short("id", event.id().to_owned())?)
            .with_type(short("type", event.event_type().to_owned())?)
            .with_timestamp(event.time() / 1_000_000)
            .with_app_id(self.app_id.clone())
            .with_headers(self.headers(event, seq)?);
        let own = event.content_type().map(|text| short("content type", text.to_owned()));
        if let Some(content_type) = self.content_type.clone().map(Ok).or(own) {
            properties = properties.with_content_type(content_type?);
        }
        if self.is_persistent {
            properties = properties.with_delivery_mode(PERSISTENT);
        }
        if let Some(expiration) = &self.expiration {
            properties = properties.with_expiration(expiration.clone());
        }
        if let Some(priority) = self.priority {
            properties = properties.with_priority(priority);
        }
        Ok((routing_key, properties))
    }

    fn headers(&self, event: &Event<'_>, seq: u64) -> Result<FieldTable, Refusal> {
        let mut headers = FieldTable::default();
        let mut size = 0;
        let mut set = |name: ShortString, value: &str| {
            size += name.as_str().len() + value.len();
            headers.insert(name, AMQPValue::LongString(value.into()));
        };
        set("cloudEvents:specversion".into(), "1.0");
        set("cloudEvents:id".into(), event.id());
        set("cloudEvents:source".into(), event.source());
        set("cloudEvents:type".into(), event.event_type());
        let mut text = String::new();
        format_time(event.time(), &mut text);
        set("cloudEvents:time".into(), &text);
        if let Some(subject) = event.subject() {
            set("cloudEvents:subject".into(), subject);
        }
        for (name, value) in event.extensions() {
            set(short("name of an extension", format!("cloudEvents:{name}"))?, value);
        }
        for (name, template) in &self.headers {
            text.clear();
            template.render_plain(event, &mut text).map_err(|error| refused(&error))?;
            set(name.clone(), &text);
        }
        if size > HEADERS_MAX {
            let message = format!("the event's attributes are larger than {HEADERS_MAX} bytes");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        headers.insert(SEQUENCE_HEADER.into(), AMQPValue::LongLongInt(seq.cast_signed()));
        Ok(headers)
    }
}

/// The sequence number in the headers of a returned message.
pub(super) fn sequence(properties: &BasicProperties) -> Option<u64> {
    match properties.headers().as_ref()?.inner().get(SEQUENCE_HEADER)? {
        AMQPValue::LongLongInt(seq) => Some(seq.cast_unsigned()),
        _ => None,
    }
}

/// A message on its way.
pub(super) struct Outgoing {
    pub(super) seq: u64,
    pub(super) batch: Arc<Batch>,
    pub(super) row: usize,
    pub(super) target: Target,
    pub(super) properties: BasicProperties,
}

/// Where it goes.
pub(super) struct Target {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) is_mandatory: bool,
}

/// Publishes `message`; resolves with what the broker says.
pub(super) async fn send(
    amqp_channel: &Channel,
    message: Outgoing,
) -> (u64, lapin::Result<Confirmation>) {
    let Outgoing { seq, batch, row, target, properties } = message;
    let Target { exchange, routing_key, is_mandatory } = target;
    let options = BasicPublishOptions { mandatory: is_mandatory, immediate: false };
    let data = batch.data.get(row);
    let sent = amqp_channel.basic_publish(exchange, routing_key, options, data, properties).await;
    let confirmation = match sent {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    (seq, confirmation)
}

fn render(template: &Template, event: &Event<'_>) -> Result<String, Refusal> {
    let mut text = String::new();
    template.render(event, &mut text).map_err(|error| refused(&error))?;
    Ok(text)
}

fn refused(error: &impl ToString) -> Refusal {
    Refusal::new(Code::Rejected, error.to_string())
}

/// `text` as the short string that AMQP has for it.
fn short(what: &str, text: String) -> Result<ShortString, Refusal> {
    let size = text.len();
    let too_long = || {
        let message = format!("the {what} has {size} bytes, the broker takes at most 255");
        Refusal::new(Code::Rejected, message)
    };
    ShortString::try_new(text).ok().ok_or_else(too_long)
}
