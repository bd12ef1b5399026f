//! What an operator is told about broken files, as reviewed text.
//!
//! Each `faults/NAME.toml` is a pipeline file (a `weir.toml` if NAME starts with `weir-`) and
//! `faults/NAME.txt` is what `weir check` prints for it. `UPDATE_GOLDENS=1` rewrites the texts;
//! read the difference before it is committed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir_harness::artifacts;
use weir_harness::directory::Directory;

/// A pipeline without faults.
const GOOD: &str =
    "[[source]]\ntype = \"http\"\npath = \"/in\"\n\n[[sink]]\ntype = \"broadcast\"\n";

/// What `${env:SECRET}` stands for; never to be seen.
const SECRET: &str = "correct-horse-battery-staple";

/// A case by its name, and what makes its directory.
type Made = (&'static str, fn(&Directory));

/// Cases that are more than one text file.
const MADE: &[Made] = &[
    ("file-is-a-directory", |directory| directory.put("pipelines/shop.toml/note", "")),
    ("file-is-empty", |directory| directory.put("pipelines/shop.toml", "")),
    ("file-is-half-written", |directory| directory.put("pipelines/shop.toml", &GOOD[..27])),
    ("file-is-latin-1", |directory| {
        directory.put("pipelines/shop.toml", b"# caf\xe9\ndescription = \"x\"\n");
    }),
    ("file-is-utf-16", |directory| directory.put("pipelines/shop.toml", b"\xff\xfe[\0[\0")),
    ("file-is-too-large", |directory| {
        directory.put("pipelines/shop.toml", "# a comment that never ends\n".repeat(40_000));
    }),
    ("file-has-a-bad-name", |directory| directory.put("pipelines/my shop.toml", GOOD)),
    ("file-is-a-dangling-link", |directory| {
        directory.put("pipelines/good.toml", GOOD);
        let link = directory.path().join("pipelines/shop.toml");
        symlink("gone.toml", link).expect("the temporary directory takes links");
    }),
    ("directory-is-missing", |_| {}),
    ("tick-without-timer", |directory| {
        let puppet = fs::read(artifacts::guests().join("puppet.wasm"));
        directory.put("plugins/dist/puppet.wasm", puppet.expect("the guests are built"));
        let step = "[[transform]]\nplugin = \"puppet\"\ntick = \"1s\"\n\n[[sink]]";
        directory.put("pipelines/shop.toml", GOOD.replace("[[sink]]", step));
    }),
    ("several-files", |directory| {
        directory.put("pipelines/a.toml", GOOD.replace("http", "htpp"));
        directory.put("pipelines/b.toml", GOOD);
        directory.put("pipelines/c.toml", GOOD.replace("/in", "/c").replace("path", "pth"));
        directory.put("pipelines/d.toml", GOOD.replace("broadcast", "broadcst"));
        directory.put("pipelines/.e.toml", "not looked at");
        directory.put("pipelines/e.toml~", "not looked at");
    }),
];

/// What a check said.
struct Said {
    code: Option<i32>,
    text: String,
}

#[test]
fn every_broken_file_is_told_as_reviewed() {
    let mut told = BTreeMap::new();
    for (name, directory) in cases() {
        let said = check(&directory, &["check", "pipelines"]);
        assert_eq!(said.code, Some(3), "{name}:\n{}", said.text);
        assert!(!said.text.contains(SECRET), "{name} shows a secret:\n{}", said.text);
        told.insert(name, said.text);
    }
    assert!(told.len() >= 40, "there are {} cases", told.len());
    let is_update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut differences = Vec::new();
    for (name, text) in &told {
        let golden = goldens().join(format!("{name}.txt"));
        if is_update {
            fs::write(&golden, text).expect("the repository can be written");
        } else if fs::read_to_string(&golden).ok().as_deref() != Some(text) {
            differences.push(format!("{name}.txt should now read:\n{text}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn machines_get_the_same_faults_as_json() {
    let directory = directory();
    directory.put("pipelines/shop.toml", GOOD.replace("path", "paht").replace("cast", "csat"));
    let said = check(&directory, &["check", "pipelines", "--output", "json"]);
    assert_eq!(said.code, Some(3));
    let document: serde_json::Value = serde_json::from_str(&said.text).expect("it is JSON");
    let faults = document["faults"].as_array().expect("a list of faults");
    assert_eq!(faults.len(), 1, "{document}");
    assert_eq!(
        faults[0],
        serde_json::json!({
            "file": "pipelines/shop.toml",
            "line": 6,
            "column": 8,
            "code": "W0110",
            "severity": "error",
            "message": "there is no sink of type `broadcsat`",
            "help": "did you mean `broadcast`?",
        })
    );
}

#[test]
fn a_warning_is_told_and_fails_nothing() {
    let directory = directory();
    let eager = GOOD.replace("path = \"/in\"", "path = \"/in\"\nack = \"accepted\"");
    directory.put("pipelines/shop.toml", eager);
    let said = check(&directory, &["check", "pipelines"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    for part in ["shop.toml:4:7", "W0205", "ack = \"accepted\"", "1 pipeline, 0 faults, 1 warning"]
    {
        assert!(said.text.contains(part), "{part} is missing in:\n{}", said.text);
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_faults() {
    let directory = directory();
    directory.put("pipelines/shop.toml", format!("\u{feff}{}", GOOD.replace('\n', "\r\n")));
    let said = check(&directory, &["check", "pipelines"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
}

/// Every case, with a directory that has its fault.
fn cases() -> Vec<(String, Directory)> {
    let mut cases = Vec::new();
    let entries = fs::read_dir(goldens()).expect("the cases are there");
    let paths = entries.map(|entry| entry.expect("a directory can be read").path());
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a case can be read");
        let directory = directory();
        if name.starts_with("weir-") {
            directory.put("weir.toml", text);
            directory.put("pipelines/good.toml", GOOD);
        } else {
            directory.put("pipelines/shop.toml", text);
        }
        cases.push((name, directory));
    }
    for (name, make) in MADE {
        let directory = directory();
        make(&directory);
        cases.push(((*name).to_owned(), directory));
    }
    cases
}

/// A directory with plugins that are none, which is all that a faulty pipeline needs.
fn directory() -> Directory {
    let directory = Directory::fresh();
    directory.put("plugins/dist/broken.wasm", "no wasm");
    directory.put("plugins/dist/filter.wasm", "no wasm");
    directory
}

fn check(directory: &Directory, arguments: &[&str]) -> Said {
    let mut command = Command::new(artifacts::weir());
    command.args(arguments).current_dir(directory.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").env("SECRET", SECRET).env_remove("NOT_SET");
    let output = command.output().expect("the binary can be started");
    Said {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).expect("a report is text"),
    }
}

fn goldens() -> PathBuf {
    Path::new(artifacts::repository()).join("tests/it/faults")
}
