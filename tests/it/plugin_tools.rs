//! The tools for plugin authors: golden files, figures and faults, on plugins that are really run.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_harness::artifacts;
use weir_harness::directory::Directory;
use weir_harness::tools::{Said, plugin};

/// A case for `redact` that it passes.
fn case() -> Directory {
    let directory = Directory::fresh();
    // Generous: a busy machine shall not fail a test.
    directory.put(
        "golden/mail/step.toml",
        "config = { fields = [\"email\"] }\nlimits = { time = \"5s\" }\n",
    );
    directory.put(
        "golden/mail/events.jsonl",
        concat!(
            "{\"type\":\"signup\",\"data\":{\"email\":\"ada@example.com\",\"plan\":\"pro\"}}\n\n",
            "{\"id\":\"b\",\"data\":{\"plan\":\"free\"}}\n",
        ),
    );
    directory.put(
        "golden/mail/verdicts.jsonl",
        concat!(
            "{ \"verdict\": \"patch\", \"id\": \"1\", \"data\": {\"plan\":\"pro\",\"email\":\"a***@example.com\"}}\n",
            "{\"id\":\"b\",\"verdict\":\"keep\"}\n",
        ),
    );
    directory
}

fn redact() -> PathBuf {
    artifacts::plugins().join("redact.wasm")
}

fn test(directory: &Directory, plugin_file: &Path, more: &[&str]) -> Said {
    let file = plugin_file.to_str().expect("a path of ASCII");
    plugin(directory.path(), &[&["test", "--plugin", file], more].concat())
}

#[test]
fn golden_files_pass_however_their_json_is_written() {
    let said = test(&case(), &redact(), &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out, "ok    mail  (2 events)\n1 passed, 0 failed\n");
}

