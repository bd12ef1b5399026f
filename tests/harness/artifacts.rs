//! What the tests run: the daemon's binary and the plugins, built when missing or stale.
//!
//! `make test` has built both already; then nothing is built here. Whoever calls `cargo test`
//! alone gets the same result a little later.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{env, fs};

/// The folder that holds the workspace.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the workspace")
}

/// The `weir` binary of the profile that this program was built with.
pub fn weir() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary = profile_directory().join("weir");
        if modified(&binary)
            < newest(&["daemon/src", "daemon/Cargo.toml", "sdk/fields", "Cargo.lock"])
        {
            // All members at once, so that dependencies have the features of `cargo test`.
            let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["build", "--workspace", "--bins"]);
            build.arg(if profile_directory().ends_with("release") {
                "--release"
            } else {
                "--tests"
            });
            run(build);
        }
        binary
    })
}

/// The folder that holds the built plugins.
pub fn plugins() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = repository().join("plugins/dist");
        if modified(&directory.join("filter.wasm")) < newest(&["plugins", "sdk/rust", "sdk/wit"]) {
            let mut build = Command::new("make");
            build.arg("plugins");
            run(build);
        }
        directory
    })
}

/// The folder that holds the built plugins of `tests/guests`.
pub fn guests() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let guests = repository().join("tests/guests");
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--release", "--locked"]).current_dir(&guests);
        let status = build.status().expect("a build can be started");
        assert!(status.success(), "the guests do not build");
        guests.join("target/wasm32-unknown-unknown/release")
    })
}

/// A folder for compiled plugins that all tests share, the daemon's and the tools', so that each
/// plugin is compiled once.
pub fn modules() -> PathBuf {
    let folder = caches().join("weir/modules");
    fs::create_dir_all(&folder).expect("target takes folders");
    folder
}

/// What the tools for plugin authors take for their user's folder of caches.
pub fn caches() -> PathBuf {
    profile_directory().join("test-caches")
}

/// `target/debug` or `target/release`, found from the running program.
fn profile_directory() -> PathBuf {
    let program = env::current_exe().expect("a running program has a path");
    let folder = program.parent().expect("a program lies in a folder");
    let is_test = folder.ends_with("deps");
    let profile = if is_test { folder.parent() } else { Some(folder) };
    profile.expect("target has folders").to_owned()
}

fn run(mut command: Command) {
    let status = command.current_dir(repository()).status().expect("a build can be started");
    assert!(status.success(), "{command:?} failed");
}

/// When the newest source file below `paths` was changed.
fn newest(paths: &[&str]) -> Option<SystemTime> {
    let mut latest = None;
    let mut open: Vec<PathBuf> = paths.iter().map(|path| repository().join(path)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let is_output = path.ends_with("target") || path.ends_with("dist");
            let entries = fs::read_dir(&path).expect("a readable source folder");
            open.extend(entries.flatten().map(|entry| entry.path()).filter(|_| !is_output));
        } else {
            latest = latest.max(modified(&path));
        }
    }
    latest
}

/// When the file was changed last; `None`, which sorts first, where there is none.
fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
