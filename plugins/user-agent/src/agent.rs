//! What a browser's text says, part by part.

use crate::rules::{BOTS, BROWSERS, CONSOLES, SYSTEMS, TABLETS, TVS, WINDOWS};

/// Longest part of a text that is repeated in an answer.
const PART_MAX: usize = 32;
/// How much of a text is looked at; none of a real browser is longer.
const TEXT_MAX: usize = 1024;

/// What is told from a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Agent<'a> {
    browser: Option<&'a str>,
    version: Option<&'a str>,
    system: Option<&'a str>,
    system_version: Option<String>,
    device: &'static str,
}

impl<'a> Agent<'a> {
    /// Reads a text.
    pub(crate) fn of(text: &'a str) -> Self {
        let cut = text.char_indices().nth(TEXT_MAX).map_or(text.len(), |(cut, _)| cut);
        let text = &text[..cut];
        let (system, system_version) = system(text);
        let agent = Self { system, system_version, ..Self::default() };
        if let Some((name, version)) = bot(text) {
            return Self { browser: Some(name), version, device: "bot", ..agent };
        }
        let (browser, version) = browser(text);
        let device = device(text, system);
        Self { browser, version, device, ..agent }
    }

    /// As JSON, without what is not known.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::from("{");
        let parts = [
            ("browser", self.browser),
            ("version", self.version),
            ("system", self.system),
            ("systemVersion", self.system_version.as_deref()),
            ("device", Some(self.device)),
        ];
        for (name, value) in parts {
            let Some(value) = value else { continue };
            json.push('"');
            json.push_str(name);
            json.push_str("\":\"");
            // What comes out of a text has no quotes and no control characters.
            json.push_str(value);
            json.push_str("\",");
        }
        json.push_str(if self.device == "bot" { "\"bot\":true}" } else { "\"bot\":false}" });
        json
    }
}

/// The name that a tool or a crawler gives itself, and its version.
fn bot(text: &str) -> Option<(&str, Option<&str>)> {
    let lower = text.to_ascii_lowercase();
    let (at, mark) = BOTS.iter().find_map(|mark| Some((lower.find(mark)?, mark)))?;
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let before = text[..at].rfind(|character| !is_part(character));
    let start =
        before.map_or(0, |before| before + text[before..].chars().next().map_or(0, char::len_utf8));
    let end = at + mark.trim_end_matches('/').len();
    let end = end + text[end..].find(|character| !is_part(character)).unwrap_or(text.len() - end);
    Some((clip(&text[start..end]), text[end..].strip_prefix('/').and_then(major)))
}

fn browser(text: &str) -> (Option<&str>, Option<&str>) {
    let found = BROWSERS.iter().find_map(|(mark, name)| {
        let (_, version) = text.split_once(mark)?;
        Some((Some(*name), major(version)))
    });
    found.unwrap_or_default()
}

fn system(text: &str) -> (Option<&'static str>, Option<String>) {
    let Some((mark, name)) = SYSTEMS.iter().find(|(mark, _)| text.contains(mark)) else {
        return (None, None);
    };
    let version = match *name {
        "Windows" => {
            let known = WINDOWS.iter().find(|(mark, _)| text.contains(mark));
            known.map(|(_, version)| (*version).to_owned())
        }
        // Where an iPhone pretends to be another system, or the other way around.
        "iOS" => after(text, " OS ").map(dotted),
        "macOS" => after(text, "Mac OS X ").map(dotted),
        _ => after(text, mark)
            .and_then(|rest| after(rest, " ").filter(|_| rest.starts_with(' ')))
            .map(dotted),
    };
    (Some(name), version.filter(|version| !version.is_empty()))
}

fn device(text: &str, system: Option<&str>) -> &'static str {
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    if has(TVS) {
        "tv"
    } else if has(CONSOLES) {
        "console"
    } else if has(TABLETS) || (system == Some("Android") && !text.contains("Mobile")) {
        "tablet"
    } else if text.contains("Mobi") || matches!(system, Some("iOS" | "Android")) {
        "mobile"
    } else if matches!(system, Some("Windows" | "macOS" | "Linux" | "Chrome OS")) {
        "desktop"
    } else {
        "other"
    }
}

/// The first number of a version.
fn major(version: &str) -> Option<&str> {
    let end = version.find(|character: char| !character.is_ascii_digit()).unwrap_or(version.len());
    (end > 0).then(|| clip(&version[..end]))
}

/// The version that a text begins with, written with dots.
fn dotted(version: &str) -> String {
    let is_part = |character: char| character.is_ascii_digit() || "._".contains(character);
    let end = version.find(|character| !is_part(character)).unwrap_or(version.len());
    clip(&version[..end]).trim_end_matches(['.', '_']).replace('_', ".")
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// The start of what is all ASCII.
fn clip(part: &str) -> &str {
    &part[..part.len().min(PART_MAX)]
}
