//! A fault: what is wrong in a file, where, and what to do about it.

use std::fmt;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;
use thiserror::Error;

use crate::component::BuildError;

/// The shortest interpolated value that is cut out of messages; shorter ones are in every text.
const SECRET_MIN: usize = 4;

/// A file of the configuration: its text, and what must never be shown.
pub struct SourceFile {
    /// Where it is, as the operator named it.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
    /// Values that were interpolated, longest first.
    secrets: Vec<String>,
    named: NamedSource<String>,
}

/// How much a fault matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file is not put in force.
    Error,
    /// The file does what it says, which its author may not want.
    Warning,
}

/// Something wrong in a file of the configuration.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct Fault {
    /// The kind of fault, from [`CODES`](super::CODES).
    pub code: &'static str,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where in its text, in bytes; nothing if the file as a whole is meant.
    pub span: Option<Range<usize>>,
}

impl SourceFile {
    /// A file that holds `text`.
    pub fn new(path: &Path, text: String) -> Self {
        let name = path.display().to_string();
        Self {
            path: path.to_owned(),
            named: NamedSource::new(name, harmless(&text)),
            text,
            secrets: Vec::new(),
        }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is larger than 1 MiB or not UTF-8.
    pub fn read(path: &Path) -> Result<Arc<Self>, Fault> {
        super::listing::read_text(path).map(|text| Arc::new(Self::new(path, text)))
    }

    /// The same file, knowing which values must never be shown.
    #[must_use]
    pub(super) fn hiding(mut self, mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| secret.len() >= SECRET_MIN);
        secrets.sort_by_key(|secret| usize::MAX - secret.len());
        self.secrets = secrets;
        self
    }

    /// The faults that `errors` are in this file, in the order of its lines.
    pub(super) fn faults(self: &Arc<Self>, errors: Vec<BuildError>) -> Vec<Fault> {
        let faults = errors.into_iter().map(|error| match error.span.clone() {
            Some(span) => self.fault(error, span),
            None => self.fault_of_all(error),
        });
        let mut faults: Vec<Fault> = faults.collect();
        faults.sort_by_key(|fault| fault.span.as_ref().map_or(0, |span| span.start));
        faults
    }

    /// The fault that `error` is in this file; at `fallback` if it does not know its place.
    pub fn fault(self: &Arc<Self>, error: BuildError, fallback: Range<usize>) -> Fault {
        let span = error.span.clone().unwrap_or(fallback);
        Fault { span: Some(self.within(span)), ..self.fault_of_all(error) }
    }

    /// Like [`fault`](Self::fault), for what only deserves a second look.
    pub fn warning(self: &Arc<Self>, error: BuildError, fallback: Range<usize>) -> Fault {
        Fault { severity: Severity::Warning, ..self.fault(error, fallback) }
    }

    /// The fault that `error` is of the file as a whole.
    pub(super) fn fault_of_all(self: &Arc<Self>, error: BuildError) -> Fault {
        Fault {
            code: error.code,
            severity: Severity::Error,
            message: self.redact(error.message),
            help: error.help.map(|help| self.redact(help)),
            file: Arc::clone(self),
            span: None,
        }
    }

    /// Cuts interpolated values and what a terminal would obey out of a text for people.
    fn redact(&self, text: String) -> String {
        let secrets = self.secrets.iter();
        harmless(&secrets.fold(text, |text, secret| text.replace(secret.as_str(), "…")))
    }

    /// The part of `span` that is text, starting and ending between characters.
    fn within(&self, span: Range<usize>) -> Range<usize> {
        let floor = |at: usize| self.text.floor_char_boundary(at.min(self.text.len()));
        let mut start = floor(span.start);
        let end = floor(span.end).max(start);
        if start == self.text.len() {
            // There is no place after the last character to point at.
            start = floor(start.saturating_sub(1));
        }
        start..end
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceFile").field(&self.path).finish()
    }
}

impl Fault {
    /// Line and column, both from 1, columns in characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        let start = self.span.as_ref()?.start;
        let before = &self.file.text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Some((line, column))
    }

    /// `file:line:column`, as far as it is known.
    pub fn place(&self) -> String {
        let file = self.file.path.display();
        match self.position() {
            Some((line, column)) => format!("{file}:{line}:{column}"),
            None => file.to_string(),
        }
    }
}

impl Diagnostic for Fault {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.is_some().then_some(&self.file.named as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// The same text, as long in bytes, without control characters but line ends and tabs.
fn harmless(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        '\r' => " ".to_owned(),
        c if c.is_control() => "?".repeat(c.len_utf8()),
        c => c.to_string(),
    };
    text.chars().map(harmless).collect()
}
