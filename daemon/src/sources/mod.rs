//! The sources. A new one is a folder here and two lines in this file.

pub mod guard;
pub mod http;
mod pusher;
mod rabbitmq;
pub mod websocket;

use crate::ack::AckMode;
use crate::component::{BuildContext, BuildError, SourceType};

/// The sources, in the order that `weir schema` lists them.
pub const SOURCES: &[SourceType] = &[
    SourceType::of::<http::Http>(),
    SourceType::of::<websocket::WebSocket>(),
    SourceType::of::<pusher::Pusher>(),
    SourceType::of::<rabbitmq::RabbitMq>(),
];

/// Warns about a source that answers before its events are safe.
fn review(ack: Option<AckMode>, cx: &BuildContext<'_>) {
    if ack == Some(AckMode::Accepted) {
        let message = "publishers are answered while their events are in memory only";
        let help = "what a crash takes is lost though it was acknowledged; `settled` or `routed` \
                    answer later and keep it";
        cx.warn(BuildError::new("W0205", message).help(help).about("ack"));
    }
}
