//! Takes personal data out of events: masks it, hashes it, or removes it.
//!
//! ```toml
//! [[transform]]
//! plugin = "redact"
//! config = { fields = ["email", "items.*.owner"], detect = ["email", "card", "ipv4", "ipv6"] }
//! ```
//!
//! `fields` are paths into JSON data; `*` stands for every element of an array or every member of
//! an object. What is at a path is redacted whole. `detect` looks into all other strings (and
//! whole numbers, for `card`) and redacts only the part that it found. `action` says how:
//!
//! - `mask` (default): letters and digits become `*`; of a detected card the last four stay.
//! - `hash`: the first 16 hex digits of SHA-256 over `salt` and the value, so that equal values
//!   stay equal. Give a `salt` that nobody can guess, or values can be tried out.
//! - `remove`: a field goes away, a detected part is cut out.
//!
//! Events without anything to redact pass untouched. The order of members is kept. Data that is
//! not JSON is searched by `detect` if its type is `text/*`, and passes otherwise.

mod detect;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_plugin::{Action, Event, Failure, Plugin, Step};

use crate::detect::Detector;

/// Hex digits of a hash that stand for a value: 64 bits, enough to keep values apart.
const HASH_LEN: usize = 16;

/// Digits of a card that a mask leaves, as receipts do.
const CARD_TAIL: usize = 4;

/// What a pipeline file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Paths into JSON data that are redacted whole.
    fields: Vec<String>,
    /// What to look for in all other texts.
    detect: Vec<Detector>,
    /// What happens to what was found.
    action: Redaction,
    /// Goes into every hash.
    salt: Option<String>,
}

/// What happens to personal data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Redaction {
    #[default]
    Mask,
    Hash,
    Remove,
}

/// Redacts the events of one step.
#[derive(Debug)]
pub struct Redact {
    fields: Vec<Vec<String>>,
    detect: Vec<Detector>,
    action: Redaction,
    salt: String,
}

impl Plugin for Redact {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if config.fields.is_empty() && config.detect.is_empty() {
            return Err("nothing to redact: give `fields`, `detect` or both".to_owned());
        }
        if config.action == Redaction::Hash && config.salt.as_deref().is_none_or(str::is_empty) {
            return Err("`action = \"hash\"` needs a `salt`, or values can be tried out".to_owned());
        }
        if let Some(path) = config.fields.iter().find(|path| path.split('.').any(str::is_empty)) {
            return Err(format!("`{path}` is not a path; write `user.email` or `items.*.email`"));
        }
        let split = |path: &String| path.split('.').map(str::to_owned).collect();
        Ok(Self {
            fields: config.fields.iter().map(split).collect(),
            detect: config.detect,
            action: config.action,
            salt: config.salt.unwrap_or_default(),
        })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Ok(text) = std::str::from_utf8(event.data()) else { return Ok(Action::Keep) };
        if let Ok(mut data) = serde_json::from_str::<Value>(text) {
            let mut is_changed = false;
            for path in &self.fields {
                is_changed |= self.field(&mut data, path);
            }
            if !self.detect.is_empty() {
                is_changed |= self.search(&mut data);
            }
            return Ok(if is_changed {
                Action::Replace(data.to_string().into())
            } else {
                Action::Keep
            });
        }
        let is_text = event.content_type().is_some_and(|kind| kind.starts_with("text/"));
        match self.text(text).filter(|_| is_text) {
            Some(redacted) => Ok(Action::Replace(redacted.into())),
            None => Ok(Action::Keep),
        }
    }
}

impl Redact {
    /// Redacts what is at `path` below `value`; answers whether anything was.
    fn field(&self, value: &mut Value, path: &[String]) -> bool {
        let [key, rest @ ..] = path else { return false };
        let is_last = rest.is_empty();
        match value {
            Value::Object(members) if key == "*" => {
                let keys: Vec<String> = members.keys().cloned().collect();
                keys.iter().fold(false, |is_changed, key| {
                    let path: Vec<String> =
                        std::iter::once(key.clone()).chain(rest.to_vec()).collect();
                    self.field(value, &path) | is_changed
                })
            }
            Value::Object(members) if is_last && self.action == Redaction::Remove => {
                members.shift_remove(key).is_some()
            }
            Value::Object(members) => match members.get_mut(key) {
                Some(member) if is_last => self.whole(member),
                Some(member) => self.field(member, rest),
                None => false,
            },
            Value::Array(elements) if key == "*" && is_last => match self.action {
                Redaction::Remove => !std::mem::take(elements).is_empty(),
                _ => elements
                    .iter_mut()
                    .fold(false, |changed, element| self.whole(element) | changed),
            },
            Value::Array(elements) if key == "*" => elements
                .iter_mut()
                .fold(false, |changed, element| self.field(element, rest) | changed),
            Value::Array(elements) => {
                let element = key.parse::<usize>().ok().and_then(|index| elements.get_mut(index));
                element.is_some_and(|element| {
                    if is_last { self.whole(element) } else { self.field(element, rest) }
                })
            }
            _ => false,
        }
    }

    /// Redacts a whole value; null holds nothing.
    fn whole(&self, value: &mut Value) -> bool {
        let text = match &*value {
            Value::Null => return false,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        *value = match self.action {
            Redaction::Mask => Value::String(mask(&text, 0)),
            Redaction::Hash => Value::String(self.hash(&text)),
            Redaction::Remove => Value::Null,
        };
        true
    }

    /// Redacts what the detectors find anywhere in `value`.
    fn search(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => match self.text(text) {
                Some(redacted) => {
                    *text = redacted;
                    true
                }
                None => false,
            },
            Value::Number(number) if self.detect.contains(&Detector::Card) => {
                match self.text(&number.to_string()) {
                    Some(redacted) => {
                        *value = Value::String(redacted);
                        true
                    }
                    None => false,
                }
            }
            Value::Array(elements) => {
                elements.iter_mut().fold(false, |changed, element| self.search(element) | changed)
            }
            Value::Object(members) => {
                members.values_mut().fold(false, |changed, member| self.search(member) | changed)
            }
            _ => false,
        }
    }

    /// The text without what the detectors find in it; nothing if they find nothing.
    fn text(&self, text: &str) -> Option<String> {
        let found = detect::find(&self.detect, text);
        if found.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            out.push_str(&text[at..range.start]);
            let part = &text[range.clone()];
            let is_card = part.chars().all(|c| c.is_ascii_digit() || c == ' ' || c == '-');
            match self.action {
                Redaction::Mask => out.push_str(&mask(part, if is_card { CARD_TAIL } else { 0 })),
                Redaction::Hash => out.push_str(&self.hash(part)),
                Redaction::Remove => {}
            }
            at = range.end;
        }
        out.push_str(&text[at..]);
        Some(out)
    }

    fn hash(&self, text: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.salt.as_bytes());
        digest.update([0]);
        digest.update(text.as_bytes());
        let hex = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        hex[..HASH_LEN].to_owned()
    }
}

/// Stars for letters and digits, but the last `tail` of them.
fn mask(text: &str, tail: usize) -> String {
    let marks = text.chars().filter(|c| c.is_alphanumeric()).count();
    let mut seen = 0;
    let star = |c: char| {
        if !c.is_alphanumeric() {
            return c;
        }
        seen += 1;
        if seen > marks - tail.min(marks) { c } else { '*' }
    };
    text.chars().map(star).collect()
}

weir_plugin::register!(Redact);
