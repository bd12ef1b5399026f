//! JavaScript: `componentize-qjs`, which puts the program and a small engine into a component.
//!
//! TypeScript and packages go through `esbuild` first, where the project has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde::Deserialize;

use super::super::Failure;
use super::super::project::{Language, Project};
use super::tool;

/// The version that is tested; any other may do.
const COMPONENTIZE: &str = "componentize-qjs@0.4.5";

const INSTALL: &str = "install Node.js 20 or later";

#[derive(Deserialize)]
struct Manifest {
    #[serde(default = "default_main")]
    main: PathBuf,
}

fn default_main() -> PathBuf {
    "src/index.js".into()
}

/// Builds the project into the component `to`.
pub(super) fn build(project: &Project, to: &Path) -> Result<(), Failure> {
    let dir = fs::canonicalize(&project.dir);
    let dir = dir.map_err(|error| Failure::io("find the folder", &project.dir, &error))?;
    let componentize = installed(&dir, "componentize-qjs")
        .ok_or_else(|| missing(project, "componentize-qjs", COMPONENTIZE))?;
    let mut entry = dir.join(main(project)?);
    if !entry.is_file() {
        let failure = Failure::new(format!("there is no {}", entry.display()));
        return Err(failure.help("`main` in package.json names the file of the plugin"));
    }
    let is_typescript = entry.extension().is_some_and(|end| end == "ts" || end == "mts");
    match installed(&dir, "esbuild") {
        Some(esbuild) => entry = bundle(project, &esbuild, &entry, &dir)?,
        None if is_typescript => return Err(missing(project, "esbuild", "esbuild")),
        None => {}
    }
    let out = env::current_dir().unwrap_or_default().join(to);
    let mut command = Command::new("node");
    command.arg(componentize).args(["--sync", "--stub-wasi", "--minify", "--wit", "wit", "--js"]);
    command.arg(&entry).arg("--module-root").arg(&dir).arg("--output").arg(out);
    tool(project, &mut command, INSTALL).map(drop)
}

/// One file of all that the plugin imports, as plain JavaScript.
fn bundle(project: &Project, esbuild: &Path, entry: &Path, dir: &Path) -> Result<PathBuf, Failure> {
    let bundled = dir.join("dist/bundle.js");
    let mut command = Command::new(esbuild);
    command.arg(entry).args([
        "--bundle",
        "--format=esm",
        "--external:weir:*",
        "--log-level=warning",
    ]);
    command.arg(format!("--outfile={}", bundled.display()));
    tool(project, &mut command, INSTALL)?;
    Ok(bundled)
}

fn main(project: &Project) -> Result<PathBuf, Failure> {
    let path = project.dir.join(Language::JavaScript.manifest());
    let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
    let manifest = serde_json::from_str(&text);
    let manifest: Manifest =
        manifest.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    Ok(manifest.main)
}

/// The program of a package in the project's folder or above it, where `npm` puts them.
fn installed(dir: &Path, name: &str) -> Option<PathBuf> {
    let program = Path::new("node_modules/.bin").join(name);
    dir.ancestors().map(|dir| dir.join(&program)).find(|path| path.exists())
}

fn missing(project: &Project, name: &str, package: &str) -> Failure {
    let path = project.dir.join(Language::JavaScript.manifest());
    let text = fs::read_to_string(path).unwrap_or_default();
    let command = match text.contains(&format!("\"{name}\"")) {
        true => "npm install".to_owned(),
        false => format!("npm install --save-dev {package}"),
    };
    let dir = project.dir.display();
    Failure::new(format!("{name} is not installed")).help(format!("run `{command}` in {dir}"))
}
