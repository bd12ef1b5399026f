//! Events as publishers spell them: CloudEvents in JSON or in headers, and the shorter objects
//! of our own client and of WebSocket `pub` frames.
//!
//! Checked JSON text or headers come in, a [`Spelled`] that borrows from them goes out. Whoever
//! took it in fills the gaps and pushes a [`Draft`](super::Draft).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::codec::{base64, percent_decoded};
use super::encode::is_json;
use super::json::JsonError;
use crate::units;

/// The media type of data that says nothing else.
pub const JSON: &str = "application/json";

/// Longest id, in bytes: whoever dedupes keeps them.
pub const ID_MAX: usize = 256;

/// Longest value of any other attribute, in bytes.
pub const ATTRIBUTE_MAX: usize = 4_096;

/// Longest name of an extension attribute, in bytes. CloudEvents recommends 20.
const NAME_MAX: usize = 64;

/// How many extension attributes one event may have.
const EXTENSIONS_MAX: usize = 64;

/// Which spelling an object follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CloudEvents 1.0 in JSON: `specversion`, `id`, `source` and `type` are there.
    CloudEvents,
    /// Our own: everything may be missing, `time` may be a number of milliseconds.
    Weir,
}

/// What one event carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Nothing.
    #[default]
    None,
    /// A JSON value, as it came.
    Json(&'a str),
    /// Bytes of some other type.
    Bytes(Cow<'a, [u8]>),
}

/// One event as its publisher spells it; what is `None` was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spelled<'a> {
    /// Its id.
    pub id: Option<Cow<'a, str>>,
    /// Where it happened.
    pub source: Option<Cow<'a, str>>,
    /// What happened.
    pub event_type: Option<Cow<'a, str>>,
    /// What it happened to.
    pub subject: Option<Cow<'a, str>>,
    /// When, in microseconds since the Unix epoch.
    pub time: Option<u64>,
    /// Media type of the data.
    pub content_type: Option<Cow<'a, str>>,
    /// The data.
    pub payload: Payload<'a>,
    /// All other attributes.
    pub extensions: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Spelled<'a> {
    /// Reads one object, whose text was checked to be JSON.
    ///
    /// # Errors
    /// Which attribute is missing or malformed, with the id if that is known.
    pub fn from_json(text: &'a str, form: Form) -> Result<Self, Misspelled> {
        let mut spelled = Spelled::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize_map(Members { form, spelled: &mut spelled });
        match read {
            Ok(()) => Ok(spelled),
            Err(error) => Err(Misspelled {
                id: spelled.id.map(Cow::into_owned),
                error: JsonError::new(error),
            }),
        }
    }

    /// Reads the attributes of CloudEvents' binary mode, from the headers `ce-*` without prefix.
    ///
    /// # Errors
    /// Which attribute is malformed.
    pub fn from_headers(
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, JsonError> {
        let mut spelled = Self::default();
        for (name, value) in headers {
            let value = percent_decoded(value)
                .ok_or_else(|| JsonError::new(format_args!("header `ce-{name}` is not UTF-8")))?;
            if name == "specversion" {
                check_version(&value)?;
            } else if name == "time" {
                spelled.time = Some(parse_time(&value)?);
            } else {
                spelled.put(Cow::Borrowed(name), value)?;
            }
        }
        Ok(spelled)
    }

    /// The bytes of the data.
    pub fn data(&self) -> &[u8] {
        match &self.payload {
            Payload::None => &[],
            Payload::Json(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }

    /// The media type of the data, JSON if the publisher did not say and there is some.
    pub fn media_type(&self) -> Option<&str> {
        let implied = matches!(self.payload, Payload::Json(_)).then_some(JSON);
        self.content_type.as_deref().or(implied)
    }

    /// Gives the attribute `name` the text `value`.
    ///
    /// # Errors
    /// If it has one already, or either is malformed.
    pub fn put(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> Result<(), JsonError> {
        let value_max = if name == "id" { ID_MAX } else { ATTRIBUTE_MAX };
        if value.is_empty() || value.len() > value_max || value.contains(char::is_control) {
            return Err(JsonError::new(format_args!(
                "attribute `{name}` is 1 to {value_max} bytes without control characters"
            )));
        }
        let place = match name.as_ref() {
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "subject" => &mut self.subject,
            "datacontenttype" => &mut self.content_type,
            _ => return self.extend(name, value),
        };
        if place.replace(value).is_some() {
            return Err(JsonError::new(format_args!("attribute `{name}` is given twice")));
        }
        Ok(())
    }

    fn extend(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> Result<(), JsonError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
            return Err(JsonError::new(format_args!(
                "`{name}` cannot name an attribute: 1 to {NAME_MAX} letters a-z and digits"
            )));
        }
        if self.extensions.iter().any(|(known, _)| *known == name) {
            return Err(JsonError::new(format_args!("attribute `{name}` is given twice")));
        }
        if self.extensions.len() == EXTENSIONS_MAX {
            return Err(JsonError::new(format_args!("more than {EXTENSIONS_MAX} attributes")));
        }
        self.extensions.push((name, value));
        Ok(())
    }
}

/// Why an object is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelled {
    /// The event's id, if it was read before the fault.
    pub id: Option<String>,
    /// What is wrong.
    pub error: JsonError,
}

/// An RFC 3339 time in microseconds since the Unix epoch.
fn parse_time(text: &str) -> Result<u64, JsonError> {
    let wrong = || JsonError::new("attribute `time` is not an RFC 3339 time since 1970");
    units::parse_time(text).ok_or_else(wrong)
}

fn check_version(version: &str) -> Result<(), JsonError> {
    if version == "1.0" {
        return Ok(());
    }
    Err(JsonError::new(format_args!("specversion `{version}` is not 1.0")))
}

/// Reads the members of an event object into a [`Spelled`], which keeps what was read before a
/// fault.
struct Members<'s, 'a> {
    form: Form,
    spelled: &'s mut Spelled<'a>,
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Members { form, spelled } = self;
        let mut raw: Raw<'de> = Raw::default();
        // The first fault is told at the end, so that the answer can name the event's id.
        let mut fault = None;
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            let read = raw.member(name, value.get(), form, spelled);
            fault = fault.or(read.err());
        }
        let read = fault.map_or_else(|| raw.finish(form, spelled), Err);
        read.map_err(A::Error::custom)
    }
}

