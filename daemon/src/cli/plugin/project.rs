//! A plugin's project: a folder with the manifest of its language.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;
use serde::Deserialize;

use super::Failure;

/// Where the built plugin is put.
const DIST: &str = "dist";

/// Folders that hold no source of the plugin.
const NO_SOURCES: &[&str] = &[DIST, "golden", "target", "node_modules", "__pycache__"];

/// How many files are looked at to see what changed; projects are small.
const FILES_MAX: usize = 10_000;

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Small and fast
    Rust,
    /// JavaScript, or TypeScript
    #[value(name = "js")]
    JavaScript,
    /// Python, with its interpreter inside
    Python,
}

/// A folder that a plugin is built from.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) dir: PathBuf,
    pub(super) language: Language,
    pub(super) name: String,
}

/// The part of a manifest that is needed here.
#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct CargoToml {
    package: Named,
}

#[derive(Deserialize)]
struct PyprojectToml {
    project: Named,
}

impl Language {
    /// All of them.
    const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// The file that says what a project is called.
    pub(super) fn manifest(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    /// The project's name in the text of its manifest.
    fn name(self, manifest: &str) -> Result<String, String> {
        match self {
            Self::Rust => toml::from_str(manifest)
                .map(|CargoToml { package }| package.name)
                .map_err(|error| error.to_string()),
            Self::JavaScript => serde_json::from_str(manifest)
                .map(|Named { name }| name)
                .map_err(|error| error.to_string()),
            Self::Python => toml::from_str(manifest)
                .map(|PyprojectToml { project }| project.name)
                .map_err(|error| error.to_string()),
        }
    }
}

impl Project {
    /// The project in the folder `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        let found = Language::ALL.into_iter().find(|it| dir.join(it.manifest()).is_file());
        let Some(language) = found else {
            let manifests = Language::ALL.map(Language::manifest).join(", ");
            let message = format!("{} is no project of a plugin", dir.display());
            return Err(Failure::new(message).help(format!("it would hold one of {manifests}")));
        };
        let manifest = dir.join(language.manifest());
        let text = fs::read_to_string(&manifest);
        let text = text.map_err(|error| Failure::io("read", &manifest, &error))?;
        let name = language.name(&text);
        let name = name.map_err(|why| Failure::new(format!("{}: {why}", manifest.display())))?;
        Ok(Self { dir: dir.to_owned(), language, name })
    }

    /// The file that it is built into.
    pub(super) fn plugin(&self) -> PathBuf {
        self.dir.join(DIST).join(format!("{}.wasm", self.name))
    }

    /// Whether a source is newer than the built plugin.
    pub(super) fn is_stale(&self) -> bool {
        let Some(built) = modified(&self.plugin()) else { return true };
        let mut open = vec![self.dir.clone()];
        let mut files = 0;
        while let Some(path) = open.pop() {
            let Ok(entries) = fs::read_dir(&path) else { return true };
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files += 1;
                if name.starts_with('.') || NO_SOURCES.contains(&name.as_ref()) {
                    continue;
                }
                if path.is_dir() {
                    open.push(path);
                } else if files > FILES_MAX || modified(&path) > Some(built) {
                    return true;
                }
            }
        }
        false
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
