//! What an expression reads of an event, and the variables that it sees when it runs.
//!
//! Each distinct path, such as `data.user.plan`, is a numbered slot. The tree of an expression
//! names slots (`@3`, and `@3?` for whether it is there) instead of walking through maps, so only
//! the values that are named are ever built.

use cel::common::types::{CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use weir_plugin::{Event, Field};

use crate::functions::{Nothing, truth};
use crate::json::Json;

/// What is read, by slot.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    slots: Vec<Slot>,
    /// For each slot that is a field of the payload, its number among those of the plugin.
    fields: Vec<Option<usize>>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
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
            self.slots.push(slot.clone());
            self.slots.len() - 1
        });
        format!("@{index}{}", if is_presence { "?" } else { "" })
    }

    /// What `slot` is, and its number among the fields of the plugin, if it is one.
    pub(crate) fn slot(&self, slot: usize) -> Option<(&Slot, Option<usize>)> {
        Some((self.slots.get(slot)?, self.fields.get(slot).copied().flatten()))
    }

    /// Gives each field of the payload its number in `fields`, where new ones are added.
    pub(crate) fn place(&mut self, fields: &mut Vec<String>) {
        let place = |slot: &Slot| {
            let Slot::Data(path) = slot else { return None };
            let path = written(path);
            let known = fields.iter().position(|known| *known == path);
            Some(known.unwrap_or_else(|| {
                fields.push(path);
                fields.len() - 1
            }))
        };
        self.fields = self.slots.iter().map(place).collect();
    }
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(reads: &Reads, event: Event<'a>) -> Self {
        let mut values: Vec<Option<Json<'a>>> = Vec::new();
        values.resize_with(reads.slots.len(), || None);
        for ((slot, field), value) in reads.slots.iter().zip(&reads.fields).zip(&mut values) {
            match slot {
                Slot::Data(_) => *value = field.and_then(|field| read(event.field_at(field))),
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

/// A path as the contract writes it.
fn written(path: &[Segment]) -> String {
    let parts = path.iter().map(|segment| match segment {
        Segment::Key(key) => format!("[{}]", serde_json::Value::from(key.as_str())),
        Segment::Index(index) => format!("[{index}]"),
    });
    format!("${}", parts.collect::<String>())
}

/// The value of a field, if there is one.
fn read(field: Field<'_>) -> Option<Json<'_>> {
    match field {
        Field::Absent => None,
        Field::Null => Some(Json::Null),
        Field::Bool(is_true) => Some(Json::Bool(is_true)),
        Field::Number(text) => Some(Json::number(text)),
        Field::Text(text) => Some(Json::text(text)),
        // A number in it that is too large for this parser makes it null.
        Field::Json(text) => Some(serde_json::from_str(text).unwrap_or(Json::Null)),
    }
}
