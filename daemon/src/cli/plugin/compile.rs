//! `weir plugin compile`, hidden: what a daemon that loads a plugin has a child process do.

use std::io::{Write, stderr};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::Exit;
use crate::wasm::{Watch, compile_apart};

/// Compile a plugin from the standard input
#[derive(Debug, Args)]
pub(super) struct Compile {
    /// What the compiled code is watched by
    #[arg(value_parser = watches())]
    watch: Watch,
}

impl Compile {
    pub(super) fn run(self) -> Exit {
        match compile_apart(self.watch) {
            Ok(()) => Exit::Ok,
            Err(words) => {
                // If nobody listens there is nobody to tell.
                drop(stderr().write_all(words.as_bytes()));
                Exit::FoundProblems
            }
        }
    }
}

fn watches() -> impl TypedValueParser<Value = Watch> {
    let names = PossibleValuesParser::new(Watch::ALL.map(Watch::name));
    names.map(|name| {
        let watch = Watch::ALL.into_iter().find(|watch| watch.name() == name);
        watch.expect("only names of these are taken")
    })
}
