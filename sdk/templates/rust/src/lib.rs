//! Adds the tax to orders and drops pings.

use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Step};

/// The `config` table of the step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    rate: f64,
}

/// The plugin.
pub struct Tax {
    rate: f64,
}

impl Plugin for Tax {
    type Config = Config;

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if !(0.0..1.0).contains(&config.rate) {
            return Err("`rate` is a fraction, such as 0.19".into());
        }
        Ok(Self { rate: config.rate })
    }

    /// What it reads of JSON data: the daemon finds it, which is much faster than `event.json()`.
    fn fields(&self) -> Vec<String> {
        vec!["net".into()]
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        match event.event_type() {
            "ping" => return Ok(Action::Drop),
            "order" => {}
            _ => return Ok(Action::Keep),
        }
        let net = event.field("net").as_f64();
        let net = net.ok_or_else(|| Failure::invalid("an order has a `net`"))?;
        Ok(event.set("tax", net * self.rate).into())
    }
}

weir_plugin::register!(Tax);

#[cfg(test)]
mod tests;
