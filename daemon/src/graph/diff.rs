//! What a reload changes: the pipelines in force against those that the files say.

use std::collections::BTreeMap;

use crate::component::PipelineName;

/// The difference between two generations, each list by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the files only.
    pub added: Vec<PipelineName>,
    /// In both, but not alike.
    pub changed: Vec<PipelineName>,
    /// In force only.
    pub removed: Vec<PipelineName>,
    /// In both and alike.
    pub unchanged: Vec<PipelineName>,
}

/// Compares digests by name.
pub fn diff(old: &BTreeMap<PipelineName, String>, new: &BTreeMap<PipelineName, String>) -> Plan {
    let mut plan = Plan::default();
    for (name, digest) in new {
        let list = match old.get(name) {
            None => &mut plan.added,
            Some(known) if known == digest => &mut plan.unchanged,
            Some(_) => &mut plan.changed,
        };
        list.push(name.clone());
    }
    plan.removed.extend(old.keys().filter(|name| !new.contains_key(*name)).cloned());
    plan
}
