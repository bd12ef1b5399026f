//! A new project has all of the SDK, in the versions that the SDK itself is built with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::project::Language;
use super::files::{File, files};
use super::is_name;

#[test]
fn the_whole_rust_sdk_comes_along() {
    for library in ["rust", "fields"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../sdk/{library}/src"));
        let names = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string());
        let mut expected: BTreeSet<String> = names.map(Result::unwrap).collect();
        expected.remove("tests.rs");
        let prefix = format!("weir/{library}/src/");
        let own = files(Language::Rust).filter_map(|file| file.path.strip_prefix(&prefix));
        assert_eq!(own.map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn its_dependencies_are_those_of_the_workspace() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let workspace = fs::read_to_string(manifest).unwrap();
    let File { text, .. } =
        files(Language::Rust).find(|file| file.path == "weir/rust/Cargo.toml").unwrap();
    let (_, dependencies) = text.split_once("[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[target").unwrap();
    for line in dependencies.lines() {
        assert!(workspace.contains(line), "the workspace has another {line}");
    }
}

#[test]
fn names_are_fit_for_every_language() {
    assert!(is_name("tax") && is_name("user-agent2"));
    for name in ["", "Tax", "1tax", "my_tax", "../tax", "täx", "-x", &"x".repeat(65)] {
        assert!(!is_name(name), "{name}");
    }
}
