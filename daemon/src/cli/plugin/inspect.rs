//! `weir plugin inspect`: what a file is, what it asks for, and whether this daemon can run it.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::{Exit, Output};
use super::{Failure, engine, plugin_at};
use crate::wasm::{Inspection, Watch};

/// The package of the contract, as imports and exports name it.
const PACKAGE: &str = "weir:plugin/";

/// The interface whose version is that of the contract: every plugin exports it.
const TRANSFORM: &str = "transform";

/// Say what a plugin is and what it asks for
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A plugin's file, or the folder of its project
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What is printed for programs.
#[derive(Serialize)]
struct Document<'a> {
    file: &'a Path,
    /// `None` if the file does not export the contract.
    world: Option<String>,
    version: Option<&'a str>,
    grants: &'a [String],
    imports: &'a [String],
    exports: &'a [String],
    bytes: usize,
    sha256: &'a str,
    problem: Option<String>,
    help: Option<String>,
}

impl Inspect {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let file = plugin_at(&self.plugin)?;
        let inspected = engine(Watch::Time)?.inspect(&file);
        let inspection = inspected.map_err(|error| Failure::plugin(&file, &error))?;
        let document = Document::of(&file, &inspection);
        let mut out = stdout().lock();
        match self.output {
            Output::Json => {
                serde_json::to_writer(&mut out, &document).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
            Output::Text => document.print(&mut out)?,
        }
        Ok(if inspection.problem.is_some() { Exit::FoundProblems } else { Exit::Ok })
    }
}

impl<'a> Document<'a> {
    fn of(file: &'a Path, inspection: &'a Inspection) -> Self {
        let version = inspection.exports.iter().find_map(|export| {
            let (name, version) = export.strip_prefix(PACKAGE)?.split_once('@')?;
            (name == TRANSFORM).then_some(version)
        });
        let problem = inspection.problem.as_ref();
        Self {
            file,
            world: version.map(|version| format!("{PACKAGE}plugin@{version}")),
            version,
            grants: &inspection.grants,
            imports: &inspection.imports,
            exports: &inspection.exports,
            bytes: inspection.bytes,
            sha256: &inspection.digest,
            problem: problem.map(ToString::to_string),
            help: problem.and_then(crate::wasm::LoadError::help),
        }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let none = |what: String| if what.is_empty() { "none".to_owned() } else { what };
        writeln!(out, "file     {}", self.file.display())?;
        writeln!(out, "world    {}", self.world.as_deref().unwrap_or("none of Weir's"))?;
        writeln!(out, "grants   {}", none(self.grants.join(", ")))?;
        writeln!(out, "imports  {}", none(self.imports.join("\n         ")))?;
        writeln!(out, "exports  {}", none(self.exports.join("\n         ")))?;
        writeln!(out, "size     {} bytes", self.bytes)?;
        writeln!(out, "sha256   {}", self.sha256)?;
        match (&self.problem, &self.help) {
            (Some(problem), Some(help)) => writeln!(out, "runs     no: {problem}; {help}"),
            (Some(problem), None) => writeln!(out, "runs     no: {problem}"),
            (None, _) if self.grants.is_empty() => writeln!(out, "runs     yes"),
            (None, _) => {
                writeln!(out, "runs     yes, where the step says grants = {:?}", self.grants)
            }
        }
    }
}
