//! Lets so many events of each key through in a time.
//!
//! ```toml
//! [[transform]]
//! plugin = "throttle"
//! grants = ["kv"]
//! config = { key = "data.user", events = 100, per = "1m", over = "fail" }
//! ```
//!
//! `key` names whose events are counted together: `id`, `source`, `type`, `subject`, `ext.NAME` or
//! `data.PATH`, or several of them; without it all events of the step are. An event that lacks a
//! part passes uncounted. A time begins with the first event of its key.
//!
//! | `over` | what is over the count |
//! |---|---|
//! | `drop` (default) | is dropped; the publisher is told `filtered` |
//! | `fail` | fails, and the step's `on_error` decides |
//! | `route` | takes the route `over`: a sink with `inputs = ["throttle.over"]` gets it |
//!
//! Counts outlive reloads and restarts. When the state (`limits.state`) is full, events of new keys
//! fail until others expire.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use keyed::{Key, Span};
use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Row, Step, kv};

/// The key of all events, where there is none.
const ALL: &str = "all";

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose events are counted together.
    key: Option<Key>,
    /// How many pass.
    events: i64,
    /// In which time.
    per: Span,
    /// What becomes of the others.
    #[serde(default)]
    over: Over,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Over {
    #[default]
    Drop,
    Fail,
    Route,
}

/// Counts the events of one step.
#[derive(Debug)]
pub struct Throttle {
    config: Config,
}

impl Plugin for Throttle {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if config.events < 1 {
            return Err("`events` is at least 1".to_owned());
        }
        Ok(Self { config })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Config { key, events, per, over } = &self.config;
        let key = match key {
            None => Cow::Borrowed(ALL),
            Some(key) => match key.of(event)? {
                Some(key) => key,
                None => return Ok(Action::Keep),
            },
        };
        if kv::increment(&key, 1, Some(per.0))? <= *events {
            return Ok(Action::Keep);
        }
        match over {
            Over::Drop => Ok(Action::Drop),
            Over::Route => Ok(Action::Emit(vec![Row::new().route("over")])),
            Over::Fail => {
                let millis = per.0.as_millis();
                Err(Failure::invalid(format!("more than {events} events in {millis} ms")))
            }
        }
    }

    fn fields(&self) -> Vec<String> {
        self.config.key.as_ref().map(Key::fields).unwrap_or_default()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

weir_plugin::register!(Throttle);
