//! Lets through a share of the events, the same ones everywhere and always.
//!
//! ```toml
//! [[transform]]
//! plugin = "sample"
//! config = { rate = 0.1, key = 'data.user.id', always = 'data.level == "error"' }
//! ```
//!
//! Whether an event passes depends on its `key` and the `rate` alone, not on chance: all events of
//! one user pass or none does, after a restart, on another machine and in another pipeline too. Who
//! passes at a rate passes at every higher one. `key` is an expression of the plugin `filter`, by
//! default `id`; an event for which it gives null is sampled by its id. Another `salt` picks other
//! keys.
//!
//! What `always` is true for passes in any case. Publishers who know the rule can choose keys that
//! pass: sampling saves work, it keeps nobody out.

#[cfg(test)]
mod tests;

use expression::Expression;
use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Step};

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The share of keys that pass, from 0 to 1.
    rate: f64,
    /// What is sampled; by default the id of an event.
    key: Option<String>,
    /// What passes in any case.
    always: Option<String>,
    /// Goes into every hash, so that two samples need not be the same.
    #[serde(default)]
    salt: String,
}

/// Samples events as one step says.
#[derive(Debug)]
pub struct Sample {
    /// What the expressions read of JSON data.
    fields: Vec<String>,
    /// Keys whose hash is below pass; `None` where all do.
    below: Option<u64>,
    key: Option<Expression>,
    always: Option<Expression>,
    salt: u64,
}

impl Plugin for Sample {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let Config { rate, key, always, salt } = config;
        if !(0.0..=1.0).contains(&rate) {
            return Err(format!("`rate` is {rate}; give a share from 0 to 1, such as 0.1"));
        }
        let mut fields = Vec::new();
        let key = key.map(|text| Expression::computed("key", &text, &mut fields)).transpose()?;
        let always =
            always.map(|text| Expression::condition("always", &text, &mut fields)).transpose()?;
        // 2^64, which the largest rate below 1 does not reach.
        let below = (rate < 1.0).then_some((rate * 18_446_744_073_709_551_616.0) as u64);
        Ok(Self { fields, below, key, always, salt: hash(0, &salt) })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Some(below) = self.below else { return Ok(Action::Keep) };
        if let Some(always) = &self.always
            && always.is_true(event)?
        {
            return Ok(Action::Keep);
        }
        let key = self.key.as_ref().map(|key| key.text(event)).transpose()?.flatten();
        let hash = hash(self.salt, key.as_deref().unwrap_or(event.id()));
        Ok(if hash < below { Action::Keep } else { Action::Drop })
    }

    fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

/// FNV-1a of `text`, then the last step of `MurmurHash3`, which spreads it over all bits.
fn hash(salt: u64, text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ salt;
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = text.bytes().fold(start, step);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

weir_plugin::register!(Sample);
