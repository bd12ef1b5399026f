//! The tools for plugin authors, as an author's shell runs them.

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use crate::artifacts;
use crate::directory::Directory;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Results.
    pub out: String,
    /// Talk.
    pub err: String,
    /// The time of the processor that it took, with all that it started.
    pub cpu: Duration,
}

/// A language that plugins are written in.
#[derive(Debug)]
pub struct Language {
    /// As `--lang` takes it.
    pub name: &'static str,
    /// The file of a new project that holds the plugin.
    pub entry: &'static str,
    /// The plugin of the conformance kit.
    pub kit: &'static str,
    /// What builds it, below the folder of tools; nothing where the toolchain of Rust does.
    tool: Option<&'static str>,
}

/// Rust.
pub const RUST: Language =
    Language { name: "rust", entry: "src/lib.rs", kit: "kit.rs", tool: None };

/// JavaScript.
pub const JAVASCRIPT: Language = Language {
    name: "js",
    entry: "src/index.js",
    kit: "kit.js",
    tool: Some("node_modules/.bin/componentize-qjs"),
};

/// Python.
pub const PYTHON: Language = Language {
    name: "python",
    entry: "src/plugin.py",
    kit: "kit.py",
    tool: Some("bin/componentize-py"),
};

/// Runs `weir plugin` with `arguments` in the folder `dir`.
///
/// # Panics
/// If the binary cannot be started.
pub fn plugin(dir: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new("sh");
    // `times` is of POSIX: what the shell took, then what it started.
    command.args(["-c", r#""$@"; code=$?; times >&2; exit $code"#, "sh"]);
    command.arg(artifacts::weir()).arg("plugin").args(arguments);
    command.current_dir(dir).stdin(Stdio::null());
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [folder().join("bin")].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(path).expect("folders of tools have plain names"));
    // What was compiled once need not be compiled by each test.
    command.env("NO_COLOR", "1").env("XDG_CACHE_HOME", artifacts::caches());
    let output = command.output().expect("a shell can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut err = text(&output.stderr);
    let cpu = err.lines().last().map_or(Duration::ZERO, |line| line.split(' ').map(time).sum());
    let last_two = err.trim_end().rmatch_indices('\n').nth(1).map_or(0, |(at, _)| at + 1);
    err.truncate(last_two);
    Said { code: output.status.code(), out: text(&output.stdout), err, cpu }
}

/// A fresh folder for a project in that language; `None`, told loudly, where its tool is missing.
///
/// # Panics
/// If the tool is missing in CI.
pub fn projects(language: &Language) -> Option<Directory> {
    let Some(tool) = language.tool else { return Some(Directory::fresh()) };
    let path = folder().join(tool);
    if path.exists() {
        let directory = Directory::fresh();
        if language.name == "js" {
            let modules = directory.path().join("node_modules");
            let linked = std::os::unix::fs::symlink(folder().join("node_modules"), modules);
            linked.expect("a fresh folder takes a link");
        }
        return Some(directory);
    }
    let message = format!("there is no {}: run `make plugin-tools`", path.display());
    assert!(env::var_os("CI").is_none(), "{message}");
    // To the real stderr: a message that a passing test captures is a message that nobody sees.
    writeln!(stderr(), "SKIPPED: {message}").ok();
    None
}

/// Where `make plugin-tools` puts what builds plugins in other languages than Rust.
fn folder() -> PathBuf {
    let folder = artifacts::repository().join("target/plugin-tools");
    fs::canonicalize(&folder).unwrap_or(folder)
}

/// A time as `times` writes it, such as `0m1.230000s`.
fn time(text: &str) -> Duration {
    let parts = text.trim_end_matches('s').split_once('m');
    let (minutes, seconds) = parts.unwrap_or(("0", "0"));
    let seconds: f64 = seconds.parse().unwrap_or_default();
    Duration::from_secs_f64(minutes.parse::<f64>().unwrap_or_default() * 60.0 + seconds)
}
