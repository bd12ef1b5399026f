//! Finds what to redact in a JSON text, by walking over the text itself.
//!
//! A valid document comes in, edits of its text go out, in order. Nothing is built or written
//! again, so all that is not edited keeps its bytes.

use std::borrow::Cow;
use std::ops::Range;

use crate::path::Progress;
use crate::{Edit, Redact, apply};

/// The edits of `document`, which must be valid JSON.
pub(crate) fn edits(document: &str, rules: &Redact) -> Vec<Edit> {
    let mut walk = Walk {
        text: document,
        at: 0,
        rules,
        progress: Progress::start(&rules.fields),
        edits: Vec::new(),
    };
    walk.value(0..walk.progress.len());
    walk.edits
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    rules: &'a Redact,
    /// A stack: the progress of the place being read, on top of that of the places around it.
    progress: Vec<Progress>,
    edits: Vec<Edit>,
}

/// The members of an object that were passed, as far as removing others needs to know.
#[derive(Default)]
struct Passed {
    /// Where the last member ends, if one before it stays.
    end: Option<usize>,
    /// Where a removed member starts, if none before it stays.
    removed_from: Option<usize>,
}

impl Walk<'_> {
    fn value(&mut self, progress: Range<usize>) {
        match self.peek() {
            b'{' => self.object(progress),
            b'[' => self.array(progress),
            b'"' => {
                let span = self.skip_value();
                self.string(span);
            }
            b'-' | b'0'..=b'9' => {
                let span = self.skip_value();
                let number = &self.text[span.clone()];
                if let Some(with) = self.rules.replacer.number(&self.rules.detectors, number) {
                    self.edits.push(Edit { span, with });
                }
            }
            _ => {
                self.skip_value();
            }
        }
    }

    fn object(&mut self, progress: Range<usize>) {
        self.at += 1;
        let mut passed = Passed::default();
        while self.peek() == b'"' {
            let start = self.at;
            if let Some(removed) = passed.removed_from.take() {
                self.edits.push(Edit { span: removed..start, with: String::new() });
            }
            let key = self.skip_value();
            self.peek();
            self.at += 1;
            let name = unescaped(&self.text[key]);
            let is_removed = self.child(progress.clone(), &name) == Fate::Removed;
            match (is_removed, passed.end) {
                (false, _) => passed.end = Some(self.at),
                (true, Some(end)) => {
                    self.edits.push(Edit { span: end..self.at, with: String::new() });
                    passed.end = Some(self.at);
                }
                (true, None) => passed.removed_from = Some(start),
            }
            let end = self.at;
            if self.peek() == b',' {
                self.at += 1;
            } else if let Some(removed) = passed.removed_from.take() {
                self.edits.push(Edit { span: removed..end, with: String::new() });
            }
        }
        self.at += 1;
    }

    fn array(&mut self, progress: Range<usize>) {
        self.at += 1;
        let mut index = 0_usize;
        while self.peek() != b']' {
            let start = self.at;
            if self.child(progress.clone(), &index.to_string()) == Fate::Removed {
                self.edits.push(Edit { span: start..self.at, with: "null".to_owned() });
            }
            index += 1;
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    /// Passes the value at the child `name`, and redacts it or what is in it.
    fn child(&mut self, progress: Range<usize>, name: &str) -> Fate {
        let base = self.progress.len();
        let mut is_field = false;
        for index in progress {
            let progress = self.progress[index];
            is_field |= progress.step(&self.rules.fields, name, &mut self.progress);
        }
        let fate = if is_field {
            self.field()
        } else {
            self.peek();
            self.value(base..self.progress.len());
            Fate::Stays
        };
        self.progress.truncate(base);
        fate
    }

    fn field(&mut self) -> Fate {
        self.peek();
        let span = self.skip_value();
        let value = &self.text[span.clone()];
        if value == "null" {
            return Fate::Stays;
        }
        let content = if value.starts_with('"') { unescaped(value) } else { value.into() };
        if self.rules.replacer.removes() {
            return Fate::Removed;
        }
        let mut with = String::new();
        self.rules.replacer.field(&content, &mut with);
        self.edits.push(Edit { span, with: quoted(&with) });
        Fate::Stays
    }

    fn string(&mut self, span: Range<usize>) {
        let content = unescaped(&self.text[span.clone()]);
        let edits = self.rules.detected(&content);
        if !edits.is_empty() {
            let edited = apply(content.as_bytes(), &edits);
            self.edits.push(Edit { span, with: quoted(&String::from_utf8_lossy(&edited)) });
        }
    }

    /// The first byte after spaces, without passing it.
    fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += spaces;
        rest.get(spaces).copied().unwrap_or(b']')
    }

    /// Passes one value and tells where it was.
    fn skip_value(&mut self) -> Range<usize> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => self.skip_string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(byte) if depth > 0 && (b" \t\r\n,:".contains(byte)) => self.at += 1,
                _ => {
                    let rest = &bytes[self.at..];
                    let is_plain = |byte: &&u8| !b" \t\r\n,:]}".contains(byte);
                    self.at += rest.iter().take_while(is_plain).count();
                }
            }
            if depth == 0 || self.at >= bytes.len() {
                return start..self.at;
            }
        }
    }

    fn skip_string(&mut self) {
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = (self.at + 1).min(bytes.len());
    }
}

/// What became of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Removed,
}

/// What a JSON string says; where that is no text (half a surrogate pair), how it is written.
fn unescaped(string: &str) -> Cow<'_, str> {
    let inner = string.get(1..string.len() - 1).unwrap_or_default();
    if !inner.contains('\\') {
        return inner.into();
    }
    serde_json::from_str::<String>(string).map_or_else(|_| inner.into(), Cow::from)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
