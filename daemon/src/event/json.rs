//! JSON text as it comes in: checked completely, never parsed into values.
//!
//! Bytes come in, a [`Json`] that borrows the publisher's text goes out. What was checked is
//! passed on byte for byte.

use std::fmt;
use std::str;

use serde::Deserializer as _;
use serde::de::{
    Deserialize, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use thiserror::Error;

/// How deep arrays and objects may nest; what most JSON parsers downstream accept.
pub const DEPTH_MAX: usize = 128;

/// The member that makes an object a structured CloudEvent.
const MARKER: &str = "specversion";

/// Why bytes are not JSON, with the position.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct JsonError(String);

impl JsonError {
    /// An error in the words of `what`.
    pub fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// One complete JSON text without the whitespace around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a> {
    /// The text, byte for byte as it came.
    pub text: &'a str,
    /// Whether it is an object with a member `specversion`.
    pub is_cloudevent: bool,
}

/// Checks that `bytes` are one JSON text in UTF-8.
///
/// # Errors
/// What is wrong, and where.
pub fn check(bytes: &[u8]) -> Result<Json<'_>, JsonError> {
    check_text(text(bytes)?)
}

/// Checks that `text` is one JSON text.
///
/// # Errors
/// What is wrong, and where.
pub fn check_text(text: &str) -> Result<Json<'_>, JsonError> {
    check_depth(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    let is_cloudevent = if trimmed.starts_with('{') {
        reader.deserialize_map(HasMarker).map_err(JsonError::new)?
    } else {
        IgnoredAny::deserialize(&mut reader).map_err(JsonError::new)?;
        false
    };
    reader.end().map_err(JsonError::new)?;
    Ok(Json { text: trimmed, is_cloudevent })
}

/// The bytes as text.
///
/// # Errors
/// Where they are not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    str::from_utf8(bytes)
        .map_err(|error| JsonError::new(format_args!("not UTF-8 at byte {}", error.valid_up_to())))
}

/// Passes the text of each element of a JSON array to `take`: of `text` itself, or of the array
/// that is the member `member` of the object `text`.
///
/// An element may nest deeper than [`check_depth`] allows.
///
/// # Errors
/// What is wrong, and where; `take` has had the elements before that.
pub fn elements<'a>(
    text: &'a str,
    member: Option<&str>,
    take: impl FnMut(&'a str),
) -> Result<(), JsonError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let elements = Elements(take);
    let read = match member {
        None => reader.deserialize_seq(elements),
        Some(member) => reader.deserialize_map(Around { member, elements }),
    };
    read.map_err(JsonError::new)?;
    reader.end().map_err(JsonError::new)
}

/// Refuses text that nests deeper than [`DEPTH_MAX`].
///
/// # Errors
/// Where it does.
pub fn check_depth(text: &str) -> Result<(), JsonError> {
    let opens = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opens <= DEPTH_MAX {
        return Ok(());
    }
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let what = format_args!("nested deeper than {DEPTH_MAX} at byte {at}");
            return Err(JsonError::new(what));
        }
    }
    Ok(())
}

/// Walks an object without keeping anything of it.
struct HasMarker;

impl<'de> Visitor<'de> for HasMarker {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut is_found = false;
        while let Some(is_marker) = map.next_key_seed(Is(MARKER))? {
            is_found |= is_marker;
            map.next_value::<IgnoredAny>()?;
        }
        Ok(is_found)
    }
}

/// Hands over the elements of an array.
struct Elements<F>(F);

impl<'de, F: FnMut(&'de str)> DeserializeSeed<'de> for Elements<F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, array: D) -> Result<(), D::Error> {
        array.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element::<&'de RawValue>()? {
            self.0(element.get());
        }
        Ok(())
    }
}

/// An object with the array among its members.
struct Around<'m, F> {
    member: &'m str,
    elements: Elements<F>,
}

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Around<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a list `{}`", self.member)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { member, elements } = self;
        let mut elements = Some(elements);
        while let Some(is_member) = map.next_key_seed(Is(member))? {
            if !is_member {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let twice = || A::Error::custom(format_args!("`{member}` is given twice"));
            map.next_value_seed(elements.take().ok_or_else(twice)?)?;
        }
        match elements {
            None => Ok(()),
            Some(_) => Err(A::Error::custom(format_args!("`{member}` is missing"))),
        }
    }
}

/// Answers whether a member has this name.
struct Is<'m>(&'m str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
