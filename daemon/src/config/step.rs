//! A step alone: what a `[[transform]]` says about its plugin, in a file of its own.
//!
//! The tools for authors read one beside the events that they run a plugin on.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use toml::Spanned;

use super::interpolate::Interpolation;
use super::limits::{LimitKeys, grants as granted, limits};
use super::listing::read_text;
use super::tables::{TableSpec, take_lookups};
use super::{Environment, Fault, SourceFile};
use crate::component::{BuildError, Settings, Table};
use crate::lookup::LookupTable;
use crate::wasm::{Lends, Limits};

/// `config`, `limits` and `grants` of a step, and the tables that it looks things up in, as in a
/// pipeline file.
#[derive(Debug)]
pub struct StepFile {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The plugin's configuration as JSON; `{}` if none is given.
    pub config_json: String,
    /// Where the configuration is in the file.
    pub config_span: Range<usize>,
    /// What one call may use.
    pub limits: Limits,
    /// The capabilities that the plugin gets.
    pub grants: Vec<String>,
    /// What these give access to: the tables of the file, and state that nothing outlives.
    pub lends: Lends,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Taken out before; here for who misspells it.
    #[serde(default, rename = "config")]
    _config: Option<IgnoredAny>,
    #[serde(default)]
    limits: LimitKeys,
    #[serde(default)]
    grants: Vec<Spanned<String>>,
}

impl StepFile {
    /// Reads the file at `path`; one that is not there says nothing, which is fine too.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(path: &Path, environment: &Environment) -> Result<Self, Vec<Fault>> {
        let text = if path.exists() {
            read_text(path).map_err(|fault| vec![fault])?
        } else {
            String::new()
        };
        let (mut table, mut faults) = Table::parse(&text);
        let dir = path.parent().unwrap_or(Path::new(""));
        let mut interpolation = Interpolation::new(environment, dir, &text);
        interpolation.table(&mut table);
        faults.append(&mut interpolation.faults);
        let secrets = interpolation.secrets;
        let tables = take_lookups(&mut table, dir, &mut faults);
        let config = table.take("config");
        let config_span = config.as_ref().map_or(0..0, |config| config.node.span.clone());
        let config_json = super::json::text(config.map(|config| config.node), &mut faults);
        let keys = Settings::new(table).read::<Keys>().map_err(|errors| faults.extend(errors)).ok();
        let (limits, grants) = match keys {
            Some(keys) => (limits(&keys.limits, &mut faults), granted(keys.grants, &mut faults)),
            None => (Limits::default(), Vec::new()),
        };
        let tables: Vec<_> = tables.iter().filter_map(|spec| loaded(spec, &mut faults)).collect();
        let lends = Lends { tables: tables.into(), ..Lends::default() };
        let file = Arc::new(SourceFile::new(path, text).hiding(secrets));
        match config_json {
            Some(config_json) if faults.is_empty() => {
                Ok(Self { file, config_json, config_span, limits, grants, lends })
            }
            _ => Err(file.faults(faults)),
        }
    }
}

/// The table, read.
fn loaded(spec: &TableSpec, faults: &mut Vec<BuildError>) -> Option<(String, Arc<LookupTable>)> {
    let table = LookupTable::new(spec.settings.clone());
    match table.prepare() {
        Ok(fresh) => {
            fresh.into_iter().for_each(|fresh| table.replace(fresh));
            Some((spec.name.clone(), Arc::new(table)))
        }
        Err(error) => {
            faults.push(BuildError::new("W0604", error.to_string()).at(spec.span.clone()));
            None
        }
    }
}
