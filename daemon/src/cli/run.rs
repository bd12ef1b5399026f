//! `weir run`: the daemon.

use std::io::stderr;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::runtime::Builder;
use tracing::error;

use super::{Exit, Global};
use crate::config::report::{self, Format};
use crate::config::{DaemonSettings, Environment, Overrides};
use crate::daemon::{self, Options};

/// Run the pipelines of a directory.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Directory of pipeline files
    #[arg(default_value = "pipelines")]
    dir: PathBuf,
    /// Address of the admin API
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Address of the listener `public`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Directory for journals and compiled modules
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Serve the demo pages at /demo on the listener `public`
    #[arg(long)]
    demo: bool,
}

impl Run {
    pub(super) fn run(self, global: &Global) -> Exit {
        let overrides =
            Overrides { admin: self.admin, listen: self.listen, data_dir: self.data_dir };
        let (settings, faults) =
            DaemonSettings::load(global.config.as_deref(), &overrides, Environment::of_process());
        if !faults.is_empty() {
            let has_color = global.color.applies_to(&stderr());
            // Nobody is left to tell if stderr is closed; the exit code says it too.
            drop(report::print(&faults, &mut stderr().lock(), Format::Text, has_color));
            return Exit::FoundProblems;
        }
        let options = Options { dir: self.dir, settings, demo: self.demo };
        let runtime = match Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                error!(%error, "no threads for the daemon");
                return Exit::GaveUp;
            }
        };
        match runtime.block_on(daemon::run(options)) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                error!(%error, "the daemon ended");
                Exit::GaveUp
            }
        }
    }
}
