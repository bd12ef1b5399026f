//! Paths into JSON: a singular query of `JSONPath` (RFC 9535) whose leading `$.` may be left out.

use std::fmt;
use std::str::FromStr;

use crate::text::{push_quoted, push_unescaped};

/// Longest path, in bytes.
const LEN_MAX: usize = 512;

/// Most segments of a path.
const SEGMENTS_MAX: usize = 32;

/// Where a field is: keys of objects and indices of arrays, from the top of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Segment>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The member of an object with this key.
    Key(String),
    /// The element of an array at this index, from 0.
    Index(usize),
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    text: String,
    message: String,
}

impl Path {
    /// The path of the whole document, written `$`.
    pub fn root() -> Self {
        Self::default()
    }

    /// The segments, from the top.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether it is the path of the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Segment>> for Path {
    fn from(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let wrong = |message: String| PathError { text: text.to_owned(), message };
        if text.len() > LEN_MAX {
            let text = format!("{}…", &text[..text.floor_char_boundary(40)]);
            return Err(PathError { text, message: format!("it is longer than {LEN_MAX} bytes") });
        }
        let mut parser = Parser { rest: text };
        let path = parser.path().map_err(wrong)?;
        if path.len() > SEGMENTS_MAX {
            return Err(wrong(format!("it has more than {SEGMENTS_MAX} parts")));
        }
        Ok(Self(path))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("$");
        }
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if !key.is_empty() && key.chars().all(is_plain) => {
                    f.write_str(if position > 0 { "." } else { "" })?;
                    f.write_str(key)?;
                }
                Segment::Key(key) => {
                    let mut quoted = String::new();
                    push_quoted(key, &mut quoted);
                    write!(f, "[{quoted}]")?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no path of a field: {}", self.text, self.message)
    }
}

impl std::error::Error for PathError {}

/// What is left of a path to read.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn path(&mut self) -> Result<Vec<Segment>, String> {
        let is_rooted = self.take("$");
        let mut path = Vec::new();
        while !self.rest.is_empty() {
            if self.take("[") {
                path.push(self.bracket()?);
            } else if self.take(".") || (path.is_empty() && !is_rooted) {
                path.push(Segment::Key(self.name()?));
            } else {
                return Err("write it as in `user.plan`, `items[0].sku`, `[\"a.b\"]`".to_owned());
            }
        }
        if path.is_empty() && !is_rooted {
            return Err("it is empty; `$` names the whole document".to_owned());
        }
        Ok(path)
    }

    fn name(&mut self) -> Result<String, String> {
        let len = self.rest.find(|c| !is_plain(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(len);
        if name.is_empty() {
            return Err(
                "a key is missing; one with odd characters is written `[\"a.b\"]`".to_owned()
            );
        }
        self.rest = rest;
        Ok(name.to_owned())
    }

    /// What follows `[`: an index, or a key in quotes of either kind.
    fn bracket(&mut self) -> Result<Segment, String> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let end = self.rest.find(']').ok_or("a `]` is missing")?;
            let text = &self.rest[..end];
            let index = text.parse().ok();
            let index =
                index.ok_or_else(|| format!("`[{text}]` is no index and no key in quotes"))?;
            self.rest = &self.rest[end + 1..];
            return Ok(Segment::Index(index));
        };
        let inner = &self.rest[1..];
        let mut is_escaped = false;
        let end = inner.find(|c| {
            let is_end = c == quote && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or("a quote is missing")?;
        let mut key = String::new();
        push_unescaped(&inner[..end].replace("\\'", "'"), &mut key);
        self.rest = &inner[end + 1..];
        if !self.take("]") {
            return Err("a `]` is missing".to_owned());
        }
        Ok(Segment::Key(key))
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Whether a key with this character needs no quotes.
fn is_plain(character: char) -> bool {
    !matches!(character, '.' | '[' | ']' | '"' | '\'' | '$')
        && !character.is_whitespace()
        && !character.is_control()
}
