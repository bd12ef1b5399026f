//! How a pipeline file declares tables to look things up in: `[table.NAME]`.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::keys::wrong_type;
use crate::component::{BuildError, PipelineName, Settings, Table, Value};
use crate::lookup::{Format, TableSettings};

/// A `[table.NAME]`.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Its name.
    pub name: String,
    /// Where it is and what it is.
    pub settings: TableSettings,
    /// Where the file says which file.
    pub span: Range<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableKeys {
    file: Spanned<String>,
    format: Option<Format>,
    key: Option<Spanned<String>>,
}

/// Takes the key `table`; the files that it names are relative to `dir`.
pub(super) fn take_lookups(
    table: &mut Table,
    dir: &Path,
    faults: &mut Vec<BuildError>,
) -> Vec<TableSpec> {
    let Some(entry) = table.take("table") else { return Vec::new() };
    let Value::Table(tables) = entry.node.value else {
        let fault = wrong_type("table", &entry.node, "tables with names");
        faults.push(fault.help("write `[table.NAME]`, with single brackets and a name"));
        return Vec::new();
    };
    let mut specs = Vec::with_capacity(tables.entries.len());
    for entry in tables.entries {
        if let Err(error) = PipelineName::new(&entry.key) {
            faults.push(BuildError::new("W0111", error.to_string()).at(entry.key_span));
            continue;
        }
        let Value::Table(keys) = entry.node.value else {
            let fault = wrong_type(&entry.key, &entry.node, "a table");
            faults.push(fault.help(format!("write `[table.{}]`", entry.key)));
            continue;
        };
        match Settings::new(keys).read::<TableKeys>() {
            Ok(keys) => specs.extend(spec(entry.key, &keys, dir, faults)),
            Err(errors) => faults.extend(errors),
        }
    }
    specs
}

fn spec(
    name: String,
    keys: &TableKeys,
    dir: &Path,
    faults: &mut Vec<BuildError>,
) -> Option<TableSpec> {
    let (file, span) = (dir.join(keys.file.get_ref()), keys.file.span());
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let Some(format) = keys.format.or_else(|| Format::of_extension(&extension)) else {
        let message = format!("`{}` does not say what its format is", keys.file.get_ref());
        let help = format!("add `format`, one of `{}`", Format::NAMES.join("`, `"));
        faults.push(BuildError::new("W0202", message).help(help).at(span));
        return None;
    };
    if let (Some(key), Format::Json | Format::Mmdb) = (&keys.key, format) {
        let message = "a table of this format has its keys in one place only";
        let help = "remove `key`; it names the column of a CSV file, or the field of JSON lines";
        faults.push(BuildError::new("W0202", message).help(help).at(key.span()));
        return None;
    }
    let key = keys.key.as_ref().map(|key| key.get_ref().clone());
    Some(TableSpec { name, settings: TableSettings { file, format, key }, span })
}
