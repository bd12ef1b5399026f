//! Tables in JSON: one object of values by key, or an object on each line.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::TableError;
use super::rows::Rows;

/// Reads the members of an object into rows.
struct Members(Rows);

impl<'de> Visitor<'de> for Members {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that has the values by key")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Rows, A::Error> {
        while let Some((key, value)) = map.next_entry::<Cow<'_, str>, &RawValue>()? {
            let added = self.0.add(&key, |out| out.push_str(value.get()));
            added.map_err(|TableError(error)| A::Error::custom(error))?;
        }
        Ok(self.0)
    }
}

/// Finds one member of an object.
struct Key<'k>(&'k str);

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Reads an object: its keys are the keys.
pub(super) fn members(text: &str) -> Result<Rows, TableError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let rows = json.deserialize_map(Members(Rows::default()));
    rows.and_then(|rows| json.end().map(|()| rows)).map_err(|error| TableError(error.to_string()))
}

/// Reads an object from each line; its member `key`, a string or a number, is the key.
pub(super) fn lines(text: &str, key: &str) -> Result<Rows, TableError> {
    let mut rows = Rows::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let found = key_of(line, key).and_then(|found| rows.add(&found, |out| out.push_str(line)));
        found.map_err(|error| error.at(index + 1))?;
    }
    Ok(rows)
}

fn key_of(line: &str, key: &str) -> Result<String, TableError> {
    let mut json = serde_json::Deserializer::from_str(line);
    let found = json.deserialize_map(Key(key));
    let found = found.and_then(|found| json.end().map(|()| found)).map_err(|error| {
        let words = error.to_string();
        TableError(words.split(" at line ").next().unwrap_or_default().to_owned())
    })?;
    let found = found.ok_or_else(|| TableError(format!("the object has no `{key}`")))?;
    match serde_json::Value::deserialize(found) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(serde_json::Value::Number(number)) => Ok(number.to_string()),
        _ => Err(TableError(format!("`{key}` is neither a string nor a number"))),
    }
}
