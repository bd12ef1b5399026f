//! JSON values that borrow from the payload, and what CEL makes of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use cel::common::types::{CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::functions::{Nothing, truth};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The value of a JSON number; one that is too large is infinite, as in every browser.
    pub(crate) fn number(text: &str) -> Self {
        if let Ok(number) = text.parse() {
            return Self::Int(number);
        }
        match text.parse() {
            Ok(number) => Self::UInt(number),
            Err(_) => Self::Double(text.parse().unwrap_or(f64::NAN)),
        }
    }

    /// The value as CEL sees it, borrowing its strings.
    pub(crate) fn to_val(&self) -> CowVal<'_, '_> {
        match self {
            Self::Null => CowVal::Borrowed(&Nothing),
            Self::Bool(is_true) => truth(*is_true),
            Self::Int(number) => CowVal::owned(CelInt::from(*number)),
            Self::UInt(number) => CowVal::owned(CelUInt::from(*number)),
            Self::Double(number) => CowVal::owned(CelDouble::from(*number)),
            Self::Text(text) => CowVal::owned(CelString::from(text.as_ref())),
            Self::Array(items) => {
                let items: Vec<Box<dyn Val + '_>> =
                    items.iter().map(|item| item.to_val().into_owned()).collect();
                CowVal::owned(CelList::from(items))
            }
            Self::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = CelMapKey::String(CelString::from(key.as_ref()));
                    (key, value.to_val().into_owned())
                });
                CowVal::owned(CelMap::from(entries.collect::<HashMap<_, _>>()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::UInt(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Double(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::text(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some((Json::Text(key), value)) = entries.next_entry()? {
            object.push((key, value));
        }
        Ok(Json::Object(object))
    }
}
