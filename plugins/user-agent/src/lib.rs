//! Tells browser, system and device from what a browser calls itself.
//!
//! ```toml
//! [[transform]]
//! plugin = "user-agent"
//! config = { from = "headers.userAgent", to = "agent" }
//! ```
//!
//! `from` is the path of the text in JSON data, `to` (by default `agent`) that of the answer, which
//! leaves out what is not known:
//!
//! ```json
//! {"browser":"Chrome","version":"126","system":"Windows","systemVersion":"10","device":"desktop","bot":false}
//! ```
//!
//! `device` is `desktop`, `mobile`, `tablet`, `tv`, `console`, `bot` or `other`. An event without
//! such a text passes as it came.
//!
//! Browsers say less than they used to: Windows 11 calls itself 10, macOS stays at 10.15.7, and
//! browsers built on Chrome that do not name themselves, such as Brave, are taken for it. Tools and
//! crawlers that name themselves are bots; those that pose as browsers are not found out.

mod agent;
mod rules;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Step, Value};

use crate::agent::Agent;

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The path of what a browser calls itself.
    from: String,
    /// The path of what is told from it.
    #[serde(default = "to")]
    to: String,
}

/// Reads what browsers call themselves.
#[derive(Debug)]
pub struct UserAgent {
    from: String,
    to: String,
}

impl Plugin for UserAgent {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let Config { from, to } = config;
        for (key, path) in [("from", &from), ("to", &to)] {
            path.parse::<weir_fields::Path>().map_err(|error| format!("`{key}`: {error}"))?;
        }
        Ok(Self { from, to })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        match event.field_at(0).as_str() {
            Some(text) => {
                Ok(event.set(self.to.as_str(), Value::json(Agent::of(text).to_json())).into())
            }
            None => Ok(Action::Keep),
        }
    }

    fn fields(&self) -> Vec<String> {
        vec![self.from.clone()]
    }
}

fn to() -> String {
    "agent".to_owned()
}

weir_plugin::register!(UserAgent);
