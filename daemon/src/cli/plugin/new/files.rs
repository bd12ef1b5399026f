//! What a new project consists of: the templates and the SDKs, as they are in `sdk/`.

use super::super::project::Language;

/// A file of a new project.
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) text: &'static str,
}

const fn file(path: &'static str, text: &'static str) -> File {
    File { path, text }
}

/// What every project has.
const SHARED: &[File] = &[
    file("README.md", include_str!("../../../../../sdk/templates/shared/README.md")),
    file(".gitignore", include_str!("../../../../../sdk/templates/shared/gitignore")),
    file("weir.toml", include_str!("../../../../../sdk/templates/shared/weir.toml")),
    file("pipelines/try.toml", include_str!("../../../../../sdk/templates/shared/try.toml")),
    file("golden/first/step.toml", include_str!("../../../../../sdk/templates/shared/step.toml")),
    file(
        "golden/first/events.jsonl",
        include_str!("../../../../../sdk/templates/shared/events.jsonl"),
    ),
    file(
        "golden/first/verdicts.jsonl",
        include_str!("../../../../../sdk/templates/shared/verdicts.jsonl"),
    ),
];

const RUST: &[File] = &[
    file("Cargo.toml", include_str!("../../../../../sdk/templates/rust/Cargo.toml.txt")),
    file("src/lib.rs", include_str!("../../../../../sdk/templates/rust/src/lib.rs")),
    file("src/tests.rs", include_str!("../../../../../sdk/templates/rust/src/tests.rs")),
    file("weir/wit/plugin.wit", include_str!("../../../../../sdk/wit/plugin.wit")),
    file(
        "weir/fields/Cargo.toml",
        include_str!("../../../../../sdk/templates/rust/fields.toml.txt"),
    ),
    file("weir/fields/src/find.rs", include_str!("../../../../../sdk/fields/src/find.rs")),
    file("weir/fields/src/lib.rs", include_str!("../../../../../sdk/fields/src/lib.rs")),
    file("weir/fields/src/patch.rs", include_str!("../../../../../sdk/fields/src/patch.rs")),
    file("weir/fields/src/path.rs", include_str!("../../../../../sdk/fields/src/path.rs")),
    file("weir/fields/src/scan.rs", include_str!("../../../../../sdk/fields/src/scan.rs")),
    file("weir/fields/src/splice.rs", include_str!("../../../../../sdk/fields/src/splice.rs")),
    file("weir/fields/src/text.rs", include_str!("../../../../../sdk/fields/src/text.rs")),
    file("weir/rust/Cargo.toml", include_str!("../../../../../sdk/templates/rust/sdk.toml.txt")),
    file("weir/rust/src/action.rs", include_str!("../../../../../sdk/rust/src/action.rs")),
    file("weir/rust/src/bindings.rs", include_str!("../../../../../sdk/rust/src/bindings.rs")),
    file("weir/rust/src/clock.rs", include_str!("../../../../../sdk/rust/src/clock.rs")),
    file("weir/rust/src/event.rs", include_str!("../../../../../sdk/rust/src/event.rs")),
    file("weir/rust/src/fakes.rs", include_str!("../../../../../sdk/rust/src/fakes.rs")),
    file("weir/rust/src/field.rs", include_str!("../../../../../sdk/rust/src/field.rs")),
    file("weir/rust/src/guest.rs", include_str!("../../../../../sdk/rust/src/guest.rs")),
    file("weir/rust/src/http.rs", include_str!("../../../../../sdk/rust/src/http.rs")),
    file("weir/rust/src/kv.rs", include_str!("../../../../../sdk/rust/src/kv.rs")),
    file("weir/rust/src/lib.rs", include_str!("../../../../../sdk/rust/src/lib.rs")),
    file("weir/rust/src/log.rs", include_str!("../../../../../sdk/rust/src/log.rs")),
    file("weir/rust/src/lookup.rs", include_str!("../../../../../sdk/rust/src/lookup.rs")),
    file("weir/rust/src/metrics.rs", include_str!("../../../../../sdk/rust/src/metrics.rs")),
    file("weir/rust/src/patch.rs", include_str!("../../../../../sdk/rust/src/patch.rs")),
    file("weir/rust/src/plugin.rs", include_str!("../../../../../sdk/rust/src/plugin.rs")),
    file("weir/rust/src/random.rs", include_str!("../../../../../sdk/rust/src/random.rs")),
    file("weir/rust/src/testing.rs", include_str!("../../../../../sdk/rust/src/testing.rs")),
    file("weir/rust/src/verdicts.rs", include_str!("../../../../../sdk/rust/src/verdicts.rs")),
];

/// For languages whose tool reads the contract itself.
const CONTRACT: &[File] = &[
    file("wit/world.wit", include_str!("../../../../../sdk/templates/shared/world.wit")),
    file("wit/deps/weir/plugin.wit", include_str!("../../../../../sdk/wit/plugin.wit")),
];

const JAVASCRIPT: &[File] = &[
    file("package.json", include_str!("../../../../../sdk/templates/js/package.json")),
    file("tsconfig.json", include_str!("../../../../../sdk/templates/js/tsconfig.json")),
    file("src/index.js", include_str!("../../../../../sdk/templates/js/src/index.js")),
    file("weir/plugin.js", include_str!("../../../../../sdk/plugin-js/plugin.js")),
    file("weir/plugin.d.ts", include_str!("../../../../../sdk/plugin-js/plugin.d.ts")),
];

const PYTHON: &[File] = &[
    file("pyproject.toml", include_str!("../../../../../sdk/templates/python/pyproject.toml")),
    file("src/plugin.py", include_str!("../../../../../sdk/templates/python/src/plugin.py")),
    file("src/weir/__init__.py", include_str!("../../../../../sdk/python/weir/__init__.py")),
];

/// The files of a project in that language.
pub(super) fn files(language: Language) -> impl Iterator<Item = &'static File> {
    let (own, contract) = match language {
        Language::Rust => (RUST, &[][..]),
        Language::JavaScript => (JAVASCRIPT, CONTRACT),
        Language::Python => (PYTHON, CONTRACT),
    };
    SHARED.iter().chain(own).chain(contract)
}
