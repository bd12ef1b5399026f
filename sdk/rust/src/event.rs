//! The events of a batch as an author reads them: a view over columns that copies nothing.

use std::fmt;

use serde::Deserialize;

use crate::action::Failure;
use crate::bindings::weir::plugin::types;
use crate::field::Field;
use crate::patch::{Patch, Value};

/// Marks an absent entry of a dictionary column.
pub(crate) const NONE: u32 = u32::MAX;

/// The bit of a kind that marks a key that is named more than once.
const AMBIGUOUS: u8 = 0x80;

/// The kind of every field of data that is not JSON.
const NOT_JSON: u8 = 7;

/// The events that arrive together, in order.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    columns: &'a types::Batch,
    /// The paths of the fields in `columns`.
    fields: &'a [String],
}

/// One event: the attributes of CloudEvents 1.0 and the data.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    columns: &'a types::Batch,
    fields: &'a [String],
    index: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(columns: &'a types::Batch, fields: &'a [String]) -> Self {
        Self { columns, fields }
    }

    /// How many events there are.
    pub fn len(self) -> usize {
        self.columns.times.len()
    }

    /// Whether there is no event.
    pub fn is_empty(self) -> bool {
        self.columns.times.is_empty()
    }

    /// The event at `index`.
    ///
    /// # Panics
    /// If there is no such event.
    pub fn event(self, index: usize) -> Event<'a> {
        assert!(index < self.len(), "a batch of {} has no event {index}", self.len());
        Event { columns: self.columns, fields: self.fields, index }
    }

    /// The events, in the order they arrived.
    pub fn events(self) -> impl ExactSizeIterator<Item = Event<'a>> {
        (0..self.len()).map(move |index| Event {
            columns: self.columns,
            fields: self.fields,
            index,
        })
    }

    /// Whether the payloads came along, see [`Plugin::needs_data`](crate::Plugin::needs_data).
    pub(crate) fn has_data(self) -> bool {
        self.columns.data_ends.len() == self.len()
    }
}

impl<'a> Event<'a> {
    /// Its place in the batch.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Unique within [`source`](Self::source); a repeated delivery has the same one.
    pub fn id(&self) -> &'a str {
        &self.columns.ids[span(&self.columns.id_ends, self.index)]
    }

    /// Where it happened, a URI reference.
    pub fn source(&self) -> &'a str {
        self.word(self.columns.sources[self.index])
    }

    /// What happened, a hierarchical name such as `cart.add`.
    pub fn event_type(&self) -> &'a str {
        self.word(self.columns.types[self.index])
    }

    /// What it happened to.
    pub fn subject(&self) -> Option<&'a str> {
        self.entry(self.columns.subjects[self.index])
    }

    /// The media type of [`data`](Self::data), if the publisher named one.
    pub fn content_type(&self) -> Option<&'a str> {
        self.entry(self.columns.content_types[self.index])
    }

    /// When it happened, in microseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.columns.times[self.index]
    }

    /// The payload; empty where the plugin said that it needs none.
    pub fn data(&self) -> &'a [u8] {
        if self.columns.data_ends.is_empty() {
            return &[];
        }
        &self.columns.data[span(&self.columns.data_ends, self.index)]
    }

    /// The payload as text.
    ///
    /// # Errors
    /// A failure that blames the event, if the payload is not UTF-8.
    pub fn text(&self) -> Result<&'a str, Failure> {
        std::str::from_utf8(self.data())
            .map_err(|error| Failure::invalid(format!("data is not UTF-8: {error}")))
    }

    /// The payload, read as JSON. `T` may borrow strings from the event.
    ///
    /// # Errors
    /// A failure that blames the event, if the payload is not JSON or not of this shape.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.data())
            .map_err(|error| Failure::invalid(format!("data is not the JSON expected: {error}")))
    }

    /// The field of JSON data at `path`, one that [`Plugin::fields`](crate::Plugin::fields) names.
    ///
    /// # Panics
    /// If the plugin does not name it.
    pub fn field(&self, path: &str) -> Field<'a> {
        self.field_at(self.position(path))
    }

    /// The field that is number `index` of those that `fields` names; spares looking for its name.
    ///
    /// # Panics
    /// If the plugin names fewer.
    pub fn field_at(&self, index: usize) -> Field<'a> {
        let column = &self.columns.fields[index];
        let text = &column.values[span(&column.ends, self.index)];
        Field::of(column.kinds[self.index] & !AMBIGUOUS, text)
    }

    /// Whether an object on the way to the field at `path` names its key more than once.
    ///
    /// The field is the last one then, but another reader of the same text may see another.
    ///
    /// # Panics
    /// If the plugin does not name it.
    pub fn is_ambiguous(&self, path: &str) -> bool {
        self.is_ambiguous_at(self.position(path))
    }

    /// The same of the field that is number `index` of those that `fields` names.
    ///
    /// # Panics
    /// If the plugin names fewer.
    pub fn is_ambiguous_at(&self, index: usize) -> bool {
        self.columns.fields[index].kinds[self.index] & AMBIGUOUS != 0
    }

    /// Whether there is data and it is not JSON, so that all fields are absent.
    ///
    /// # Panics
    /// If the plugin names no field.
    pub fn is_not_json(&self) -> bool {
        self.columns.fields[0].kinds[self.index] == NOT_JSON
    }

    fn position(&self, path: &str) -> usize {
        let known = self.fields.iter().position(|known| known == path);
        known.unwrap_or_else(|| panic!("`{path}` is read but not named in `fields`"))
    }

    /// A patch that sets the field of JSON data at `path`.
    pub fn set(&self, path: impl Into<String>, value: impl Into<Value>) -> Patch {
        Patch::default().set(path, value)
    }

    /// A patch that removes the field of JSON data at `path`.
    pub fn remove(&self, path: impl Into<String>) -> Patch {
        Patch::default().remove(path)
    }

    /// The extension attribute `name`.
    pub fn extension(&self, name: &str) -> Option<&'a str> {
        self.extensions().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// All extension attributes, as name and value.
    pub fn extensions(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let row = self.index;
        self.columns.extensions.iter().flat_map(move |extensions| {
            span(&extensions.row_ends, row).map(move |entry| {
                let name = &extensions.names[extensions.name_of[entry] as usize];
                (name.as_str(), &extensions.values[span(&extensions.value_ends, entry)])
            })
        })
    }

    fn entry(&self, index: u32) -> Option<&'a str> {
        (index != NONE).then(|| self.word(index))
    }

    fn word(&self, index: u32) -> &'a str {
        &self.columns.dictionary[span(&self.columns.dictionary_ends, index as usize)]
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.events()).finish()
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("type", &self.event_type())
            .field("subject", &self.subject())
            .field("time", &self.time())
            .field("data", &String::from_utf8_lossy(self.data()))
            .finish()
    }
}

/// Where item `index` of a column with these ends lies in its buffer.
pub(crate) fn span(ends: &[u32], index: usize) -> std::ops::Range<usize> {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    start as usize..ends[index] as usize
}
