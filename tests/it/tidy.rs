//! What holds for the repository itself.
//!
//! Looks at every file that git knows or would add, so a new file is checked before its commit.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use weir_harness::Weir;
use weir_harness::artifacts::repository;

/// What may lie at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".deny.toml",
    ".gitignore",
    ".rustfmt.toml",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "daemon",
    "pipelines",
    "plugins",
    "rust-toolchain.toml",
    "sdk",
    "tests",
];

/// Of these, what may be missing.
const OPTIONAL: &[&str] = &[".cargo"];

/// A file that ends so holds at most so many lines; the first match counts.
const LINES_MAX: &[(&str, usize)] = &[
    ("Cargo.lock", usize::MAX),
    ("package-lock.json", usize::MAX),
    ("LICENSE", usize::MAX),
    ("ARCHITECTURE.md", 150),
    ("CONTRIBUTING.md", 80),
    ("daemon/src/main.rs", 60),
    ("sources/mod.rs", 40),
    ("sinks/mod.rs", 40),
    ("", 500),
];

/// Direct dependencies of the daemon.
const DEPENDENCIES_MAX: usize = 40;

/// Crates that no member may depend on directly.
const BANNED_CRATES: &[&str] = &["openssl", "lazy_static", "once_cell", "async-trait"];

/// File names that say nothing about their content.
const BANNED_FILES: &[&str] = &["common", "util", "utils", "helpers", "types", "prelude", "errors"];

/// Ends of type names that say nothing about their duty.
const BANNED_NAMES: &[&str] = &["Manager", "Service", "Factory", "Helper", "Util", "Utils"];

/// Text, why it is banned, and where.
type Ban = (&'static str, &'static str, fn(&File) -> bool);

/// Text that may not stand in a file for which the last item holds.
const BANNED_TEXT: &[Ban] = &[
    ("FIXME", "fix it or file an issue", |_| true),
    ("TODO", "fix it or file an issue", |_| true),
    ("/home/", "a path of one machine", |_| true),
    ("/root/", "a path of one machine", |_| true),
];

/// Code (comments aside) that may not stand in a Rust file for which the last item holds.
const BANNED_CODE: &[Ban] = &[
    ("mod tests {", "tests live in tests.rs beside the code", |_| true),
    ("#[allow(", "use #[expect(.., reason = ..)]", |_| true),
    ("#![allow(", "use #![expect(.., reason = ..)]", |_| true),
    ("#[ignore", "a test runs or does not exist", |_| true),
    ("#[should_panic", "assert what is returned", |_| true),
    ("serde(flatten", "loses the place in the file", |_| true),
    ("serde(untagged", "loses the place in the file", |_| true),
    ("serde(tag", "loses the place in the file", |_| true),
    ("async_trait", "traits have async functions", |_| true),
    ("unbounded", "every queue is bounded", File::is_daemon),
    (".unwrap()", "say the invariant with expect", File::is_daemon),
    ("std::time::Instant", "tests cannot pause this clock", File::is_daemon),
    ("tokio::spawn", "spawn through tasks::Tasks", |file| {
        file.is_daemon() && file.path != "daemon/src/tasks.rs"
    }),
];

/// A tracked text file.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.path.starts_with("sdk/templates/")
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn is_daemon(&self) -> bool {
        self.path.starts_with("daemon/src/") && !self.is_test()
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().expect("a split has an item")
    }

    /// The lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The `crate::…` modules that the code names, with their lines.
    fn modules_used(&self) -> Vec<(usize, String)> {
        let code: Vec<(usize, &str)> = self.code().collect();
        let mut used = Vec::new();
        for (index, (line, text)) in code.iter().enumerate() {
            for (at, _) in text.match_indices("crate::") {
                let is_path_start =
                    !text[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric());
                let rest = &text[at + "crate::".len()..];
                if is_path_start && rest.starts_with('{') {
                    let block: Vec<&str> = code[index + 1..].iter().map(|line| line.1).collect();
                    let group = format!("{rest}\n{}", block.join("\n"));
                    used.extend(group_heads(&group).into_iter().map(|name| (*line, name)));
                } else if is_path_start {
                    used.push((*line, identifier(rest).to_owned()));
                }
            }
        }
        used
    }
}

