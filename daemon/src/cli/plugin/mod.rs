//! `weir plugin`: all that an author needs, from an empty folder to a plugin that runs.
//!
//! One file per command. They work on a project folder, which [`project`] knows, or on a `.wasm`;
//! what they run, they run in the daemon's own sandbox under its limits.

mod bench;
mod build;
mod compare;
mod compile;
mod failure;
mod golden;
mod inspect;
mod new;
mod project;
mod test;
mod verdict;

use std::env;
use std::io::stdout;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::failure::Failure;
use self::project::Project;
use super::{Exit, Global};
use crate::wasm::{Wasm, Watch};

/// What `weir plugin --help` ends with.
const GUIDE: &str = "\
A plugin judges events: it keeps, drops, changes, splits, routes or fails them. The way to one:
  weir plugin new NAME   a project that builds at once: --lang rust, js or python
  weir plugin build      makes dist/NAME.wasm with the language's own tool
  weir plugin test       builds it, and compares its verdicts with golden files:
    golden/CASE/step.toml       config, limits and grants, as in a [[transform]]
    golden/CASE/events.jsonl    one event per line; an empty line ends a batch
    golden/CASE/verdicts.jsonl  what it shall say; --update writes it
  weir plugin bench      says what it costs per event, and how much of that is the sandbox
  weir plugin inspect    says what it is, what it asks for, and whether this daemon can run it
`weir run` in the project tries it. Elsewhere, name it in a pipeline file ([[transform]] with
plugin = \"NAME\") and its folder in weir.toml (plugins = [\"tax/dist\"]). A running daemon takes every new build at once.";

/// Write, build, test and measure plugins
#[derive(Debug, Args)]
#[command(after_help = GUIDE)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a project for a new plugin, with a test and a README
    New(new::New),
    /// Build the plugin of a project into dist/NAME.wasm
    Build(build::Build),
    /// Compare a plugin's verdicts with golden files; exit code 3 if they differ
    Test(test::Test),
    /// Measure what a plugin costs
    Bench(bench::Bench),
    /// Say what a plugin is and what it asks for
    Inspect(inspect::Inspect),
    /// Compile a plugin from the standard input: what weir asks a child of its own to do
    #[command(hide = true)]
    Compile(compile::Compile),
}

impl Plugin {
    pub(super) fn run(self, global: &Global) -> Exit {
        let done = match self.command {
            Command::New(command) => command.run(),
            Command::Build(command) => command.run(),
            Command::Test(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Inspect(command) => command.run(),
            Command::Compile(command) => return command.run(),
        };
        done.unwrap_or_else(|failure| failure.tell(global.color.applies_to(&stdout())))
    }
}

/// The plugin that `path` names: a `.wasm` itself, or what the project in that folder makes,
/// built if it is older than its sources.
fn plugin_at(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let project = Project::open(path)?;
    if project.is_stale() {
        build::build(&project)?;
    }
    Ok(project.plugin())
}

/// An engine with the daemon's settings that keeps what it compiles among the user's caches.
fn engine(watch: Watch) -> Result<Wasm, Failure> {
    let engine = Wasm::watching(watch, cache_dir());
    engine.map(Wasm::apart).map_err(|error| Failure::new(error.to_string()))
}

fn cache_dir() -> Option<PathBuf> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
    Some(caches.join("weir/modules"))
}
