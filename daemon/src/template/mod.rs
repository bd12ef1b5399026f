//! Templates such as `shop.{{type}}.{{data.user.plan | "free"}}`: compiled once, rendered per event.
//!
//! Routing keys and channels are words split by dots. The dots of attributes count, because these
//! are hierarchical names; values from `data` and `ext` are percent-encoded by
//! [`Template::render`], so that a publisher cannot change the number of words or reach another
//! binding, unless the template says `| words`.

mod lookup;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use thiserror::Error;

use self::lookup::Lookup;
use crate::event::Event;
use crate::units;

/// A compiled template.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong, a lowercase fragment.
    pub message: String,
}

/// Why a template could not be rendered for an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the event has no `{variable}`")]
pub struct RenderError {
    /// What the event lacks, as the template names it.
    pub variable: String,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(Hole),
}

/// A `{{…}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hole {
    variable: Variable,
    default: Option<String>,
    is_words: bool,
}

/// What a hole is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Variable {
    Id,
    Source,
    Type,
    Subject,
    Time,
    ContentType,
    Data(Lookup),
    Extension(String),
}

/// What of a publisher's value is percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Nothing.
    Plain,
    /// What means something in a routing key, a channel pattern or a path.
    Word,
    /// The same, but dots count.
    Words,
}

impl Template {
    /// Compiles `text`.
    ///
    /// # Errors
    /// Where and why `text` is no template.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { source: text.to_owned(), pieces: parse::parse(text)? })
    }

    /// A template that always renders as `text`, braces and all.
    pub fn literal(text: &str) -> Self {
        let pieces = if text.is_empty() { vec![] } else { vec![Piece::Text(text.to_owned())] };
        Self { source: text.to_owned(), pieces }
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it always renders as, if that depends on no event.
    pub fn as_constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether all that it needs of an event is its data.
    pub fn uses_only_data(&self) -> bool {
        self.holes().all(|hole| matches!(hole.variable, Variable::Data(_)))
    }

    /// Appends the template filled from `event` to `out`, for a routing key or a channel.
    ///
    /// The number of words is the same whatever a publisher puts into data and extensions.
    ///
    /// # Errors
    /// If the event lacks something that has no default; `out` is unchanged then.
    pub fn render(&self, event: &Event<'_>, out: &mut String) -> Result<(), RenderError> {
        self.fill(out, |hole, out| fill_from_event(hole, event, hole.encoding(), out))
    }

    /// As [`render`](Self::render), but values appear as they are; for headers and attributes.
    ///
    /// # Errors
    /// If the event lacks something that has no default; `out` is unchanged then.
    pub fn render_plain(&self, event: &Event<'_>, out: &mut String) -> Result<(), RenderError> {
        self.fill(out, |hole, out| fill_from_event(hole, event, Encoding::Plain, out))
    }

    /// Appends the template filled from JSON `data` alone, values as they are.
    ///
    /// # Errors
    /// If the data lacks something that has no default, or the template uses more than data;
    /// `out` is unchanged then.
    pub fn render_data(&self, data: &[u8], out: &mut String) -> Result<(), RenderError> {
        self.fill(out, |hole, out| match &hole.variable {
            Variable::Data(field) => field.find(data, Encoding::Plain, out),
            _ => false,
        })
    }

    fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(hole) => Some(hole),
            Piece::Text(_) => None,
        })
    }

    /// Renders with `fill`, which answers whether the hole had a value.
    fn fill(
        &self,
        out: &mut String,
        fill: impl Fn(&Hole, &mut String) -> bool,
    ) -> Result<(), RenderError> {
        let start = out.len();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Hole(hole) => {
                    if fill(hole, out) {
                        continue;
                    }
                    let Some(default) = &hole.default else {
                        out.truncate(start);
                        return Err(RenderError { variable: hole.variable.to_string() });
                    };
                    out.push_str(default);
                }
            }
        }
        Ok(())
    }
}

impl Hole {
    fn encoding(&self) -> Encoding {
        if self.is_words { Encoding::Words } else { Encoding::Word }
    }
}

impl Encoding {
    fn applies_to(self, c: char) -> bool {
        match self {
            Self::Plain => false,
            Self::Word => c == '.' || Self::Words.applies_to(c),
            Self::Words => matches!(c, '*' | '#' | '%' | '/') || c.is_control(),
        }
    }

    /// Appends `value`, encoded.
    fn push(self, value: &str, out: &mut String) {
        if self == Self::Plain {
            return out.push_str(value);
        }
        let mut rest = value;
        while let Some(at) = rest.find(|c| self.applies_to(c)) {
            out.push_str(&rest[..at]);
            let len = rest[at..].chars().next().map_or(1, char::len_utf8);
            for byte in &rest.as_bytes()[at..at + len] {
                push_percent(*byte, out);
            }
            rest = &rest[at + len..];
        }
        out.push_str(rest);
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id"),
            Self::Source => f.write_str("source"),
            Self::Type => f.write_str("type"),
            Self::Subject => f.write_str("subject"),
            Self::Time => f.write_str("time"),
            Self::ContentType => f.write_str("datacontenttype"),
            Self::Data(field) => write!(f, "data.{}", field.words().join(".")),
            Self::Extension(name) => write!(f, "ext.{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TemplateVisitor)
    }
}

struct TemplateVisitor;

impl Visitor<'_> for TemplateVisitor {
    type Value = Template;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a template such as \"{{type}}\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Template, E> {
        Template::compile(text).map_err(|error| {
            let column = text[..error.offset].chars().count() + 1;
            E::custom(format!("the template is broken at its character {column}: {error}"))
        })
    }
}

/// Appends what `event` has for `hole`; answers whether it has something.
fn fill_from_event(hole: &Hole, event: &Event<'_>, encoding: Encoding, out: &mut String) -> bool {
    let attribute = match &hole.variable {
        Variable::Id => Some(event.id()),
        Variable::Source => Some(event.source()),
        Variable::Type => Some(event.event_type()),
        Variable::Subject => event.subject(),
        Variable::ContentType => event.content_type(),
        Variable::Time => {
            units::format_time(event.time(), out);
            return true;
        }
        Variable::Data(field) => return field.find(event.data(), encoding, out),
        Variable::Extension(name) => {
            let value = event.extension(name);
            value.inspect(|value| encoding.push(value, out));
            return value.is_some();
        }
    };
    attribute.inspect(|value| out.push_str(value));
    attribute.is_some()
}

fn push_percent(byte: u8, out: &mut String) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 15)]);
}
