//! One stream at a broker: declared, read from a place on, written to.

use std::time::Duration;

use futures_util::FutureExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer, ErrorKind};

use crate::amqp::words;
use crate::live::HistoryLimits;

/// Messages that the broker sends ahead. lapin buffers them all, so this is the only bound.
const PREFETCH: u16 = 256;

/// Messages after which the broker hears that they came.
const ACK_EVERY: u64 = 64;

/// The broker forgets by whole segments, so these are small beside the whole.
const SEGMENT_LEN: i64 = 50_000_000;

/// The least that a stream keeps, in bytes: events are counted in another form there.
const KEPT_LEN_MIN: u64 = 4 * 50_000_000;

/// The least time that a stream keeps them.
const KEPT_AGE_MIN: Duration = Duration::from_secs(3_600);

/// Delivery mode of messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// A stream that may not be there yet.
#[derive(Debug)]
pub(super) struct Stream {
    name: ShortString,
    history: HistoryLimits,
}

/// The end of a stream that messages come out of.
#[derive(Debug)]
pub(super) struct Outflow {
    amqp_channel: Channel,
    pub(super) deliveries: Consumer,
    unacked: u64,
}

/// Why a stream cannot be used.
#[derive(Debug)]
pub(super) enum Broken {
    /// A person has to look.
    Refused(String),
    /// It may pass.
    Lost(String),
}

impl From<lapin::Error> for Broken {
    fn from(error: lapin::Error) -> Self {
        if error.is_amqp_soft_error() {
            Self::Refused(words(&error))
        } else {
            Self::Lost(words(&error))
        }
    }
}

impl Stream {
    pub(super) fn new(name: ShortString, history: HistoryLimits) -> Self {
        Self { name, history }
    }

    /// Declares the stream, unless it is there: daemons may differ in what they would keep. Answers
    /// whether it is new.
    pub(super) async fn declare(&self, connection: &Connection) -> Result<bool, Broken> {
        let control = connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = self.name.clone();
        match control.queue_declare(name.clone(), options, FieldTable::default()).await {
            Ok(_) => {
                drop(control.close(200, "OK".into()).await);
                return Ok(false);
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let control = connection.create_channel().await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        control.queue_declare(name, options, self.arguments()).await?;
        drop(control.close(200, "OK".into()).await);
        Ok(true)
    }

    fn arguments(&self) -> FieldTable {
        let age = self.history.age_max.max(KEPT_AGE_MIN).as_secs();
        let len = (self.history.bytes_max as u64).saturating_mul(2).max(KEPT_LEN_MIN);
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let mut arguments = FieldTable::default();
        for (name, value) in [
            ("x-queue-type", AMQPValue::LongString("stream".into())),
            ("x-max-age", AMQPValue::LongString(format!("{age}s").into())),
            ("x-max-length-bytes", AMQPValue::LongLongInt(len)),
            ("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(SEGMENT_LEN)),
        ] {
            arguments.insert(name.into(), value);
        }
        arguments
    }

    /// A channel to publish on, which confirms.
    pub(super) async fn inflow(&self, connection: &Connection) -> Result<Channel, Broken> {
        let amqp_channel = connection.create_channel().await?;
        amqp_channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(amqp_channel)
    }

    /// What is in the stream from `offset` on, or from about its end.
    pub(super) async fn outflow(
        &self,
        connection: &Connection,
        offset: Option<u64>,
    ) -> Result<Outflow, Broken> {
        let amqp_channel = connection.create_channel().await?;
        amqp_channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let offset = offset.and_then(|offset| i64::try_from(offset).ok());
        let place = offset.map_or(AMQPValue::LongString("last".into()), AMQPValue::LongLongInt);
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), place);
        let options = BasicConsumeOptions::default();
        let name = self.name.clone();
        let deliveries = amqp_channel.basic_consume(name, "".into(), options, arguments).await?;
        Ok(Outflow { amqp_channel, deliveries, unacked: 0 })
    }

    /// Puts one message into the stream.
    pub(super) async fn publish(&self, inflow: &Channel, message: &[u8]) -> Result<(), Broken> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = inflow.basic_publish("".into(), self.name.clone(), options, message, properties);
        match sent.await?.await? {
            Confirmation::Ack(None) => Ok(()),
            _ => Err(Broken::Lost("the stream did not take a message".to_owned())),
        }
    }
}

impl Outflow {
    /// The offset of `delivery`, which came out here.
    pub(super) fn took(&mut self, delivery: &Delivery) -> Result<u64, Broken> {
        self.unacked += 1;
        if self.unacked >= ACK_EVERY {
            self.unacked = 0;
            let options = BasicAckOptions { multiple: true };
            // It is sent while it is polled for the first time; nobody answers it.
            drop(self.amqp_channel.basic_ack(delivery.delivery_tag, options).now_or_never());
        }
        let headers = delivery.properties.headers().as_ref();
        let offset = headers.and_then(|headers| headers.inner().get("x-stream-offset"));
        match offset {
            Some(AMQPValue::LongLongInt(offset)) => Ok(offset.cast_unsigned()),
            _ => Err(Broken::Refused("the queue with the name of the stream is none".to_owned())),
        }
    }

    /// Reads no more.
    pub(super) async fn close(self) {
        drop(self.amqp_channel.close(200, "OK".into()).await);
    }
}

fn is_missing(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
