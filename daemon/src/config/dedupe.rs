//! How a pipeline file says which repeats are kept back: `dedupe = { … }` or `dedupe = "none"`.

use serde::Deserialize;
use toml::Spanned;

use super::keys::wrong_type;
use crate::ack::DedupeSettings;
use crate::component::{BuildError, Settings, Table, Value};
use crate::units::Time;

/// The most ids that one pipeline can remember: they take some 64 bytes each.
const EVENTS_MAX: usize = 10_000_000;

/// The keys of `dedupe`.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct DedupeKeys {
    /// Ids that are remembered at least.
    events: Option<Spanned<usize>>,
    /// How long they are remembered at least.
    age: Option<Spanned<Time>>,
}

/// Takes the key `dedupe`; without it the default window is kept.
pub(super) fn take_dedupe(
    table: &mut Table,
    faults: &mut Vec<BuildError>,
) -> Option<DedupeSettings> {
    let Some(entry) = table.take("dedupe") else { return Some(DedupeSettings::default()) };
    let table = match entry.node.value {
        Value::Table(table) => table,
        Value::Text(text) if text == "none" => return None,
        _ => {
            let expected = "a table such as `{ events = 100000, age = \"5m\" }`, or \"none\"";
            faults.push(wrong_type("dedupe", &entry.node, expected));
            return None;
        }
    };
    match Settings::new(table).read() {
        Ok(keys) => Some(settings(&keys, faults)),
        Err(errors) => {
            faults.extend(errors);
            None
        }
    }
}

fn settings(keys: &DedupeKeys, faults: &mut Vec<BuildError>) -> DedupeSettings {
    let mut settings = DedupeSettings::default();
    let turned_off = "to take repeats write `dedupe = \"none\"`";
    if let Some(events) = &keys.events {
        settings.events = *events.get_ref();
        if !(1..=EVENTS_MAX).contains(&settings.events) {
            let message = format!("a pipeline remembers between 1 and {EVENTS_MAX} events");
            faults.push(BuildError::new("W0114", message).help(turned_off).at(events.span()));
        }
    }
    if let Some(age) = &keys.age {
        settings.age = age.get_ref().0;
        if settings.age.is_zero() {
            let fault = BuildError::new("W0114", "events are remembered for longer than no time");
            faults.push(fault.help(turned_off).at(age.span()));
        }
    }
    settings
}
