//! Python: `componentize-py`, which puts the program and the interpreter into a component.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Failure;
use super::super::project::Project;
use super::tool;

/// The version that is tested; any other may do.
const COMPONENTIZE: &str = "componentize-py==0.25.1";

/// The module of the plugin, in the folder `src`.
const MODULE: &str = "plugin";

/// Builds the project into the component `to`.
pub(super) fn build(project: &Project, to: &Path) -> Result<(), Failure> {
    let entry = project.dir.join("src").join(MODULE).with_extension("py");
    if !entry.is_file() {
        return Err(Failure::new(format!("there is no {}", entry.display())));
    }
    let here = env::current_dir().unwrap_or_default();
    let mut command = Command::new(componentize(&here.join(&project.dir)));
    command.args(["--quiet", "--wit-path", "wit", "componentize", "--stub-wasi"]);
    command.args(["--python-path", "src", "--output"]).arg(here.join(to)).arg(MODULE);
    let install = format!(
        "run `python3 -m venv .venv && .venv/bin/pip install {COMPONENTIZE}` in {}",
        project.dir.display()
    );
    tool(project, &mut command, &install).map(drop)
}

/// The tool of the project's virtual environment, else that of the shell.
fn componentize(dir: &Path) -> PathBuf {
    let own = dir.join(".venv/bin/componentize-py");
    if own.exists() { own } else { "componentize-py".into() }
}