#[test]
fn a_verdict_that_differs_is_shown_with_its_place() {
    let directory = case();
    let wrong =
        "{\"id\":\"1\",\"verdict\":\"patch\",\"data\":{\"email\":\"no\",\"plan\":\"pro\"}}\n";
    directory.put("golden/mail/verdicts.jsonl", wrong);
    let said = test(&directory, &redact(), &[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    for part in [
        "FAIL  mail  (2 events)\n",
        "golden/mail/verdicts.jsonl:1: data.email: expected \"no\", got \"a***@example.com\"\n",
        "there is no verdict for this event\n      + {\"id\":\"b\",\"verdict\":\"keep\"}\n",
        "0 passed, 1 failed\n",
        "--update",
    ] {
        assert!(said.out.contains(part), "{part} is missing in:\n{}", said.out);
    }
    let said = test(&directory, &redact(), &["--output", "json"]);
    let cases: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(cases[0]["differences"][0]["expected"]["verdict"], "patch", "{cases}");
}

#[test]
fn update_writes_what_the_plugin_says() {
    let directory = case();
    fs::remove_file(directory.path().join("golden/mail/verdicts.jsonl")).expect("it was there");
    assert_eq!(test(&directory, &redact(), &[]).code, Some(3));
    let said = test(&directory, &redact(), &["--update"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "new   mail  (2 events)\n1 passed, 0 failed\n")
    );
    let written = fs::read_to_string(directory.path().join("golden/mail/verdicts.jsonl"));
    let expected = concat!(
        "{\"id\":\"1\",\"verdict\":\"patch\",\"data\":{\"email\":\"a***@example.com\",\"plan\":\"pro\"}}\n",
        "{\"id\":\"b\",\"verdict\":\"keep\"}\n",
    );
    assert_eq!(written.expect("it is there"), expected);
    assert_eq!(test(&directory, &redact(), &[]).code, Some(0));
}

#[test]
fn limits_hold_and_the_event_to_blame_is_named() {
    let guests = artifacts::guests();
    let directory = Directory::fresh();
    directory.put(
        "golden/loop/step.toml",
        "limits = { time = \"5ms\" }\nconfig = { mode = \"loop\" }\n",
    );
    directory.put(
        "golden/loop/events.jsonl",
        "{\"data\":1}\n{\"datacontenttype\":\"text/plain\",\"data\":\"poison\"}\n",
    );
    let said = test(&directory, &guests.join("puppet.wasm"), &["--update"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let written = fs::read_to_string(directory.path().join("golden/loop/verdicts.jsonl"));
    let written = written.expect("it is there");
    let expected = "{\"id\":\"1\",\"verdict\":\"keep\"}\n\
                    {\"id\":\"2\",\"verdict\":\"error\",\"reason\":\"timeout\",\
                    \"message\":\"it took longer than its time limit\"}\n";
    assert_eq!(written, expected);
}

#[test]
fn faults_of_golden_files_have_a_place() {
    let directory = case();
    directory.put("golden/mail/events.jsonl", "{\"type\":\"a\"}\n  {\"type\":\n{\"type\":\"\"}\n");
    let said = test(&directory, &redact(), &[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    for part in [
        "events.jsonl:2:3",
        "W0701",
        "events.jsonl:3:1",
        "attribute `type`",
        "help: a line is one event",
    ] {
        assert!(said.out.contains(part), "{part} is missing in:\n{}", said.out);
    }
    directory.put("golden/mail/events.jsonl", "{}\n");
    directory.put("golden/mail/verdicts.jsonl", "{\"id\":\"1\"}\nkeep\n");
    let said = test(&directory, &redact(), &[]);
    assert!(said.out.contains("verdicts.jsonl:2:1") && said.out.contains("W0702"), "{said:?}");
    directory.put("golden/mail/step.toml", "config = { feilds = [] }\n");
    let said = test(&directory, &redact(), &[]);
    assert!(said.out.contains("step.toml:1:10") && said.out.contains("W0603"), "{said:?}");
    directory.put("golden/mail/step.toml", "confg = {}\nlimits = { time = \"5\" }\n");
    let said = test(&directory, &redact(), &[]);
    assert!(
        said.out.contains("did you mean `config`?") && said.out.contains("step.toml:2:"),
        "{said:?}"
    );
}

#[test]
fn what_is_no_project_or_no_plugin_says_what_to_do() {
    let directory = Directory::fresh();
    let said = plugin(directory.path(), &["build"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("is no project of a plugin\nhelp: "), "{said:?}");
    let said = plugin(directory.path(), &["inspect", "nothing.wasm"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.err.contains("nothing.wasm: the plugin cannot be read"), "{said:?}");
    directory.put("core.wasm", b"\0asm\x01\0\0\0");
    let said = plugin(directory.path(), &["inspect", "core.wasm"]);
    assert!(
        said.err.contains("core Wasm module") && said.err.contains("wasm-component-ld"),
        "{said:?}"
    );
    let file = redact();
    let said = plugin(directory.path(), &["test", "--plugin", file.to_str().expect("ASCII")]);
    assert!(said.err.contains("has no golden cases\nhelp: write events into"), "{said:?}");
}

#[test]
fn inspect_says_what_a_plugin_asks_for() {
    let file = artifacts::guests().join("timekeeper.wasm");
    let file = file.to_str().expect("a path of ASCII");
    let said = plugin(artifacts::repository(), &["inspect", file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in [
        "world    weir:plugin/plugin@1.0.0\n",
        "grants   clock\n",
        "runs     yes, where the step says grants = [\"clock\"]\n",
    ] {
        assert!(said.out.contains(part), "{part} is missing in:\n{}", said.out);
    }
    let said = plugin(artifacts::repository(), &["inspect", file, "--output", "json"]);
    let told: Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(told["version"], "1.0.0");
    assert_eq!(told["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(told["grants"], serde_json::json!(["clock"]));
    assert_eq!(told["problem"], Value::Null);
}

#[test]
fn bench_counts_the_same_instructions_twice() {
    let directory = case();
    let file = redact();
    let file = file.to_str().expect("a path of ASCII");
    let bench = || {
        let case = ["bench", file, "--case", "golden/mail", "--output", "json"];
        let said = plugin(directory.path(), &case);
        assert_eq!(said.code, Some(0), "{said:?}");
        serde_json::from_str::<Value>(&said.out).expect("it is JSON")
    };
    let (first, second) = (bench(), bench());
    let sizes = first["batches"].as_array().expect("it is a list");
    assert_eq!(sizes.iter().map(|size| &size["events"]).collect::<Vec<_>>(), [1, 64, 256]);
    for (one, other) in sizes.iter().zip(second["batches"].as_array().expect("it is a list")) {
        let instructions = one["instructions_per_event"].as_u64().expect("a number");
        assert!(instructions > 100, "{one}");
        assert_eq!(one["instructions_per_event"], other["instructions_per_event"]);
        assert!(one["nanos_per_event"].as_f64().expect("a number") > 1.0, "{one}");
    }
    assert!(first["memory"].as_u64() >= Some(64 << 10), "{first}");
}

#[test]
fn golden_files_of_all_plugins_pass() {
    let update: &[&str] =
        if std::env::var_os("UPDATE_GOLDENS").is_some() { &["--update"] } else { &[] };
    let built = fs::read_dir(artifacts::plugins()).expect("the plugins are built");
    let built = built.map(|entry| entry.expect("the folder can be read").path());
    let mut plugins: Vec<PathBuf> =
        built.filter(|path| path.extension().is_some_and(|it| it == "wasm")).collect();
    plugins.sort();
    assert!(!plugins.is_empty(), "there are no plugins");
    for file in plugins {
        let name = file.file_stem().expect("a plugin has a name");
        let folder = format!("plugins/{}", name.to_string_lossy());
        let file = file.to_str().expect("a path of ASCII");
        let arguments = [&["test", &folder, "--plugin", file], update].concat();
        let said = plugin(artifacts::repository(), &arguments);
        assert_eq!(said.code, Some(0), "{folder}\n{}{}", said.out, said.err);
    }
}
