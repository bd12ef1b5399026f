//! A fault for machines: `weir check --output json` and the admin API.

use serde::Serialize;

use super::{Fault, Severity};

/// A fault as JSON; part of the public interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlainFault {
    /// The file, as the operator named it.
    pub file: String,
    /// From 1; `null` if the file as a whole is meant.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
    /// `W0123`.
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl From<&Fault> for PlainFault {
    fn from(fault: &Fault) -> Self {
        let position = fault.position();
        Self {
            file: fault.file.path.display().to_string(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            code: fault.code,
            severity: fault.severity,
            message: fault.message.clone(),
            help: fault.help.clone(),
        }
    }
}
