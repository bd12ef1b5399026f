//! Adds to each event what a table says about its key.
//!
//! ```toml
//! [table.users]
//! file = "users.csv"
//!
//! [[transform]]
//! plugin = "enrich"
//! grants = ["lookup"]
//! config = { table = "users", key = "data.user", into = "profile" }
//! ```
//!
//! turns `{"user":"ann"}` into `{"user":"ann","profile":{"plan":"pro"}}` where the row of `ann` has
//! the column `plan`.
//!
//! `key` is `id`, `source`, `type`, `subject`, `ext.NAME` or `data.PATH`. `into` is the path of a
//! field of the JSON data; objects on the way to it are made. All keys of a batch are looked up at
//! once, in one state of the table. `missing` says what becomes of an event whose key is not in
//! the table, or that has no key: `keep` it (default), `drop` it, or `fail` it.

#[cfg(test)]
mod tests;

use std::fmt;

use keyed::Key;
use serde::Deserialize;
use weir_plugin::lookup::Table;
use weir_plugin::{Action, Batch, Event, Failure, Plugin, Step, Value, Verdicts};

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The table, as `[table.NAME]` names it.
    table: String,
    /// What is looked up.
    key: Key,
    /// The field that gets what was found.
    into: String,
    /// What becomes of events of which the table knows nothing.
    #[serde(default)]
    missing: Missing,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Keep,
    Drop,
    Fail,
}

/// Adds to the events of one step.
pub struct Enrich {
    table: Table,
    config: Config,
}

impl fmt::Debug for Enrich {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrich").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Plugin for Enrich {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if config.into.is_empty() {
            return Err("`into` is the path of a field, such as `user.profile`".to_owned());
        }
        Ok(Self { table: Table::open(&config.table)?, config })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Some(key) = self.config.key.of(event)? else { return self.missing() };
        let found = self.table.find([key]);
        self.action(event, found.get(0))
    }

    fn transform_batch(
        &mut self,
        batch: Batch<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> Result<(), String> {
        let keys: Vec<_> = batch.events().map(|event| self.config.key.of(&event)).collect();
        let found = self.table.find(keys.iter().filter_map(|key| key.as_ref().ok()?.as_deref()));
        let mut next = 0;
        for key in keys {
            let is_asked = matches!(key, Ok(Some(_)));
            next += usize::from(is_asked);
            let value = if is_asked { found.get(next - 1) } else { None };
            match (key, value) {
                (Err(failure), _) => verdicts.fail(failure),
                (_, Some(value)) => {
                    verdicts.patch_with(|changes| changes.set_json(&self.config.into, value));
                }
                (_, None) => match self.missing() {
                    Ok(action) => verdicts.act(action),
                    Err(failure) => verdicts.fail(failure),
                },
            }
        }
        Ok(())
    }

    fn fields(&self) -> Vec<String> {
        self.config.key.fields()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

impl Enrich {
    fn action(&self, event: &Event<'_>, found: Option<&str>) -> Result<Action, Failure> {
        match found {
            Some(value) => Ok(event.set(&self.config.into, Value::json(value)).into()),
            None => self.missing(),
        }
    }

    fn missing(&self) -> Result<Action, Failure> {
        match self.config.missing {
            Missing::Keep => Ok(Action::Keep),
            Missing::Drop => Ok(Action::Drop),
            Missing::Fail => {
                let message = format!("the table `{}` does not have its key", self.config.table);
                Err(Failure::invalid(message))
            }
        }
    }
}

weir_plugin::register!(Enrich);
