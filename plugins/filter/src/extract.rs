//! Takes the wanted values out of a JSON document in one pass, skipping the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer as JsonDeserializer;

use crate::json::Json;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// The paths to read, as a tree: what is wanted at one place of the document, and below it.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    slot: Option<usize>,
    below: Vec<(Segment, Wanted)>,
}

impl Wanted {
    /// Wants the value at `path` in `slot`.
    pub(crate) fn add(&mut self, path: &[Segment], slot: usize) {
        let [first, rest @ ..] = path else {
            self.slot = Some(slot);
            return;
        };
        let known = self.below.iter().position(|(segment, _)| segment == first);
        let index = known.unwrap_or_else(|| {
            self.below.push((first.clone(), Self::default()));
            self.below.len() - 1
        });
        self.below[index].1.add(rest, slot);
    }

    /// Fills the slots from `document`; none is filled where it is not JSON as a whole.
    pub(crate) fn extract<'de>(&self, document: &'de [u8], values: &mut [Option<Json<'de>>]) {
        let mut deserializer = JsonDeserializer::from_slice(document);
        let is_json = Place { wanted: self, values: &mut *values }
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .is_ok();
        if !is_json {
            self.clear(values);
        }
    }

    fn take<'de>(&self, value: Json<'de>, values: &mut [Option<Json<'de>>]) {
        for (segment, wanted) in &self.below {
            if let Some(value) = value.get(segment) {
                wanted.take(value.clone(), values);
            }
        }
        if let Some(slot) = self.slot {
            values[slot] = Some(value);
        }
    }

    fn clear(&self, values: &mut [Option<Json<'_>>]) {
        if let Some(slot) = self.slot {
            values[slot] = None;
        }
        self.below.iter().for_each(|(_, wanted)| wanted.clear(values));
    }
}

/// One place of the document while it is read.
struct Place<'a, 'de> {
    wanted: &'a Wanted,
    values: &'a mut [Option<Json<'de>>],
}

impl<'de> DeserializeSeed<'de> for Place<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Of keys that repeat the last counts, also for what lies below them.
        self.wanted.clear(self.values);
        if self.wanted.slot.is_none() {
            return deserializer.deserialize_any(self);
        }
        let value = <Json<'de> as serde::Deserialize>::deserialize(deserializer)?;
        self.wanted.take(value, self.values);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Place<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let below = &self.wanted.below;
            let wanted = below.iter().find(|(segment, _)| *segment == Segment::Index(index));
            let has_more = match wanted {
                Some((_, wanted)) => {
                    items.next_element_seed(Place { wanted, values: &mut *self.values })?.is_some()
                }
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !has_more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(found) = entries.next_key_seed(Known(&self.wanted.below))? {
            match found {
                Some(wanted) => {
                    entries.next_value_seed(Place { wanted, values: &mut *self.values })?;
                }
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds what is wanted below a key, without keeping the key.
struct Known<'a>(&'a [(Segment, Wanted)]);

impl<'a, 'de> DeserializeSeed<'de> for Known<'a> {
    type Value = Option<&'a Wanted>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Known<'a> {
    type Value = Option<&'a Wanted>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find_map(|(segment, wanted)| match segment {
            Segment::Key(known) if known == key => Some(wanted),
            Segment::Key(_) | Segment::Index(_) => None,
        }))
    }
}
