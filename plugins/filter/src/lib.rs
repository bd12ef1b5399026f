//! Keeps or drops events by an expression in CEL, the Common Expression Language.
//!
//! ```toml
//! [[transform]]
//! plugin = "filter"
//! config = { keep = 'data.bot != true' }
//! ```
//!
//! `keep` lets through the events for which it is true, `drop` those for which it is not; where
//! both are given, an event has to pass both. More examples:
//!
//! ```text
//! keep = 'type.startsWith("cart.") && data.total > 100'
//! keep = 'ext.tenant in ["a", "b"]'
//! drop = 'data.items.exists(item, item.sku == "TEST-1")'
//! drop = 'data.user.email.matches("@example\\.(com|org)$")'
//! ```
//!
//! # What an expression can read
//!
//! `id`, `source`, `type` and `subject` are strings (`subject` may be null), `time` is the number
//! of milliseconds since the Unix epoch, `ext` is a map of the extension attributes, and `data` is
//! the payload read as JSON, or null where it is not JSON. Only the fields that the expression
//! names are read.
//!
//! # What is missing is null
//!
//! Publishers leave fields out, so a missing field is not an error, at any depth:
//!
//! - A field that is missing reads as `null`, and so does a field of something without fields:
//!   `data.bot != true` keeps an event without `bot`. `has(data.bot)` tells whether it is there.
//! - Comparing with null by `<`, `<=`, `>`, `>=` is false, as are `startsWith`, `endsWith`,
//!   `contains`, `matches` and `in` on null; null has the size 0 and no elements.
//! - A field where a condition is expected, as in `!data.bot`, counts as true only if it is `true`.
//!
//! What remains is an error of the event, which the step's `on_error` decides about: comparing a
//! string with a number, calculating with null, dividing by zero.
//!
//! Numbers mix as in JSON: `data.price * 2` is right for `10` and for `9.5`. Dividing whole numbers
//! gives a whole number, as CEL has it: `double(data.n) / 4`.

#[cfg(test)]
mod tests;

use expression::Expression;
use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Step};

/// What a pipeline file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Lets through only the events for which this CEL expression is true.
    keep: Option<String>,
    /// Drops the events for which this CEL expression is true.
    drop: Option<String>,
}

/// Judges events by the expressions of one step.
#[derive(Debug)]
pub struct Filter {
    /// The paths that the expressions read, each once.
    fields: Vec<String>,
    keep: Option<Expression>,
    drop: Option<Expression>,
}

impl Plugin for Filter {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if config.keep.is_none() && config.drop.is_none() {
            return Err("nothing to filter by: give `keep`, `drop` or both, as in `keep = \
                        'data.bot != true'`"
                .to_owned());
        }
        let mut fields = Vec::new();
        let mut compile = |key, text: Option<String>| {
            text.map(|text| Expression::condition(key, &text, &mut fields)).transpose()
        };
        let (keep, drop) = (compile("keep", config.keep)?, compile("drop", config.drop)?);
        Ok(Self { fields, keep, drop })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        if let Some(keep) = &self.keep
            && !keep.is_true(event)?
        {
            return Ok(Action::Drop);
        }
        match &self.drop {
            Some(drop) if drop.is_true(event)? => Ok(Action::Drop),
            _ => Ok(Action::Keep),
        }
    }

    fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

weir_plugin::register!(Filter);
