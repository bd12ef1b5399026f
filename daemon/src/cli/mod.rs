//! The command line: one file per command, and what every command has in common.

mod check;
mod client;
mod dead;
mod exit;
mod journal;
mod plugin;
mod run;

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use exit::Exit;

use crate::telemetry::log::{self, LogFormat};

/// A plugin-driven pipeline daemon.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Levels of log lines, such as `info` or `info,weir::live=debug`
    #[arg(long, global = true, env = "WEIR_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Form of log lines
    #[arg(long, global = true, env = "WEIR_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// When to use colours; `NO_COLOR` is respected
    #[arg(long, global = true, value_enum, default_value_t)]
    color: Color,
    /// Settings file of the daemon [default: weir.toml if present]
    #[arg(long, global = true, env = "WEIR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipelines of a directory
    Run(run::Run),
    /// Check pipeline files without running them
    Check(check::Check),
    /// Look at events that were refused for good, replay and remove them
    Dead(dead::Dead),
    /// Look into journals: the logs on the local disk
    Journal(journal::Journal),
    /// Write, build, test and measure plugins
    Plugin(plugin::Plugin),
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to colour what goes to `stream`.
    fn applies_to(self, stream: &impl IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
            }
        }
    }
}

/// The form of data that a command prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Exit {
        let Global { log, log_format, color, .. } = &self.global;
        log::start(*log_format, log.as_deref(), color.applies_to(&stderr()));
        match self.command {
            Command::Run(command) => command.run(&self.global),
            Command::Check(command) => command.run(&self.global),
            Command::Dead(command) => command.run(&self.global),
            Command::Journal(command) => command.run(&self.global),
            Command::Plugin(command) => command.run(&self.global),
        }
    }
}
