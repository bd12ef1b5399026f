//! The sink `broadcast`: events onto the channels of a live hub.
//!
//! A delivery comes in, goes to the hub in one piece, and is settled once the hub has it.

use std::sync::Arc;

use serde::Deserialize;

use crate::ack::{Code, Outcome, Refusal};
use crate::component::{BuildContext, BuildError, RunError, Sink};
use crate::edge::{Delivery, Inlet};
use crate::event::Event;
use crate::live::{Channel, Hub, Post};
use crate::template::Template;

/// The extension attribute by which an event names its channel.
const CHANNEL_ATTRIBUTE: &str = "channel";

/// The settings of a `broadcast` sink.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The hub, from `[hub.NAME]`; `main` is always there.
    hub: String,
    /// The channel; without it the extension attribute `channel` of the event, else its type.
    channel: Option<Template>,
}

impl Default for Config {
    fn default() -> Self {
        Self { hub: "main".to_owned(), channel: None }
    }
}

/// Hands events to a hub.
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
        let names: Vec<_> = delivery.batch.iter().map(|event| self.name(&event)).collect();
        let mut posts = Vec::with_capacity(names.len());
        let mut refusals = Vec::with_capacity(names.len());
        for (event, name) in delivery.batch.iter().zip(&names) {
            let channel = match name {
                Ok(name) => Channel::new(name).map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            match channel {
                Ok(channel) => {
                    posts.push(Post { channel, event });
                    refusals.push(None);
                }
                Err(why) => refusals.push(Some(format!("no channel for the event: {why}"))),
            }
        }
        self.hub.publish(&posts);
        for (ack, refusal) in delivery.acks.into_iter().zip(refusals) {
            match refusal {
                None => ack.settle(Outcome::Delivered),
                Some(why) => ack.refuse(Refusal::new(Code::Rejected, why)),
            }
        }
    }

    fn name(&self, event: &Event<'_>) -> Result<String, String> {
        let Some(template) = &self.channel else {
            let named = event.extension(CHANNEL_ATTRIBUTE);
            return Ok(named.unwrap_or(event.event_type()).to_owned());
        };
        let mut name = String::new();
        template.render(event, &mut name).map_err(|error| error.to_string())?;
        Ok(name)
    }
}
