//! From the text of a template to its pieces.

use super::lookup::Lookup;
use super::{Hole, Piece, TemplateError, Variable};

/// The variables that stand alone.
const ATTRIBUTES: [(&str, Variable); 6] = [
    ("id", Variable::Id),
    ("source", Variable::Source),
    ("type", Variable::Type),
    ("subject", Variable::Subject),
    ("time", Variable::Time),
    ("datacontenttype", Variable::ContentType),
];

/// Splits `text` into pieces.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{") {
        let open = at + open;
        if open > at {
            pieces.push(Piece::Text(text[at..open].to_owned()));
        }
        let mut cursor = Cursor { text, at: open + 2 };
        pieces.push(Piece::Hole(cursor.hole(open)?));
        at = cursor.at;
    }
    if let Some(close) = text[at..].find("}}") {
        return Err(error(at + close, "`}}` without a `{{` before it"));
    }
    if at < text.len() {
        pieces.push(Piece::Text(text[at..].to_owned()));
    }
    Ok(pieces)
}

/// A place in the text of a template.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads the rest of the hole that was opened at `open`.
    fn hole(&mut self, open: usize) -> Result<Hole, TemplateError> {
        self.skip_spaces();
        let mut hole = Hole { variable: self.variable()?, default: None, is_words: false };
        loop {
            self.skip_spaces();
            if self.take("}}") {
                return Ok(hole);
            }
            if self.rest().is_empty() {
                return Err(error(open, "`{{` is never closed with `}}`"));
            }
            if !self.take("|") {
                return Err(error(self.at, "expected `|` or `}}`"));
            }
            self.skip_spaces();
            self.modifier(&mut hole)?;
        }
    }

    fn modifier(&mut self, hole: &mut Hole) -> Result<(), TemplateError> {
        let at = self.at;
        if self.rest().starts_with('"') {
            if hole.default.is_some() {
                return Err(error(at, "there is a default already"));
            }
            hole.default = Some(self.quoted()?);
            return Ok(());
        }
        let is_from_publisher = matches!(hole.variable, Variable::Data(_) | Variable::Extension(_));
        match self.word() {
            "words" if !is_from_publisher => {
                let message = format!("the dots of `{}` count anyway; drop `words`", hole.variable);
                Err(error(at, message))
            }
            "words" => {
                hole.is_words = true;
                Ok(())
            }
            "" => Err(error(at, "expected a default in quotes, or `words`")),
            other => {
                let message =
                    format!("unknown modifier `{other}`, expected `words` or a default in quotes");
                Err(error(at, message))
            }
        }
    }

    fn variable(&mut self) -> Result<Variable, TemplateError> {
        let at = self.at;
        let name = self.word();
        if name == "data" || name == "ext" {
            let mut path = Vec::new();
            while self.take(".") {
                let segment = self.word().to_owned();
                if segment.is_empty() {
                    return Err(error(self.at, "expected the name of a field after `.`"));
                }
                path.push(segment);
            }
            return match (name, path.as_slice()) {
                ("data", [_, ..]) => Ok(Variable::Data(Lookup::new(path))),
                ("data", []) => Err(error(at, "`data` needs a field: `data.user`")),
                (_, [name]) => Ok(Variable::Extension(name.clone())),
                _ => Err(error(at, "`ext` needs one attribute name: `ext.tenant`")),
            };
        }
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == name);
        known.map(|(_, variable)| variable.clone()).ok_or_else(|| {
            let message = match name {
                "" => "expected a variable, such as `type` or `data.user`".to_owned(),
                name => format!(
                    "unknown variable `{name}`, expected one of `id`, `source`, `type`, \
                     `subject`, `time`, `datacontenttype`, `data.…`, `ext.…`"
                ),
            };
            error(at, message)
        })
    }

    /// Reads a string in double quotes, in which a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<String, TemplateError> {
        let open = self.at;
        let mut out = String::new();
        let mut chars = self.text[open + 1..].char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = open + 1 + index + 1;
                    return Ok(out);
                }
                '\\' => out.extend(chars.next().map(|(_, c)| c)),
                c => out.push(c),
            }
        }
        Err(error(open, "the quote is never closed"))
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

fn error(offset: usize, message: impl Into<String>) -> TemplateError {
    TemplateError { offset, message: message.into() }
}
