//! `spool` on a sink: a word, or a table with the bounds.

use std::ops::Range;

use serde::Deserialize;

use crate::component::{BuildError, Entry, Settings, SinkType, Value, did_you_mean};
use crate::spool::SpoolSettings;
use crate::store::WhenFull;
use crate::units::{Size, Time};

/// What `spool` may say as a word.
const WORDS: [&str; 2] = ["disk", "none"];

/// The smallest spool: below this one batch would not fit.
const BYTES_MIN: usize = 1 << 20;

/// The keys of `spool` as a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// `disk` or `none`.
    #[serde(rename = "type", default = "disk")]
    kind: String,
    /// Most bytes on disk; 1 GiB by default.
    bytes: Option<Size>,
    /// How long an event is kept for a sink that does not come back; by default for ever, because
    /// its publisher was told that it is safe.
    age: Option<Time>,
    /// What happens to events that do not fit; by default publishers are told to try again.
    #[serde(default)]
    when_full: WhenFull,
    /// How long the sink may owe a verdict before an event is written; 1 second by default.
    after: Option<Time>,
}

fn disk() -> String {
    WORDS[0].to_owned()
}

/// How the events of a sink of the type `kind` are spooled; `None` after a fault.
#[expect(clippy::option_option, reason = "no settings are not a fault")]
pub(super) fn settings(
    entry: Option<Entry>,
    kind: &SinkType,
    faults: &mut Vec<BuildError>,
) -> Option<Option<SpoolSettings>> {
    let default = SpoolSettings::default();
    let Some(entry) = entry else { return Some(kind.is_spooled.then_some(default)) };
    let span = entry.node.span.clone();
    let keys = match entry.node.value {
        Value::Text(kind) => {
            let when_full = default.when_full;
            Keys { kind, bytes: None, age: None, when_full, after: None }
        }
        Value::Table(table) => match Settings::new(table).read() {
            Ok(keys) => keys,
            Err(errors) => {
                faults.extend(errors);
                return None;
            }
        },
        other => {
            let message = format!("`spool` is \"disk\", \"none\" or a table, not {}", other.kind());
            faults.push(BuildError::new("W0202", message).at(span));
            return None;
        }
    };
    match keys.kind.as_str() {
        "none" => Some(None),
        "disk" if kind.is_spooled => bounds(&keys, span, faults).map(Some),
        "disk" => {
            let message = format!("the events of a `{}` sink cannot wait on disk", kind.name);
            let help = "only sinks to another machine have a spool; leave the key out";
            faults.push(BuildError::new("W0116", message).help(help).at(span));
            None
        }
        word => {
            let help = did_you_mean(word, &WORDS, "values here");
            let message = format!("unknown value `{word}`");
            faults.push(BuildError::new("W0204", message).help(help).at(span));
            None
        }
    }
}

fn bounds(keys: &Keys, span: Range<usize>, faults: &mut Vec<BuildError>) -> Option<SpoolSettings> {
    let default = SpoolSettings::default();
    let bytes = keys.bytes.map_or(Ok(default.bytes_max), |Size(bytes)| u64::try_from(bytes));
    let bytes_max = bytes.unwrap_or(u64::MAX);
    if bytes_max < BYTES_MIN as u64 {
        let message = format!("a spool has at least {}", Size(BYTES_MIN));
        faults.push(BuildError::new("W0114", message).at(span));
        return None;
    }
    Some(SpoolSettings {
        bytes_max,
        age_max: keys.age.map(|age| age.0),
        when_full: keys.when_full,
        after: keys.after.map_or(default.after, |after| after.0),
    })
}
