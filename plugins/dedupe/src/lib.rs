//! Lets one event of each key through in a time, and drops its repeats.
//!
//! ```toml
//! [[transform]]
//! plugin = "dedupe"
//! grants = ["kv"]
//! config = { key = ["data.order", "data.state"], within = "1h" }
//! limits = { state = "64MiB" }
//! ```
//!
//! `key` names what makes two events the same, and is `["source", "id"]` unless given: a part is
//! `id`, `source`, `type`, `subject`, `ext.NAME` or `data.PATH`. An event that lacks a part has no
//! repeats. The time counts from the first event of the key; repeats do not make it longer.
//!
//! What was seen outlives reloads and restarts. A key takes its length and some 100 bytes, so
//! 16 MiB of state, which a step has unless `limits.state` says otherwise, hold some 100,000. When
//! the state is full, events of new keys fail until older ones expire, and the step's `on_error`
//! decides: `on_error = "pass"` rather repeats an event than loses one.

#[cfg(test)]
mod tests;

use keyed::{Key, Span};
use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Step, kv};

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What makes two events the same.
    key: Option<Key>,
    /// How long repeats are dropped.
    within: Span,
}

/// Drops the repeats of one step.
#[derive(Debug)]
pub struct Dedupe {
    key: Key,
    within: Span,
}

impl Plugin for Dedupe {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let key = config.key.unwrap_or_else(Key::of_event);
        Ok(Self { key, within: config.within })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Some(key) = self.key.of(event)? else { return Ok(Action::Keep) };
        let is_first = kv::increment(&key, 1, Some(self.within.0))? == 1;
        Ok(if is_first { Action::Keep } else { Action::Drop })
    }

    fn fields(&self) -> Vec<String> {
        self.key.fields()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

weir_plugin::register!(Dedupe);
