//! Fields of JSON data as the daemon found them.

use serde::Deserialize;

use crate::action::Failure;

/// One field of an event's JSON data; see [`Event::field`](crate::Event::field).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// There is no such field, or the data is not JSON.
    Absent,
    /// It is `null`.
    Null,
    /// It is `true` or `false`.
    Bool(bool),
    /// It is a number, with the digits that the publisher wrote.
    Number(&'a str),
    /// It is a string, without its quotes and escapes.
    Text(&'a str),
    /// It is an array or an object, as JSON.
    Json(&'a str),
}

impl<'a> Field<'a> {
    /// The field of this kind of the contract.
    pub(crate) fn of(kind: u8, text: &'a str) -> Self {
        match kind {
            1 => Self::Null,
            2 => Self::Bool(false),
            3 => Self::Bool(true),
            4 => Self::Number(text),
            5 => Self::Text(text),
            6 => Self::Json(text),
            _ => Self::Absent,
        }
    }

    /// Whether there is such a field, be it null.
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }

    /// Its text, if it is a string.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is true, if it is one or the other.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(is_true) => Some(is_true),
            _ => None,
        }
    }

    /// Its value, if it is a whole number of 64 bits.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Its value, if it is a number.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The field read as `T`; one that is absent reads as null.
    ///
    /// # Errors
    /// A failure that blames the event, if the field is not of this shape.
    pub fn json<T: Deserialize<'a>>(self) -> Result<T, Failure> {
        let read = match self {
            Self::Absent | Self::Null => serde_json::from_str("null"),
            Self::Bool(is_true) => serde_json::from_str(if is_true { "true" } else { "false" }),
            Self::Number(text) | Self::Json(text) => serde_json::from_str(text),
            Self::Text(text) => {
                T::deserialize(serde::de::value::BorrowedStrDeserializer::new(text))
            }
        };
        read.map_err(|error| Failure::invalid(format!("a field is not what is expected: {error}")))
    }
}
