//! Finds one field in JSON text, skipping everything else; no document is built.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Encoding;

/// Appends the field at `path` of the JSON text `data`; answers whether there is a value.
///
/// Strings, numbers and booleans are values; numbers keep the digits that the publisher wrote. As
/// in every browser, the last of several fields of one name counts.
pub(super) fn find(data: &[u8], path: &[String], encoding: Encoding, out: &mut String) -> bool {
    let start = out.len();
    let mut found = Found { out, start, encoding, is_found: false };
    let mut json = serde_json::Deserializer::from_slice(data);
    let walked = Walk { path, found: &mut found }.deserialize(&mut json);
    let is_found = found.is_found && walked.is_ok() && json.end().is_ok();
    if !is_found {
        out.truncate(start);
    }
    is_found
}

/// Where the value goes.
struct Found<'o> {
    out: &'o mut String,
    start: usize,
    encoding: Encoding,
    is_found: bool,
}

impl Found<'_> {
    fn forget(&mut self) {
        self.out.truncate(self.start);
        self.is_found = false;
    }

    fn take(&mut self, raw: &str) {
        let is_value = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<String>(raw)
                .map(|text| self.encoding.push(&text, self.out))
                .is_ok(),
            Some(b'{' | b'[' | b'n') | None => false,
            Some(_) => {
                self.encoding.push(raw, self.out);
                true
            }
        };
        self.is_found = is_value;
    }
}

/// Walks the rest of the path from here.
struct Walk<'p, 'f, 'o> {
    path: &'p [String],
    found: &'f mut Found<'o>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            let raw = <&RawValue>::deserialize(deserializer)?;
            self.found.take(raw.get());
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_next) = map.next_key_seed(Is(&self.path[0]))? {
            if is_next {
                self.found.forget();
                map.next_value_seed(Walk { path: &self.path[1..], found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let wanted: Option<usize> = self.path[0].parse().ok();
        let mut index = 0;
        loop {
            if wanted == Some(index) {
                let walk = Walk { path: &self.path[1..], found: self.found };
                if seq.next_element_seed(walk)?.is_none() {
                    return Ok(());
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Answers whether a key is the one wanted, without keeping it.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
