//! Changes to fields of JSON data, which the daemon makes to the text itself.

use crate::action::Action;

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
        self.changes.push((path.into(), Value::of(0, String::new())));
        self
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Value {
    /// `null`.
    pub fn null() -> Self {
        Self::of(1, String::new())
    }

    /// A value given as JSON text. If it is not JSON, the daemon refuses the plugin's answer.
    pub fn json(text: impl Into<String>) -> Self {
        Self::of(6, text.into())
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
        Self::of(5, text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::of(5, text)
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
