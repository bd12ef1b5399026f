//! The sinks. A new one is a folder here and two lines in this file.

mod broadcast;
pub mod log;
mod rabbitmq;

use crate::component::SinkType;

/// The sinks, in the order that `weir schema` lists them.
pub const SINKS: &[SinkType] = &[
    SinkType::of::<broadcast::Broadcast>(),
    SinkType::of::<log::Log>(),
    SinkType::of::<rabbitmq::RabbitMq>(),
];
