//! How a pipeline file says which dead letters are kept: `dead_letters = { … }`.

use serde::Deserialize;
use toml::Spanned;

use super::keys::wrong_type;
use crate::component::{BuildError, Settings, Table, Value};
use crate::dead::DeadLetterSettings;
use crate::units::{Size, Time};

/// The fewest bytes that are worth a file: what the largest event of most sources takes.
const BYTES_MIN: usize = 1 << 20;

/// The keys of `dead_letters`.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct DeadLetterKeys {
    /// Most bytes on disk.
    bytes: Option<Spanned<Size>>,
    /// How long a letter is kept.
    age: Option<Spanned<Time>>,
}

/// Takes the key `dead_letters`.
pub(super) fn take_dead_letters(
    table: &mut Table,
    faults: &mut Vec<BuildError>,
) -> DeadLetterSettings {
    let mut settings = DeadLetterSettings::default();
    let Some(entry) = table.take("dead_letters") else { return settings };
    let Value::Table(table) = entry.node.value else {
        let expected = "a table such as `{ bytes = \"256MiB\", age = \"30d\" }`";
        faults.push(wrong_type("dead_letters", &entry.node, expected));
        return settings;
    };
    let keys: DeadLetterKeys = match Settings::new(table).read() {
        Ok(keys) => keys,
        Err(errors) => {
            faults.extend(errors);
            return settings;
        }
    };
    if let Some(bytes) = &keys.bytes {
        settings.bytes_max = bytes.get_ref().0 as u64;
        if bytes.get_ref().0 < BYTES_MIN {
            let message = format!("dead letters need at least {}", Size(BYTES_MIN));
            faults.push(BuildError::new("W0114", message).at(bytes.span()));
        }
    }
    if let Some(age) = &keys.age {
        settings.age_max = age.get_ref().0;
        if settings.age_max.is_zero() {
            let fault = BuildError::new("W0114", "dead letters are kept for longer than no time");
            faults.push(fault.at(age.span()));
        }
    }
    settings
}
