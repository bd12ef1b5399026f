//! Channel names, and the patterns that subscribers name channels with.
//!
//! A name is made of segments split by `.`; in a pattern `*` is one segment and `**` any number.

use thiserror::Error;

/// Longest name or pattern, in bytes.
pub const NAME_LEN_MAX: usize = 200;

/// More `**` in one pattern would make matching cost more than it is worth.
const DEEP_MAX: usize = 2;

/// Why a text names no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("a channel name has 1 to {NAME_LEN_MAX} bytes")]
    Length,
    /// A character that would break a frame, a header or a log line.
    #[error("a channel name has no spaces and no control characters")]
    Character,
    /// Nothing between two dots.
    #[error("a channel name has no empty segment")]
    Segment,
    /// A wildcard where only a name may be.
    #[error("`*` and `**` are for subscriptions only")]
    Wildcard,
    /// Too many `**`.
    #[error("a pattern has at most {DEEP_MAX} `**`")]
    Deep,
}

/// The checked name of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Channel<'a>(&'a str);

impl<'a> Channel<'a> {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// If `name` cannot be the name of a channel.
    pub fn new(name: &'a str) -> Result<Self, NameError> {
        check(name)?;
        if is_pattern(name) {
            return Err(NameError::Wildcard);
        }
        Ok(Self(name))
    }

    /// Wraps a name that was checked before.
    pub(super) fn known(name: &'a str) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The checked name of one channel or of many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    is_exact: bool,
}

impl Pattern {
    /// Checks and wraps a name or a pattern.
    ///
    /// # Errors
    /// If `text` can name no channel.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if text.split('.').filter(|segment| *segment == "**").count() > DEEP_MAX {
            return Err(NameError::Deep);
        }
        Ok(Self { text: text.into(), is_exact: !is_pattern(text) })
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names exactly one channel.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether it names `channel`.
    pub fn matches(&self, channel: &str) -> bool {
        if self.is_exact { *self.text == *channel } else { matches(&self.text, channel) }
    }
}

impl Pattern {
    /// Whether every channel that `other` names, this one names too. It may say no where that takes
    /// a closer look, never yes where it is not so.
    pub fn covers(&self, other: &Self) -> bool {
        let segments = |pattern: &Self| -> Vec<String> {
            pattern.text.split('.').map(str::to_owned).collect()
        };
        covers(&segments(self), &segments(other))
    }
}

fn covers(wide: &[String], narrow: &[String]) -> bool {
    match (wide.split_first(), narrow.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((first, rest)), narrower) if first == "**" => {
            covers(rest, narrow) || narrower.is_some_and(|(_, tail)| covers(wide, tail))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((segment, tail))) => {
            let is_covered = segment != "**" && (first == "*" || first == segment);
            is_covered && covers(rest, tail)
        }
    }
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        return Err(NameError::Length);
    }
    if name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(NameError::Character);
    }
    if name.split('.').any(str::is_empty) {
        return Err(NameError::Segment);
    }
    Ok(())
}

fn is_pattern(name: &str) -> bool {
    name.contains('*') && name.split('.').any(|segment| matches!(segment, "*" | "**"))
}

/// Matches segment by segment; at most [`DEEP_MAX`] `**` bound the recursion.
fn matches(pattern: &str, channel: &str) -> bool {
    let (segment, rest) = split(pattern);
    if segment == "**" {
        let Some(rest) = rest else { return true };
        let mut tail = Some(channel);
        while let Some(candidate) = tail {
            if matches(rest, candidate) {
                return true;
            }
            tail = split(candidate).1;
        }
        return is_deep(rest);
    }
    let (word, tail) = split(channel);
    if segment != "*" && segment != word {
        return false;
    }
    match (rest, tail) {
        (None, None) => true,
        (Some(rest), None) => is_deep(rest),
        (None, Some(_)) => false,
        (Some(rest), Some(tail)) => matches(rest, tail),
    }
}

/// Whether a pattern also matches no segment at all.
fn is_deep(pattern: &str) -> bool {
    pattern.split('.').all(|segment| segment == "**")
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)))
}
