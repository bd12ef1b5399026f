//! The broadcast sink: events to the subscribers of a live hub.
//!
//! A delivery goes to the hub as one parcel. The hub settles an event once it has numbered it and
//! handed it to its subscribers' queues; a durable hub has it on disk by then.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;

use crate::ack::{Code, Refusal};
use crate::component::{BuildContext, BuildError, RunError, Sink};
use crate::edge::{Delivery, Inlet};
use crate::event::Event;
use crate::live::{Channel, Hub, Parcel};
use crate::template::Template;

/// The extension attribute that names a channel.
const CHANNEL_ATTRIBUTE: &str = "channel";

/// The settings of a broadcast sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The hub, as `[hub.NAME]` in `weir.toml` declares it. `main` by default, which always is
    /// there.
    pub hub: String,
    /// The channel of an event, such as `"{{type}}"`. Absent means the event's own attribute
    /// `channel`, and its type where it has none.
    pub channel: Option<Template>,
}

impl Default for Config {
    fn default() -> Self {
        Self { hub: "main".to_owned(), channel: None }
    }
}

/// The broadcast sink.
#[derive(Debug)]
pub(super) struct Broadcast {
    hub: Arc<Hub>,
    channel: Option<Template>,
}

impl Sink for Broadcast {
    const TYPE: &'static str = "broadcast";
    const IS_DURABLE: bool = false;
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        let constant = config.channel.as_ref().and_then(Template::as_constant);
        if let Some(Err(error)) = constant.map(Channel::new) {
            let message = format!("`channel` names no channel: {error}");
            let help = "a channel is made of words split by dots, as in `shop.orders`";
            return Err(BuildError::new("W0202", message).help(help));
        }
        Ok(Self { hub: cx.hub(&config.hub)?, channel: config.channel })
    }

    async fn run(self, mut input: Inlet) -> Result<(), RunError> {
        while let Some(delivery) = input.recv().await {
            self.hub.deliver(self.address(delivery)).await;
        }
        self.hub.settled().await;
        Ok(())
    }
}

impl Broadcast {
    /// Names the channel of every event, and refuses those that have none.
    fn address(&self, delivery: Delivery) -> Parcel {
        let Delivery { batch, acks, .. } = delivery;
        let mut parcel = Parcel::new(Arc::clone(&batch));
        let mut name = String::new();
        for ((row, event), ack) in (0..).zip(batch.iter()).zip(acks) {
            name.clear();
            let named = self.name(&event, &mut name);
            let channel = named.and_then(|()| Channel::new(&name).map_err(|error| refusal(&error)));
            match channel {
                Ok(channel) => parcel.push(row, channel, ack),
                Err(refusal) => ack.refuse(refusal),
            }
        }
        parcel
    }

    /// Appends the name of the event's channel to `name`.
    fn name(&self, event: &Event<'_>, name: &mut String) -> Result<(), Refusal> {
        if let Some(template) = &self.channel {
            return template.render(event, name).map_err(|error| refusal(&error));
        }
        let own = event.extension(CHANNEL_ATTRIBUTE);
        name.push_str(own.unwrap_or_else(|| event.event_type()));
        Ok(())
    }
}

fn refusal(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Code::Rejected, format!("the event has no channel: {error}"))
}
