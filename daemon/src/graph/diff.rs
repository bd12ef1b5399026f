//! What to do to get from the pipelines that run to those that the files say.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::component::PipelineName;

/// What two versions of a pipeline are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The pipeline.
    pub name: PipelineName,
    /// Its content, from [`Pipeline::digest`](crate::config::Pipeline::digest).
    pub digest: String,
}

/// The difference between two sets of pipelines, each list by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// To be started.
    pub added: Vec<PipelineName>,
    /// To be built anew and swapped in.
    pub changed: Vec<PipelineName>,
    /// To be drained.
    pub removed: Vec<PipelineName>,
    /// To be left alone.
    pub unchanged: Vec<PipelineName>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares the pipelines that run with those that shall.
pub fn diff(old: &[Digest], new: &[Digest]) -> Plan {
    let old: BTreeMap<_, _> = old.iter().map(|old| (&old.name, &old.digest)).collect();
    let new: BTreeMap<_, _> = new.iter().map(|new| (&new.name, &new.digest)).collect();
    let mut plan = Plan::default();
    for (name, digest) in &new {
        let list = match old.get(name) {
            None => &mut plan.added,
            Some(known) if known == digest => &mut plan.unchanged,
            Some(_) => &mut plan.changed,
        };
        list.push((*name).clone());
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    plan.removed = gone.map(|name| (*name).clone()).collect();
    plan
}