/// Members that mean something only together.
#[derive(Default)]
struct Raw<'a> {
    data: Option<&'a str>,
    base64: Option<&'a str>,
    has_version: bool,
}

impl<'a> Raw<'a> {
    fn member(
        &mut self,
        name: Cow<'a, str>,
        value: &'a str,
        form: Form,
        spelled: &mut Spelled<'a>,
    ) -> Result<(), JsonError> {
        let twice = |is_twice: bool| {
            let error = || JsonError::new(format_args!("`{name}` is given twice"));
            if is_twice { Err(error()) } else { Ok(()) }
        };
        match name.as_ref() {
            "data" => twice(self.data.replace(value).is_some()),
            "data_base64" => twice(self.base64.replace(value).is_some()),
            _ if value == "null" => Ok(()),
            "specversion" => {
                self.has_version = true;
                check_version(&scalar(&name, value)?)
            }
            "time" if form == Form::Weir && !value.starts_with('"') => {
                spelled.time = Some(parse_millis(value)?);
                Ok(())
            }
            "time" => {
                let time = parse_time(&scalar(&name, value)?)?;
                twice(spelled.time.replace(time).is_some())
            }
            "id" | "source" | "type" | "subject" | "datacontenttype" if !value.starts_with('"') => {
                Err(JsonError::new(format_args!("attribute `{name}` is a string")))
            }
            _ => {
                let value = scalar(&name, value)?;
                spelled.put(name, value)
            }
        }
    }

    fn finish(self, form: Form, spelled: &mut Spelled<'a>) -> Result<(), JsonError> {
        if form == Form::CloudEvents {
            let missing = [
                ("specversion", self.has_version),
                ("id", spelled.id.is_some()),
                ("source", spelled.source.is_some()),
                ("type", spelled.event_type.is_some()),
            ];
            if let Some((name, _)) = missing.iter().find(|(_, is_there)| !is_there) {
                return Err(JsonError::new(format_args!("attribute `{name}` is missing")));
            }
        }
        spelled.payload = match (self.data, self.base64) {
            (None, None) => Payload::None,
            (Some(text), None) => payload(text, spelled.content_type.as_deref()),
            (None, Some(text)) => {
                let text = scalar("data_base64", text)?;
                let bytes = base64(text.as_bytes())
                    .ok_or_else(|| JsonError::new("`data_base64` is not base64"))?;
                Payload::Bytes(Cow::Owned(bytes))
            }
            (Some(_), Some(_)) => {
                return Err(JsonError::new("`data` and `data_base64` exclude each other"));
            }
        };
        if let Payload::Bytes(bytes) = &spelled.payload
            && is_json(spelled.content_type.as_deref())
        {
            super::json::check(bytes)?;
        }
        Ok(())
    }
}

/// What the member `data` stands for: a JSON value, or the text of another media type.
fn payload<'a>(text: &'a str, content_type: Option<&str>) -> Payload<'a> {
    let is_text = text.starts_with('"') && !is_json(content_type);
    if !is_text {
        return Payload::Json(text);
    }
    match unquoted(text) {
        Some(Cow::Borrowed(text)) => Payload::Bytes(Cow::Borrowed(text.as_bytes())),
        Some(Cow::Owned(text)) => Payload::Bytes(Cow::Owned(text.into_bytes())),
        None => Payload::Json(text),
    }
}

/// The value of an attribute as text: a string, a number or a boolean.
fn scalar<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, JsonError> {
    match value.as_bytes().first() {
        Some(b'"') => unquoted(value)
            .ok_or_else(|| JsonError::new(format_args!("attribute `{name}` is not Unicode"))),
        Some(b'{' | b'[') | None => Err(JsonError::new(format_args!(
            "attribute `{name}` is a string, a number or a boolean"
        ))),
        Some(_) => Ok(Cow::Borrowed(value)),
    }
}

/// The string that a JSON string stands for; `None` for a lone surrogate.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    if value.contains('\\') {
        return serde_json::from_str(value).ok().map(Cow::Owned);
    }
    value.get(1..value.len() - 1).map(Cow::Borrowed)
}

/// Milliseconds since the epoch, as JavaScript's clock gives them, in microseconds.
fn parse_millis(value: &str) -> Result<u64, JsonError> {
    let wrong = || JsonError::new("attribute `time` is RFC 3339 or a number of milliseconds");
    if let Ok(millis) = value.parse::<u64>() {
        return millis.checked_mul(1_000).ok_or_else(wrong);
    }
    let micros = value.parse::<f64>().map_err(|_unspecific| wrong())? * 1_000.0;
    // Above 2^53 microseconds (the year 2255) a double no longer holds every one.
    let is_exact = (0.0..9e15).contains(&micros);
    if is_exact { Ok(micros as u64) } else { Err(wrong()) }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}
