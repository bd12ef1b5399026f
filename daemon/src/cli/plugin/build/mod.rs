//! `weir plugin build`: the language's own tool makes the component; what it made is checked.
//!
//! One file per language. Nothing is installed: what is missing is named with the command that
//! gets it.

mod javascript;
mod python;
mod rust;

use std::fs;
use std::io::{self, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Args;

use super::super::Exit;
use super::project::{Language, Project};
use super::{Failure, engine};
use crate::wasm::Watch;

/// Build the plugin of a project into dist/NAME.wasm
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Folder of the project
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl Build {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let project = Project::open(&self.dir)?;
        build(&project)?;
        writeln!(stdout(), "{}", project.plugin().display())?;
        Ok(Exit::Ok)
    }
}

/// Builds the project's plugin and checks that this daemon can run it.
///
/// The former build stays until there is one that can be run.
pub(super) fn build(project: &Project) -> Result<(), Failure> {
    let plugin = project.plugin();
    let dist = plugin.parent().expect("it is in a folder");
    fs::create_dir_all(dist).map_err(|error| Failure::io("make the folder", dist, &error))?;
    let partial = plugin.with_extension("wasm.tmp");
    match project.language {
        Language::Rust => rust::build(project, &partial)?,
        Language::JavaScript => javascript::build(project, &partial)?,
        Language::Python => python::build(project, &partial)?,
    }
    let checked = engine(Watch::Time)?.load(&partial);
    if let Err(error) = checked {
        drop(fs::remove_file(&partial));
        return Err(Failure::plugin(&plugin, &error));
    }
    fs::rename(&partial, &plugin).map_err(|error| Failure::io("write", &plugin, &error))
}

/// Runs a tool in the project's folder and answers what it printed on stdout; what it says on
/// stderr is shown as it comes.
fn tool(project: &Project, command: &mut Command, install: &str) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.current_dir(&project.dir).stdin(Stdio::null()).stderr(Stdio::inherit());
    match command.output() {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => {
            // Some tools say on stdout what is wrong.
            drop(stderr().write_all(&output.stdout));
            Err(Failure::new(format!("{name} could not build it ({})", output.status)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(format!("{name} is not installed")).help(install))
        }
        Err(error) => Err(Failure::io("run", Path::new(&name), &error)),
    }
}
