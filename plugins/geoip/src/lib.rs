//! Adds to each event where an IP address is, by a database in MaxMind's format.
//!
//! ```toml
//! [table.geoip]
//! file = "GeoLite2-City.mmdb"
//!
//! [[transform]]
//! plugin = "geoip"
//! grants = ["lookup"]
//! config = { ip = "data.client.ip", into = "client.geo" }
//! ```
//!
//! adds `"geo":{"country":"DE","city":"Berlin"}` and what else the database knows.
//!
//! `ip` is `subject`, `ext.NAME` or `data.PATH`; `table` is `geoip` unless named. `fields` says what
//! is added under which name, as paths into the database's record; a number in a path is an element
//! of an array. Without it these are added, as far as they are known:
//!
//! | field | path |
//! |---|---|
//! | `country` | `country.iso_code` |
//! | `region` | `subdivisions.0.iso_code` |
//! | `city` | `city.names.en` |
//! | `latitude`, `longitude` | `location.latitude`, `location.longitude` |
//! | `time_zone` | `location.time_zone` |
//!
//! An event without an address, or with one in no network, passes on as it is. When the database's
//! file is replaced, the new one is in force at once.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use keyed::Key;
use serde::Deserialize;
use serde_json::{Map, Value};
use weir_plugin::lookup::Table;
use weir_plugin::{Action, Batch, Event, Failure, Plugin, Step, Verdicts};

/// What is added unless the config says otherwise.
const FIELDS: [(&str, &str); 6] = [
    ("country", "country.iso_code"),
    ("region", "subdivisions.0.iso_code"),
    ("city", "city.names.en"),
    ("latitude", "location.latitude"),
    ("longitude", "location.longitude"),
    ("time_zone", "location.time_zone"),
];

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The table, as `[table.NAME]` names it.
    #[serde(default = "geoip")]
    table: String,
    /// Where the address is.
    ip: Key,
    /// The field that gets what is known.
    into: String,
    /// What is added: names, and paths into the record.
    fields: Option<BTreeMap<String, String>>,
}

/// Adds to the events of one step.
pub struct GeoIp {
    table: Table,
    ip: Key,
    into: String,
    /// Names, each with the keys on the way to the value.
    fields: Vec<(String, Vec<String>)>,
}

fn geoip() -> String {
    "geoip".to_owned()
}

impl fmt::Debug for GeoIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeoIp").field("into", &self.into).finish_non_exhaustive()
    }
}

impl Plugin for GeoIp {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let Config { table, ip, into, fields } = config;
        if into.is_empty() {
            return Err("`into` is the path of a field, such as `client.geo`".to_owned());
        }
        let usual = || FIELDS.map(|(name, path)| (name.to_owned(), path.to_owned())).to_vec();
        let fields = fields.map_or_else(usual, |fields| fields.into_iter().collect());
        let split = |path: String| path.split('.').map(str::to_owned).collect();
        let fields = fields.into_iter().map(|(name, path)| (name, split(path))).collect();
        Ok(Self { table: Table::open(&table)?, ip, into, fields })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Some(ip) = self.ip.of(event)? else { return Ok(Action::Keep) };
        Ok(self.action(event, self.table.find([ip]).get(0)))
    }

    fn transform_batch(
        &mut self,
        batch: Batch<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> Result<(), String> {
        let ips: Vec<_> = batch.events().map(|event| self.ip.of(&event)).collect();
        let found = self.table.find(ips.iter().filter_map(|ip| ip.as_ref().ok()?.as_deref()));
        let mut next = 0;
        for (event, ip) in batch.events().zip(ips) {
            match ip {
                Ok(None) => verdicts.keep(),
                Ok(Some(_)) => {
                    verdicts.act(self.action(&event, found.get(next)));
                    next += 1;
                }
                Err(failure) => verdicts.fail(failure),
            }
        }
        Ok(())
    }

    fn fields(&self) -> Vec<String> {
        self.ip.fields()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

impl GeoIp {
    fn action(&self, event: &Event<'_>, record: Option<&str>) -> Action {
        let Some(record) = record else { return Action::Keep };
        let record: Value = serde_json::from_str(record).unwrap_or_default();
        let known = self.fields.iter().filter_map(|(name, path)| {
            let value = path.iter().try_fold(&record, |value, key| match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                value => value.get(key),
            });
            Some((name.clone(), value?.clone()))
        });
        let known: Map<String, Value> = known.collect();
        if known.is_empty() {
            return Action::Keep;
        }
        event.set(&self.into, Value::Object(known)).into()
    }
}

weir_plugin::register!(GeoIp);
