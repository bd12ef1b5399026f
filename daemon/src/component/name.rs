//! Names of pipelines and components.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Longest name that a pipeline or component may have, in bytes.
const NAME_MAX: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a name is 1 to {NAME_MAX} letters, digits, `-` or `_`, and `{0}` is not")]
pub struct NameError(String);

fn check(name: &str) -> Result<(), NameError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_name = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(is_plain);
    if is_name { Ok(()) } else { Err(NameError(name.to_owned())) }
}

/// The name of a pipeline: the stem of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PipelineName(String);

impl PipelineName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// If `name` has characters that a name may not have.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check(name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A component's place: its pipeline and its name there, `clickstream.http`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ComponentId {
    /// The pipeline that declares it.
    pub pipeline: PipelineName,
    /// Its name within the pipeline.
    pub name: String,
}

impl ComponentId {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// If `name` has characters that a name may not have.
    pub fn new(pipeline: &PipelineName, name: &str) -> Result<Self, NameError> {
        check(name)?;
        Ok(Self { pipeline: pipeline.clone(), name: name.to_owned() })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pipeline, self.name)
    }
}
