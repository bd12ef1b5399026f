//! What an expression reads of an event, and the variables that it sees when it runs.
//!
//! Each distinct path, such as `data.user.plan`, is a numbered slot. The tree of an expression
//! names slots (`@3`, and `@3?` for whether it is there) instead of walking through maps, so only
//! the values that are named are ever built.

use cel::common::types::{CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use weir_plugin::Event;

use crate::extract::{Segment, Wanted};
use crate::functions::{Nothing, truth};
use crate::json::Json;

/// What is read, by slot.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    slots: Vec<Slot>,
    wanted: Wanted,
}

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A path into the payload; the empty one is all of it.
    Data(Vec<Segment>),
    /// An extension attribute.
    Extension(String),
    /// All extension attributes, as a map.
    Extensions,
}

/// One event as an expression sees it.
pub(crate) struct Snapshot<'a> {
    event: Event<'a>,
    values: Vec<Option<Json<'a>>>,
}

impl Reads {
    /// The name of the variable that holds `slot`, or whether it is there.
    pub(crate) fn variable(&mut self, slot: &Slot, is_presence: bool) -> String {
        let known = self.slots.iter().position(|known| known == slot);
        let index = known.unwrap_or_else(|| {
            if let Slot::Data(path) = slot {
                self.wanted.add(path, self.slots.len());
            }
            self.slots.push(slot.clone());
            self.slots.len() - 1
        });
        format!("@{index}{}", if is_presence { "?" } else { "" })
    }

    pub(crate) fn reads_data(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Data(_)))
    }
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(reads: &Reads, event: Event<'a>) -> Self {
        let mut values: Vec<Option<Json<'a>>> = Vec::new();
        values.resize_with(reads.slots.len(), || None);
        if reads.reads_data() {
            reads.wanted.extract(event.data(), &mut values);
        }
        for (slot, value) in reads.slots.iter().zip(&mut values) {
            match slot {
                Slot::Data(_) => {}
                Slot::Extension(name) => *value = event.extension(name).map(Json::text),
                Slot::Extensions => {
                    let entries = event.extensions();
                    let entries = entries.map(|(name, value)| (name.into(), Json::text(value)));
                    *value = Some(Json::Object(entries.collect()));
                }
            }
        }
        Self { event, values }
    }

    fn slot(&self, name: &str) -> Option<CowVal<'_, '_>> {
        if let Some(index) = name.strip_suffix('?') {
            let is_present = self.values.get(index.parse::<usize>().ok()?)?.is_some();
            return Some(truth(is_present));
        }
        let value = self.values.get(name.parse::<usize>().ok()?)?;
        Some(value.as_ref().map_or(CowVal::Borrowed(&Nothing), Json::to_val))
    }
}

impl VariableResolver for Snapshot<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match variable {
            "id" => text(self.event.id()),
            "source" => text(self.event.source()),
            "type" => text(self.event.event_type()),
            "subject" => match self.event.subject() {
                Some(subject) => text(subject),
                None => Some(CowVal::Borrowed(&Nothing)),
            },
            "time" => {
                let milliseconds = i64::try_from(self.event.time() / 1000).unwrap_or(i64::MAX);
                Some(CowVal::owned(CelInt::from(milliseconds)))
            }
            _ => self.slot(variable.strip_prefix('@')?),
        }
    }
}
