//! Names of the components of one pipeline: given by the file, or by their type.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::keys::take_text;
use crate::component::{BuildError, ComponentId, PipelineName, Table, Value};

/// The names of one pipeline, as they are given out.
pub(super) struct Names<'a> {
    pipeline: &'a PipelineName,
    /// Names that the file gives, so that no default takes one of them.
    reserved: BTreeSet<String>,
    /// Names given out by the file.
    given: BTreeSet<String>,
    /// How many components each default name went to.
    defaults: BTreeMap<String, usize>,
}

impl<'a> Names<'a> {
    /// Names for the components in `tables`.
    #[expect(single_use_lifetimes, reason = "an anonymous one is not stable here")]
    pub(super) fn of<'t>(
        pipeline: &'a PipelineName,
        tables: impl Iterator<Item = &'t Table>,
    ) -> Self {
        let name = |table: &Table| match &table.get("name")?.node.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        Self {
            pipeline,
            reserved: tables.filter_map(name).collect(),
            given: BTreeSet::new(),
            defaults: BTreeMap::new(),
        }
    }

    /// Takes `name` out of `table`; without one the component is named by its `kind`.
    pub(super) fn take(
        &mut self,
        table: &mut Table,
        kind: Option<&Spanned<String>>,
        faults: &mut Vec<BuildError>,
    ) -> Option<ComponentId> {
        if table.get("name").is_none() {
            return ComponentId::new(self.pipeline, &self.default(kind?.get_ref())).ok();
        }
        let name = take_text(table, "name", faults)?;
        if !self.given.insert(name.get_ref().clone()) {
            let message = format!("there is a component `{name}` already");
            let fault = BuildError::new("W0112", message).at(name.span());
            faults.push(fault.help("names are unique within a pipeline"));
            return None;
        }
        match ComponentId::new(self.pipeline, name.get_ref()) {
            Ok(id) => Some(id),
            Err(error) => {
                faults.push(BuildError::new("W0111", error.to_string()).at(name.span()));
                None
            }
        }
    }

    /// `kind`, or `kind-2`, `kind-3` where that is taken.
    fn default(&mut self, kind: &str) -> String {
        let count = self.defaults.entry(kind.to_owned()).or_default();
        loop {
            *count += 1;
            let name = if *count == 1 { kind.to_owned() } else { format!("{kind}-{count}") };
            if !self.reserved.contains(&name) {
                return name;
            }
        }
    }
}
