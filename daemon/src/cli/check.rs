//! `weir check`: every fault of every file, without running anything.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tracing::error;

use super::{Exit, Global, Output};
use crate::config::report::{self, Format};
use crate::config::{DaemonSettings, Environment, Fault, Overrides};
use crate::daemon::host;
use crate::reload::{self, Workbench};
use crate::wasm::Wasm;

/// Check pipeline files without running them.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Pipeline files, or directories of them
    #[arg(default_value = "pipelines")]
    paths: Vec<PathBuf>,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Check {
    pub(super) fn run(self, global: &Global) -> Exit {
        let environment = Environment::of_process();
        let (settings, mut faults) =
            DaemonSettings::load(global.config.as_deref(), &Overrides::default(), environment);
        let wasm = match Wasm::new(Some(settings.modules_dir())) {
            Ok(wasm) => Arc::new(wasm.apart()),
            Err(error) => {
                error!(%error, "the plugin engine does not start");
                return Exit::GaveUp;
            }
        };
        let host = host(&settings);
        let bench = Workbench { paths: self.paths, settings: Arc::new(settings), wasm, host };
        let checked = reload::check(&bench);
        faults.extend(checked.faults);
        let has_color = global.color.applies_to(&stdout());
        let warnings = checked.warnings.len();
        let said: Vec<Fault> = faults.iter().cloned().chain(checked.warnings).collect();
        let printed = print(&said, self.output, has_color);
        let printed = printed.and_then(|()| match self.output {
            Output::Text => summary(checked.pipelines, faults.len(), warnings),
            Output::Json => Ok(()),
        });
        match printed {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                error!(%error, "the report cannot be written");
                Exit::GaveUp
            }
            _ if faults.is_empty() => Exit::Ok,
            _ => Exit::FoundProblems,
        }
    }
}

/// Prints faults on stdout: they are what a check is asked for.
fn print(faults: &[Fault], output: Output, has_color: bool) -> std::io::Result<()> {
    let format = match output {
        Output::Text => Format::Text,
        Output::Json => Format::Json,
    };
    report::print(faults, &mut stdout().lock(), format, has_color)
}

fn summary(pipelines: usize, faults: usize, warnings: usize) -> std::io::Result<()> {
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let (pipelines, faults) = (count(pipelines, "pipeline"), count(faults, "fault"));
    match warnings {
        0 => writeln!(stdout(), "{pipelines}, {faults}"),
        _ => writeln!(stdout(), "{pipelines}, {faults}, {}", count(warnings, "warning")),
    }
}
