//! How a component fails: because the file is wrong, or because the world is.

use std::error::Error;
use std::ops::Range;

use thiserror::Error;

/// Something wrong in the settings of a component. Becomes a fault of the pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct BuildError {
    /// The fault's code, `W0123`; the list is in `config/fault.rs`.
    pub code: &'static str,
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// Where in the file, in bytes; the component's header where nothing better is known.
    pub span: Option<Range<usize>>,
    /// The setting that is wrong, where its place is not known.
    pub key: Option<&'static str>,
    /// What to do about it.
    pub help: Option<String>,
}

impl BuildError {
    /// An error with a code from `config/fault.rs`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span: None, key: None, help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at the value of the setting `key`.
    #[must_use]
    pub fn about(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// Points at a place in the file.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }
}

/// Whether trying again makes sense; all that the runtime branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunErrorKind {
    /// May pass by itself; the component is built again soon.
    Transient,
    /// Needs a person or a changed file; the component is built again, slowly.
    Permanent,
}

/// Why a running component gave up.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct RunError {
    /// Whether trying again makes sense.
    pub kind: RunErrorKind,
    /// What it could not do, a lowercase fragment.
    pub what: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl RunError {
    /// An error that may pass by itself.
    pub fn transient(what: impl Into<String>) -> Self {
        Self { kind: RunErrorKind::Transient, what: what.into(), source: None }
    }

    /// An error that needs a person.
    pub fn permanent(what: impl Into<String>) -> Self {
        Self { kind: RunErrorKind::Permanent, what: what.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
