//! `weir plugin new`: a project that builds at once, with the SDK it needs inside.

mod files;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write, stdout};
use std::path::PathBuf;

use clap::Args;

use self::files::{File, files};
use super::super::Exit;
use super::Failure;
use super::project::Language;

/// Longest name of a plugin.
const NAME_MAX: usize = 64;

/// Make a project for a new plugin, with a test and a README
#[derive(Debug, Args)]
pub(super) struct New {
    /// Name of the plugin, and of the folder that is made
    name: String,
    /// Language to write it in
    #[arg(long = "lang", value_enum, default_value = "rust")]
    language: Language,
}

impl New {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let Self { name, language } = self;
        if !is_name(&name) {
            let failure = Failure::new(format!("`{name}` cannot name a plugin"));
            let help = "1 to 64 letters a-z, digits and `-`, the first one a letter";
            return Err(failure.help(help));
        }
        let dir = PathBuf::from(&name);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let failure = Failure::new(format!("there is a `{name}` here already"));
                return Err(failure.help("choose another name, or remove it"));
            }
            made => made.map_err(|error| Failure::io("make the folder", &dir, &error))?,
        }
        for File { path, text } in files(language) {
            let path = dir.join(path);
            let folder = path.parent().expect("it is in the project's folder");
            let written = fs::create_dir_all(folder)
                .and_then(|()| fs::write(&path, filled(text, &name, language)));
            written.map_err(|error| Failure::io("write", &path, &error))?;
        }
        let mut out = stdout().lock();
        writeln!(out, "made {name}; README.md in it says how to go on:")?;
        writeln!(out, "  cd {name}")?;
        if let Some(install) = install(language) {
            writeln!(out, "  {install}")?;
        }
        writeln!(out, "  weir plugin test")?;
        Ok(Exit::Ok)
    }
}

/// What gets the language's own tool, where it is not part of the language.
fn install(language: Language) -> Option<&'static str> {
    match language {
        Language::Rust => Some("rustup target add wasm32-unknown-unknown"),
        Language::JavaScript => Some("npm install"),
        Language::Python => {
            Some("python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1")
        }
    }
}

/// A text of a template with what stands in it for something else put in.
fn filled(text: &str, name: &str, language: Language) -> String {
    let source = match language {
        Language::Rust => "src/lib.rs",
        Language::JavaScript => "src/index.js",
        Language::Python => "src/plugin.py",
    };
    let text = text.replace("INSTALL\n", &format!("{}\n", install(language).unwrap_or_default()));
    text.replace("SOURCE", source).replace("NAME", name)
}

fn is_name(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= NAME_MAX
        && name.chars().all(is_fit)
}
