//! Why a command for plugins gave up, and what its user can do about it.

use std::io::{self, Write, stderr, stdout};
use std::path::Path;

use super::super::Exit;
use crate::config::Fault;
use crate::config::report::{self, Format};
use crate::wasm::LoadError;

/// Why a command gave up.
#[derive(Debug)]
pub(super) struct Failure(Box<Why>);

#[derive(Debug)]
enum Why {
    /// Files are wrong: told with a finger on the spot.
    Files(Vec<Fault>),
    /// Anything else.
    Words { exit: Exit, message: String, help: Option<String> },
}

impl Failure {
    /// A failure in words, a lowercase fragment.
    pub(super) fn new(message: impl Into<String>) -> Self {
        let (exit, message) = (Exit::GaveUp, message.into());
        Self(Box::new(Why::Words { exit, message, help: None }))
    }

    /// A failure to `do_what` with the file at `path`.
    pub(super) fn io(do_what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {do_what} {}: {error}", path.display()))
    }

    /// A file that is no plugin, or one that this host cannot run.
    pub(super) fn plugin(path: &Path, error: &LoadError) -> Self {
        let failure = Self::found(format!("{}: {error}", path.display()));
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }

    /// Something that a check found.
    pub(super) fn found(message: String) -> Self {
        Self(Box::new(Why::Words { exit: Exit::FoundProblems, message, help: None }))
    }

    /// Says what to do about it.
    pub(super) fn help(mut self, what: impl Into<String>) -> Self {
        if let Why::Words { help, .. } = &mut *self.0 {
            *help = Some(what.into());
        }
        self
    }

    /// Tells it and answers the exit code that it amounts to.
    pub(super) fn tell(self, has_color: bool) -> Exit {
        // Nobody is left to tell if a stream is closed; the exit code says it too.
        match *self.0 {
            Why::Files(faults) => {
                drop(report::print(&faults, &mut stdout().lock(), Format::Text, has_color));
                Exit::FoundProblems
            }
            Why::Words { exit, message, help } => {
                let mut out = stderr().lock();
                drop(writeln!(out, "error: {message}"));
                drop(help.map(|help| writeln!(out, "help: {help}")));
                exit
            }
        }
    }
}

impl From<Vec<Fault>> for Failure {
    fn from(faults: Vec<Fault>) -> Self {
        Self(Box::new(Why::Files(faults)))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::from(vec![fault])
    }
}

/// A result that cannot be printed; who reads no further has what they wanted.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_enough = error.kind() == io::ErrorKind::BrokenPipe;
        let exit = if is_enough { Exit::Ok } else { Exit::GaveUp };
        let message = format!("the result cannot be printed: {error}");
        Self(Box::new(Why::Words { exit, message, help: None }))
    }
}
