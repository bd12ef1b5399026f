//! What a component needs at the broker: an exchange, perhaps a queue and its bindings.
//!
//! Declared and checked on a channel of its own whenever a working channel is opened, because
//! an exchange that is missing costs the channel that names it everything in flight there.

use lapin::options::{
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::dial::words;

/// What a component needs at the broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Topology {
    /// Where messages are published, or come from; empty for the default exchange.
    pub(crate) exchange: ShortString,
    /// How to declare the exchange, if that is ours to do.
    pub(crate) declare_exchange: Option<ExchangeDeclaration>,
    pub(crate) queue: Option<QueueDeclaration>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExchangeDeclaration {
    pub(crate) kind: ExchangeKind,
    pub(crate) is_durable: bool,
    pub(crate) arguments: FieldTable,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueueDeclaration {
    pub(crate) name: ShortString,
    pub(crate) arguments: FieldTable,
    pub(crate) bindings: Vec<ShortString>,
}

/// Why there is no channel to work on.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The exchange does not exist and is not ours to declare.
    NoExchange,
    /// The broker refuses the declaration: a person has to look.
    Refused(String),
    /// The connection broke, or something else that may pass.
    Broken(String),
}

impl From<lapin::Error> for OpenError {
    fn from(error: lapin::Error) -> Self {
        if error.is_amqp_soft_error() {
            Self::Refused(words(&error))
        } else {
            Self::Broken(words(&error))
        }
    }
}

/// Opens a channel that confirms, once everything it needs is there.
pub(crate) async fn open(
    connection: &Connection,
    topology: &Topology,
) -> Result<Channel, OpenError> {
    prepare(connection, topology).await?;
    let amqp_channel = connection.create_channel().await?;
    amqp_channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(amqp_channel)
}

/// Declares and checks what `topology` says.
pub(crate) async fn prepare(connection: &Connection, topology: &Topology) -> Result<(), OpenError> {
    let control = connection.create_channel().await?;
    declare(&control, topology).await?;
    drop(control.close(200, "OK".into()).await);
    Ok(())
}

async fn declare(control: &Channel, topology: &Topology) -> Result<(), OpenError> {
    let exchange = &topology.exchange;
    if let Some(declaration) = &topology.declare_exchange {
        let options = ExchangeDeclareOptions {
            durable: declaration.is_durable,
            ..ExchangeDeclareOptions::default()
        };
        let ExchangeDeclaration { kind, arguments, .. } = declaration.clone();
        control.exchange_declare(exchange.clone(), kind, options, arguments).await?;
    } else if !exchange.as_str().is_empty() {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let kind = ExchangeKind::default();
        let looked =
            control.exchange_declare(exchange.clone(), kind, options, FieldTable::default()).await;
        looked.map_err(
            |error| if is_missing(&error) { OpenError::NoExchange } else { error.into() },
        )?;
    }
    let Some(queue) = &topology.queue else { return Ok(()) };
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    control.queue_declare(queue.name.clone(), options, queue.arguments.clone()).await?;
    for key in &queue.bindings {
        let options = QueueBindOptions::default();
        let (name, key) = (queue.name.clone(), key.clone());
        control.queue_bind(name, exchange.clone(), key, options, FieldTable::default()).await?;
    }
    Ok(())
}

fn is_missing(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