#[test]
fn the_top_level_is_as_designed() {
    let found: BTreeSet<String> = paths()
        .iter()
        .map(|path| path.split('/').next().expect("a split has an item").to_owned())
        .collect();
    let extra: Vec<&String> =
        found.iter().filter(|name| !TOP_LEVEL.contains(&name.as_str())).collect();
    let missing: Vec<&&str> = TOP_LEVEL
        .iter()
        .filter(|name| !found.contains(**name) && !OPTIONAL.contains(name))
        .collect();
    assert!(extra.is_empty() && missing.is_empty(), "extra: {extra:?}, missing: {missing:?}");
}

#[test]
fn files_stay_small() {
    report(files().iter().filter_map(|file| {
        let (_, max) = LINES_MAX.iter().find(|(end, _)| file.path.ends_with(end))?;
        let lines = file.text.lines().count();
        (lines > *max).then(|| format!("{}: {lines} lines of {max}", file.path))
    }));
}

#[test]
fn modules_use_only_modules_above_them() {
    let root = fs::read_to_string(repository().join("daemon/src/lib.rs")).expect("lib.rs is there");
    let order: Vec<&str> = root
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect();
    assert!(order.len() > 5, "lib.rs declares the modules in reading order");
    let place = |name: &str| order.iter().position(|module| *module == name);
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.is_daemon() && file.is_rust()) {
        let inside = file.path.strip_prefix("daemon/src/").expect("a file of the daemon");
        let Some(own) = place(identifier(inside)) else { continue };
        let used = file.modules_used().into_iter();
        let below = used.filter(|(_, name)| place(name).is_some_and(|place| place > own));
        faults
            .extend(below.map(|(line, name)| format!("{}:{line}: uses {name}, below", file.path)));
    }
    report(faults.into_iter());
}

#[test]
fn every_rust_file_says_what_lives_in_it() {
    report(
        files()
            .iter()
            .filter(|file| file.is_rust() && !file.text.starts_with("//! "))
            .map(|file| format!("{}: begins without `//! `", file.path)),
    );
}

#[test]
fn banned_text_stays_out() {
    report(files().iter().filter(|file| file.name() != "tidy.rs").flat_map(|file| {
        let rules = BANNED_TEXT.iter().filter(|rule| rule.2(file));
        rules.filter(|rule| file.text.contains(rule.0)).map(|(text, why, _)| {
            let found = file.text.lines().position(|line| line.contains(text)).unwrap_or_default();
            format!("{}:{}: `{text}`: {why}", file.path, found + 1)
        })
    }));
}

#[test]
fn banned_code_stays_out() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && file.name() != "tidy.rs") {
        for (text, why, _) in BANNED_CODE.iter().filter(|rule| rule.2(file)) {
            let lines = file.code().filter(|(_, line)| line.contains(text));
            faults.extend(lines.map(|(line, _)| format!("{}:{line}: `{text}`: {why}", file.path)));
        }
    }
    report(faults.into_iter());
}

#[test]
fn names_say_what_a_thing_does() {
    let rust: Vec<File> = files().into_iter().filter(File::is_rust).collect();
    report(rust.iter().flat_map(|file| {
        let stem = file.name().trim_end_matches(".rs");
        let bad_file = BANNED_FILES.contains(&stem).then(|| format!("{}: vague name", file.path));
        let types = file.code().filter_map(|(line, text)| Some((line, declared_type(text)?)));
        let bad = types.filter(|(_, name)| BANNED_NAMES.iter().any(|end| name.ends_with(end)));
        let bad = bad.map(|(line, name)| format!("{}:{line}: vague name `{name}`", file.path));
        bad_file.into_iter().chain(bad)
    }));
}

#[test]
fn the_repository_has_one_macro_at_most() {
    let declared = |file: &File| file.code().filter(|line| line.1.contains("macro_rules!")).count();
    let rust = files().into_iter().filter(|file| file.is_rust() && file.name() != "tidy.rs");
    let found: Vec<String> = rust.filter(|file| declared(file) > 0).map(|file| file.path).collect();
    assert!(found.len() <= 1, "macros in {found:?}");
}

