//! What plugins that work per key have in common: how a config names the parts of a key, and
//! durations.
//!
//! A part is `id`, `source`, `type`, `subject`, `ext.NAME` for an extension attribute, or
//! `data.PATH` for a field of JSON data, with the path as `Plugin::fields` has it.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use weir_plugin::{Event, Failure, Field};

/// Longest key: what `kv` takes, with some room for a prefix.
const LEN_MAX: usize = 1000;

/// Stands between the parts, which rarely contain it.
pub const SEPARATOR: char = '\u{1f}';

/// The parts of an event that make its key; in a config a string, or an array of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<Part>);

/// A time in a config, such as `"10m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Id,
    Source,
    Type,
    Subject,
    Extension(String),
    /// A field of the data.
    Field(String),
}

impl Key {
    /// What tells an event from all others: `source` and `id`.
    pub fn of_event() -> Self {
        Self(vec![Part::Source, Part::Id])
    }

    /// The fields of JSON data that the key is made of, for `Plugin::fields`.
    pub fn fields(&self) -> Vec<String> {
        let field = |part: &Part| match part {
            Part::Field(path) => Some(path.clone()),
            _ => None,
        };
        self.0.iter().filter_map(field).collect()
    }

    /// The key of `event`, whose fields of the key are the first of those that the plugin names;
    /// `None` if it lacks a part.
    ///
    /// # Errors
    /// If the key is too long, which blames the event.
    pub fn of<'a>(&self, event: &Event<'a>) -> Result<Option<Cow<'a, str>>, Failure> {
        let mut key = Cow::Borrowed("");
        let mut fields = 0;
        for (index, part) in self.0.iter().enumerate() {
            let text = match part {
                Part::Id => Some(event.id()),
                Part::Source => Some(event.source()),
                Part::Type => Some(event.event_type()),
                Part::Subject => event.subject(),
                Part::Extension(name) => event.extension(name),
                Part::Field(_) => {
                    fields += 1;
                    text(event.field_at(fields - 1))
                }
            };
            let Some(text) = text else { return Ok(None) };
            if index == 0 {
                key = Cow::Borrowed(text);
            } else {
                let key = key.to_mut();
                key.push(SEPARATOR);
                key.push_str(text);
            }
        }
        if key.len() > LEN_MAX {
            let message = format!("the key has {} bytes, more than {LEN_MAX}", key.len());
            return Err(Failure::invalid(message));
        }
        Ok(Some(key))
    }
}

fn text(field: Field<'_>) -> Option<&str> {
    match field {
        Field::Absent | Field::Null => None,
        Field::Bool(true) => Some("true"),
        Field::Bool(false) => Some("false"),
        Field::Number(text) | Field::Text(text) | Field::Json(text) => Some(text),
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "subject" => Self::Subject,
            _ => match (text.strip_prefix("ext."), text.strip_prefix("data.")) {
                (Some(name), _) if !name.is_empty() => Self::Extension(name.to_owned()),
                (_, Some(path)) if !path.is_empty() => Self::Field(path.to_owned()),
                _ => {
                    return Err(format!(
                        "`{text}` is no part of an event: write `id`, `source`, `type`, `subject`, \
                         `ext.NAME` or `data.PATH`"
                    ));
                }
            },
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part of the event such as \"data.user\", or an array of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key(vec![Part::parse(text).map_err(E::custom)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Key, A::Error> {
                let mut parts = Vec::new();
                while let Some(text) = seq.next_element::<String>()? {
                    parts.push(Part::parse(&text).map_err(A::Error::custom)?);
                }
                if parts.is_empty() {
                    return Err(A::Error::custom("a key has at least one part"));
                }
                Ok(Key(parts))
            }
        }

        deserializer.deserialize_any(Parts)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        match millis {
            Some(millis) if millis > 0 => Ok(Self(Duration::from_millis(millis))),
            _ => {
                let expected = "is no time: write a whole number and `ms`, `s`, `m`, `h` or `d`";
                Err(D::Error::custom(format!("`{text}` {expected}")))
            }
        }
    }
}
