//! Rust: `cargo` with the linker of the toolchain that writes finished components.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::super::Failure;
use super::super::project::Project;
use super::tool;

const TARGET: &str = "wasm32-unknown-unknown";

/// The linker that turns a module with its types into a component. It comes with Rust.
const LINKER: (&str, &str) = ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");

const INSTALL: &str = "install Rust from https://rustup.rs";

/// What `cargo` says on stdout, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds the project and copies the component to `to`.
pub(super) fn build(project: &Project, to: &Path) -> Result<(), Failure> {
    let mut libdir = Command::new("rustc");
    libdir.args(["--print", "target-libdir", "--target", TARGET]);
    let libdir = tool(project, &mut libdir, INSTALL)?;
    let libdir = String::from_utf8_lossy(&libdir.stdout).trim().to_owned();
    if !Path::new(&libdir).is_dir() {
        let failure = Failure::new(format!("Rust cannot build for {TARGET} yet"));
        return Err(failure.help(format!("run `rustup target add {TARGET}`")));
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]).env(LINKER.0, LINKER.1);
    let built = tool(project, &mut cargo, INSTALL)?;
    let Some(component) = component(project, &built.stdout) else {
        let manifest = project.dir.join("Cargo.toml");
        let failure = Failure::new(format!("{} makes no component", manifest.display()));
        return Err(failure.help("add `crate-type = [\"cdylib\", \"rlib\"]` below `[lib]`"));
    };
    let copied = fs::copy(&component, to);
    copied.map(drop).map_err(|error| Failure::io("copy", &component, &error))
}

/// The file of the project's own library among all that was built.
fn component(project: &Project, messages: &[u8]) -> Option<PathBuf> {
    let manifest = project.dir.join("Cargo.toml").canonicalize().ok()?;
    let messages = messages.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    messages
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|end| end == "wasm"))
}