#[test]
fn direct_dependencies_are_few_and_deliberate() {
    let manifests: Vec<File> =
        files().into_iter().filter(|file| file.name() == "Cargo.toml").collect();
    report(manifests.iter().flat_map(|file| {
        let all = dependencies(&file.text).map(|dependency| dependency.1);
        let banned = all.filter(|name| BANNED_CRATES.contains(name));
        banned.map(|name| format!("{}: depends on `{name}`", file.path))
    }));
    report(manifests.iter().filter(|file| file.path == "Cargo.toml").flat_map(|file| {
        let versions = file.text.lines().filter(|line| line.contains("version = \""));
        let crates = versions.filter(|line| line.contains(" = {"));
        let loose = crates.filter(|line| !line.contains("default-features = false"));
        loose.map(|line| format!("Cargo.toml: without default-features = false: {line}"))
    }));
    let daemon = manifests.iter().find(|file| file.path == "daemon/Cargo.toml");
    let all = dependencies(&daemon.expect("the daemon has a manifest").text);
    // A crate of this repository is a room of its own, not something to keep an eye on.
    let all = all.filter(|dependency| !dependency.1.starts_with("weir-"));
    let count = all.filter(|dependency| dependency.0 == "[dependencies]").count();
    assert!(count <= DEPENDENCIES_MAX, "{count} direct dependencies of {DEPENDENCIES_MAX}");
}

#[test]
fn every_pipeline_of_the_repository_loads() {
    let is_pipeline = |path: &String| path.starts_with("pipelines/") && path.ends_with(".toml");
    let pipelines: Vec<String> = paths().into_iter().filter(is_pipeline).collect();
    assert!(!pipelines.is_empty(), "there is something to run");
    weir_harness::artifacts::plugins();
    let mut arguments = vec!["check"];
    arguments.extend(pipelines.iter().map(String::as_str));
    let output = Weir::command(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{shown}{said}", output.status);
}

#[test]
fn documents_name_only_commands_that_exist() {
    let files = files();
    let makefile = files.iter().find(|file| file.path == "Makefile").expect("a Makefile");
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    report(documents.flat_map(|file| {
        // Only what is set as code is a command: `make run`, or a line that begins with it.
        let quoted = file.text.match_indices("make ").filter(|(at, _)| {
            let before = &file.text[..*at];
            before.ends_with('`') || before.ends_with('\n') || before.ends_with("&& ")
        });
        quoted.filter_map(|(at, _)| {
            let target = identifier(&file.text[at + "make ".len()..]);
            let exists = makefile.text.contains(&format!("\n{target}:"));
            (!exists).then(|| format!("{}: `make {target}` does not exist", file.path))
        })
    }));
}

/// The crates below `[dependencies]` and its like, each with its table's header.
fn dependencies(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut table = "";
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            table = line;
        }
        let is_inside = table.ends_with("dependencies]") && table != "[workspace.dependencies]";
        let is_entry = is_inside && line.starts_with(|c: char| c.is_ascii_alphanumeric());
        let name = line.split(['.', ' ', '=']).next().expect("a split has an item");
        is_entry.then_some((table, name))
    })
}

/// The type that a line of code declares.
fn declared_type(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    let rest =
        ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| line.strip_prefix(word));
    rest.map(identifier)
}

/// The first names of the paths in a `{a::b, c::{d, e}}` group that `text` begins with.
fn group_heads(text: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut is_head = false;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(c, '{' | ',') {
            is_head = true;
        } else if is_head && c.is_alphabetic() {
            heads.push(identifier(&text[at..]).to_owned());
            is_head = false;
        }
    }
    heads
}

/// The identifier that `text` begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The paths of all files that are tracked or would be.
fn paths() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .expect("git can be started");
    assert!(output.status.success(), "the tests run in a clone of the repository");
    let text = String::from_utf8(output.stdout).expect("paths are text");
    let exists = |path: &&str| repository().join(path).is_file();
    text.lines().filter(exists).map(str::to_owned).collect()
}

/// All files that hold text.
fn files() -> Vec<File> {
    let read = |path: String| {
        let text = fs::read_to_string(repository().join(&path)).ok()?;
        Some(File { path, text })
    };
    paths().into_iter().filter_map(read).collect()
}

/// Fails with all `faults`, one a line.
fn report(faults: impl Iterator<Item = String>) {
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
