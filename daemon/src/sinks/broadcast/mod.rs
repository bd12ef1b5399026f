//! The broadcast sink: events to the subscribers of a live hub.
//!
//! A delivery goes to the hub as one batch; an event is settled once the hub has numbered it and
//! handed it to its subscribers' queues.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;

use crate::ack::{Code, Outcome, Refusal};
use crate::component::{BuildContext, BuildError, RunError, Sink};
use crate::edge::{Delivery, Inlet};
use crate::event::Event;
use crate::live::{Channel, Hub, Post};
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
            self.publish(delivery);
        }
        Ok(())
    }
}

impl Broadcast {
    fn publish(&self, delivery: Delivery) {
        let Delivery { batch, acks, .. } = delivery;
        let mut names = String::new();
        let named: Vec<_> = batch.iter().map(|event| self.name(&event, &mut names)).collect();
        let mut posts = Vec::with_capacity(batch.len());
        let mut published = Vec::with_capacity(batch.len());
        for ((event, named), ack) in batch.iter().zip(named).zip(acks) {
            let channel =
                named.and_then(|name| Channel::new(&names[name]).map_err(|error| refusal(&error)));
            match channel {
                Ok(channel) => {
                    posts.push(Post { channel, event });
                    published.push(ack);
                }
                Err(refusal) => ack.refuse(refusal),
            }
        }
        if posts.is_empty() {
            return;
        }
        self.hub.publish(&posts);
        for ack in published {
            ack.settle(Outcome::Delivered);
        }
    }

    /// Appends the name of the event's channel to `names`; answers its place there.
    fn name(&self, event: &Event<'_>, names: &mut String) -> Result<Range<usize>, Refusal> {
        let start = names.len();
        if let Some(template) = &self.channel {
            if let Err(error) = template.render(event, names) {
                names.truncate(start);
                return Err(refusal(&error));
            }
        } else {
            let own = event.extension(CHANNEL_ATTRIBUTE);
            names.push_str(own.unwrap_or_else(|| event.event_type()));
        }
        Ok(start..names.len())
    }
}

fn refusal(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Code::Rejected, format!("the event has no channel: {error}"))
}
