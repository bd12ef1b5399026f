//! Changes to fields of JSON data, which the daemon makes to the text itself.

use std::fmt;

use crate::action::Action;
use crate::bindings::weir::plugin::types;
use crate::verdicts::column_len;

/// The kinds of the contract that are named here more than once.
const REMOVED: u8 = 0;
const TEXT: u8 = 5;
const JSON: u8 = 6;

/// Room for a value, where there is nothing to go by: as much as a mask or a word takes.
const VALUE_LEN: usize = 24;

/// Changes to the fields of one event, made in the order given.
///
/// Started with [`Event::set`](crate::Event::set) or [`Event::remove`](crate::Event::remove):
///
/// ```
/// # use weir_plugin::{Action, Event, Failure};
/// fn tag(event: &Event<'_>) -> Result<Action, Failure> {
///     Ok(event.set("user.plan", "pro").set("seen", true).remove("user.email").into())
/// }
/// ```
///
/// Objects on the way to a field are made where they are missing or null. Where something else is
/// in the way, or the data is not JSON, the event fails. All that is not changed keeps its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a patch does nothing until it is returned: `Ok(patch.into())`"]
pub struct Patch {
    pub(crate) changes: Vec<(String, Value)>,
}

/// Changes to the fields of one event on their way out; see
/// [`Verdicts::patch_with`](crate::Verdicts::patch_with).
pub struct Changes<'v> {
    pub(crate) patches: &'v mut types::Patches,
    pub(crate) origin: u32,
    pub(crate) events: usize,
}

/// What a field is set to. Made of texts, numbers, truth values and [`serde_json::Value`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub(crate) kind: u8,
    pub(crate) text: String,
}

impl Patch {
    /// Sets the field at `path`, or adds it.
    pub fn set(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.changes.push((path.into(), value.into()));
        self
    }

    /// Removes the field at `path`, if there is one.
    pub fn remove(mut self, path: impl Into<String>) -> Self {
        self.changes.push((path.into(), Value::of(REMOVED, String::new())));
        self
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Changes<'_> {
    /// Sets the field at `path`, or adds it.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let Value { kind, text } = value.into();
        self.push(path, kind, &text);
    }

    /// Sets the field at `path` to the string that `write` appends to what it is given.
    pub fn write_text(&mut self, path: &str, write: impl FnOnce(&mut String)) {
        self.write(path, TEXT, write);
    }

    /// Sets the field at `path` to a value given as JSON text. If it is not JSON, the daemon
    /// refuses the plugin's answer.
    pub fn set_json(&mut self, path: &str, json: &str) {
        self.push(path, JSON, json);
    }

    /// Removes the field at `path`, if there is one.
    pub fn remove(&mut self, path: &str) {
        self.push(path, REMOVED, "");
    }

    pub(crate) fn push(&mut self, path: &str, kind: u8, text: &str) {
        self.write(path, kind, |out| out.push_str(text));
    }

    fn write(&mut self, path: &str, kind: u8, write: impl FnOnce(&mut String)) {
        let Self { patches, origin, events } = self;
        if patches.origins.is_empty() {
            // Whoever changes one event of a batch mostly changes them all.
            patches.origins.reserve(*events);
            patches.name_of.reserve(*events);
            patches.kinds.reserve(*events);
            patches.ends.reserve(*events);
            patches.values.reserve(VALUE_LEN * *events);
        }
        let known = patches.names.iter().position(|known| is_same(known, path));
        let name = known.unwrap_or_else(|| {
            patches.names.push(path.to_owned());
            patches.names.len() - 1
        });
        patches.origins.push(*origin);
        patches.name_of.push(column_len(name));
        patches.kinds.push(kind);
        write(&mut patches.values);
        patches.ends.push(column_len(patches.values.len()));
    }
}

impl fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("event", &self.origin).finish_non_exhaustive()
    }
}

impl Value {
    /// `null`.
    pub fn null() -> Self {
        Self::of(1, String::new())
    }

    /// A value given as JSON text. If it is not JSON, the daemon refuses the plugin's answer.
    pub fn json(text: impl Into<String>) -> Self {
        Self::of(JSON, text.into())
    }

    fn of(kind: u8, text: String) -> Self {
        Self { kind, text }
    }
}

impl From<Patch> for Action {
    fn from(patch: Patch) -> Self {
        Self::Patch(patch)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::of(TEXT, text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::of(TEXT, text)
    }
}

impl From<bool> for Value {
    fn from(is_true: bool) -> Self {
        Self::of(if is_true { 3 } else { 2 }, String::new())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::of(4, number.to_string())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        i64::from(number).into()
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        i64::from(number).into()
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::of(4, number.to_string())
    }
}

impl From<f64> for Value {
    /// A number, or null where it is none that JSON knows.
    fn from(number: f64) -> Self {
        serde_json::Value::from(number).into()
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::null(),
            serde_json::Value::Bool(is_true) => is_true.into(),
            serde_json::Value::String(text) => text.into(),
            other => Self::json(other.to_string()),
        }
    }
}

/// Whether two texts are equal, eight bytes at a time; the sandbox compares one byte at a time.
fn is_same(one: &str, other: &str) -> bool {
    let (one, one_rest) = one.as_bytes().as_chunks::<8>();
    let (other, other_rest) = other.as_bytes().as_chunks::<8>();
    let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
    one.len() == other.len()
        && one_rest.len() == other_rest.len()
        && one.iter().zip(other).all(|(one, other)| word(one) == word(other))
        && one_rest.iter().zip(other_rest).all(|(one, other)| one == other)
}
