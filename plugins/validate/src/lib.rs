//! Refuses events whose JSON data does not fit a JSON Schema.
//!
//! ```toml
//! [[transform]]
//! plugin = "validate"
//! config = { schema = "${file:schemas/order.json}" }
//! on_error = "dead-letter"
//! ```
//!
//! `schema` is a JSON Schema of draft 2020-12, as JSON text or as a table. An event that does not
//! fit fails, and `on_error` decides what becomes of it; its publisher is told where and why, with
//! the places as JSON pointers, five of them at most:
//!
//! ```text
//! `/items/0/sku` is missing; `/total` is a string, not a number
//! ```
//!
//! Values of the data are not repeated. Data that is not JSON fails as well.
//!
//! # What is checked
//!
//! All keywords that assert something, but for those that look at what others evaluated
//! (`unevaluatedProperties`, `unevaluatedItems`) and `$dynamicRef`. `$ref` reaches within the schema
//! (`#/$defs/item`), not into other files. `format` says nothing but to readers, as the draft has
//! it. From draft 7, `definitions`, lists in `items`, and `additionalItems` are understood. A keyword
//! that is not known is refused, because it may be a typing error; what begins with `x-` is yours.
//! Patterns are regular expressions without look-around and back-references.

mod check;
mod compile;
mod equal;
mod keywords;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;
use weir_plugin::{Action, Event, Failure, Plugin, Step};

use crate::compile::Schema;

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The schema, or its text.
    schema: Value,
}

/// Checks events against the schema of one step.
#[derive(Debug)]
pub struct Validate {
    schema: Schema,
}

impl Plugin for Validate {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let schema = match config.schema {
            Value::String(text) => serde_json::from_str(&text)
                .map_err(|error| format!("`schema` is a text, but not of JSON: {error}"))?,
            schema => schema,
        };
        Ok(Self { schema: Schema::compile(&schema)? })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let data: Value = event.json()?;
        match self.schema.check(&data) {
            Ok(()) => Ok(Action::Keep),
            Err(misfits) => Err(Failure::invalid(misfits.join("; "))),
        }
    }
}

weir_plugin::register!(Validate);
