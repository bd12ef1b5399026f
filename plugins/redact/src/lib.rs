//! Takes personal data out of events: fields by their path, and what detectors find in texts.
//!
//! ```toml
//! [[transform]]
//! plugin = "redact"
//! config = { fields = ["user.name", "items.*.email"], detect = ["email", "card"], action = "mask" }
//! ```
//!
//! # What is found
//!
//! `fields` names values of JSON data by path. `*` stands for any key or any element of an array, a
//! number for one element, `**` for any depth: `**.password`. A key that contains a dot cannot be
//! named except by `*`.
//!
//! `detect` looks into every text of JSON data (not into keys), and through data of a media type
//! `text/…` as a whole:
//!
//! | detector | finds |
//! |---|---|
//! | `email` | addresses such as `bob@example.com` |
//! | `card` | payment card numbers of 13 to 19 digits, by issuer and Luhn digit, also written in groups, also as a JSON number |
//! | `ipv4` | `203.0.113.7`, and so also versions such as `1.2.3.4` |
//! | `ipv6` | `2001:db8::7` and the other ways to write one |
//!
//! # What becomes of it
//!
//! | `action` | a field | a part that a detector found |
//! |---|---|---|
//! | `mask` (default) | `"***"`, or as at the right where it is one of those | `b***@example.com`, `**** **** **** 1111`, `203.0.*.*`, `2001:db8:*` |
//! | `hash` | 16 hexadecimal digits in quotes | 16 hexadecimal digits |
//! | `remove` | is gone; an element of an array becomes `null` | is gone; a number becomes `null` |
//!
//! The hash is the start of SHA-256 over `salt` and the value: the text of a string, the JSON of
//! anything else. The same value has the same hash, so hashed events can still be counted and
//! joined. It needs a `salt` of 8 characters or more, because addresses and numbers are few enough
//! to be guessed: `salt = "${file:secrets/salt}"`. A field that is `null` stays as it is.
//!
//! # What else it promises
//!
//! Everything but the places redacted keeps its bytes: the order of keys, spaces, the text of
//! numbers. An event without such a place passes on without being copied. Data that claims to be
//! JSON and is not fails the event, because nobody could say what is in it; other data that is
//! neither JSON nor `text/…` passes on as it is. Attributes (`subject`, extensions) are left alone.

mod detect;
mod json;
mod path;
mod replace;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use weir_plugin::{Action, Batch, Event, Failure, Field, Plugin, Step, Value, Verdicts};

use crate::detect::Detector;
use crate::path::Path;
use crate::replace::{Replacement, Replacer};

/// The least length of a salt: fewer characters can be tried out.
const SALT_MIN: usize = 8;

/// What is wrong with data that nobody could look into.
const NOT_JSON: &str = "data says that it is JSON, but is not";

/// What a pipeline file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Paths of values to redact.
    fields: Vec<String>,
    /// What to look for in texts.
    detect: Vec<Detector>,
    /// What becomes of what is found.
    action: Replacement,
    /// Goes into every hash, so that nobody can look values up.
    salt: Salt,
}

/// A secret that no log shows.
#[derive(Default, Deserialize)]
struct Salt(String);

/// What one step redacts, and how.
#[derive(Debug)]
pub struct Redact {
    /// What the daemon finds, if that is all that is to be redacted; else the text is walked.
    plain: Option<Vec<String>>,
    fields: Vec<Path>,
    detectors: Vec<Detector>,
    replacer: Replacer,
}

/// A part of a text and what takes its place.
#[derive(Debug, PartialEq, Eq)]
struct Edit {
    span: Range<usize>,
    with: String,
}

impl Plugin for Redact {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        let Config { fields, detect, action, salt } = config;
        if fields.is_empty() && detect.is_empty() {
            return Err("nothing to redact: give `fields`, `detect` or both".to_owned());
        }
        if action == Replacement::Hash && salt.0.chars().count() < SALT_MIN {
            return Err(format!(
                "`action = \"hash\"` needs a `salt` of {SALT_MIN} characters or more"
            ));
        }
        let fields: Vec<Path> =
            fields.iter().map(|field| Path::parse(field)).collect::<Result<_, _>>()?;
        let plain = if detect.is_empty() { path::plain(&fields) } else { None };
        Ok(Self { plain, fields, detectors: detect, replacer: Replacer::new(action, &salt.0) })
    }

    fn fields(&self) -> Vec<String> {
        self.plain.clone().unwrap_or_default()
    }

    fn transform_batch(
        &mut self,
        batch: Batch<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> Result<(), String> {
        for event in batch.events() {
            match &self.plain {
                Some(plain) => self.redact_fields(&event, plain, verdicts),
                None => match self.transform(&event) {
                    Ok(action) => verdicts.act(action),
                    Err(failure) => verdicts.fail(failure),
                },
            }
        }
        Ok(())
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let edits = match std::str::from_utf8(event.data()) {
            Ok(text) if text.trim_ascii().is_empty() => Vec::new(),
            Ok(text) if is_json(text) => json::edits(text, self),
            _ if claims_json(event.content_type()) => {
                return Err(Failure::invalid(NOT_JSON));
            }
            Ok(text) if is_text(event.content_type()) => self.detected(text),
            _ => Vec::new(),
        };
        if edits.is_empty() {
            return Ok(Action::Keep);
        }
        Ok(Action::Replace(apply(event.data(), &edits)))
    }
}

impl Redact {
    /// Redacts fields that the daemon found.
    fn redact_fields(&self, event: &Event<'_>, plain: &[String], verdicts: &mut Verdicts<'_>) {
        if event.is_not_json() && claims_json(event.content_type()) {
            return verdicts.fail(Failure::invalid(NOT_JSON));
        }
        verdicts.patch_with(|changes| {
            for (index, path) in plain.iter().enumerate() {
                let content = match event.field_at(index) {
                    // What an earlier one of two equal keys holds would stay in the text.
                    Field::Absent if event.is_ambiguous_at(index) => {
                        changes.remove(path);
                        continue;
                    }
                    Field::Null if event.is_ambiguous_at(index) => {
                        changes.set(path, Value::null());
                        continue;
                    }
                    Field::Absent | Field::Null => continue,
                    Field::Bool(true) => "true",
                    Field::Bool(false) => "false",
                    Field::Number(text) | Field::Text(text) | Field::Json(text) => text,
                };
                if self.replacer.removes() {
                    changes.remove(path);
                } else {
                    changes.write_text(path, |out| self.replacer.field(content, out));
                }
            }
        });
    }

    /// What the detectors find in `text`, as edits of it.
    fn detected(&self, text: &str) -> Vec<Edit> {
        let found = detect::find(&self.detectors, text).into_iter().map(|found| {
            let mut with = String::new();
            self.replacer.part(found.detector, &text[found.span.clone()], &mut with);
            Edit { span: found.span, with }
        });
        found.collect()
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

/// `data` with the edits, which are in order and do not overlap.
fn apply(data: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut edited = Vec::with_capacity(data.len() + 32);
    let mut done = 0;
    for Edit { span, with } in edits {
        edited.extend_from_slice(&data[done..span.start]);
        edited.extend_from_slice(with.as_bytes());
        done = span.end;
    }
    edited.extend_from_slice(&data[done..]);
    edited
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn is_text(content_type: Option<&str>) -> bool {
    let prefix = content_type.and_then(|it| it.trim_ascii_start().as_bytes().get(..5));
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"text/"))
}

fn claims_json(content_type: Option<&str>) -> bool {
    let media_type = content_type.and_then(|it| it.split(';').next()).unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

weir_plugin::register!(Redact);
