//! The `weir` command: parses arguments, runs the command, exits with its code.

use std::process::ExitCode;

use clap::Parser;
use weir::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run().into()
}
