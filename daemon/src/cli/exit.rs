//! Exit codes, each with one meaning.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// Gave up at run time.
    GaveUp = 1,
    /// A check found problems.
    FoundProblems = 3,
    /// No daemon answers.
    Unreachable = 4,
    /// The daemon said no.
    Refused = 5,
    /// The daemon took too long.
    TimedOut = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
