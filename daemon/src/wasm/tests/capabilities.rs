//! What a plugin can ask the host for, and where that ends. The plugin is `tests/guests/asker`.

use std::sync::{Arc, OnceLock};

use super::{Folder, Judge, batch, guest, setup};
use crate::lookup::{Format, LookupTable, TableSettings};
use crate::store::State;
use crate::wasm::{Artifact, Lends, Limits, LoadError, Measure, StepSetup, Wasm, WasmTransform};

#[test]
fn all_missing_grants_are_named_at_once() {
    let lacking = StepSetup { grants: vec!["lookup".to_owned()], ..asking() };
    let error = WasmTransform::new(&asker(), lacking).unwrap_err();
    assert!(matches!(error, LoadError::NotGranted { .. }), "{error}");
    let help = error.help().unwrap();
    let expected = r#"add `grants = ["lookup", "kv", "metrics", "random"]` to the step"#;
    assert_eq!(help, expected);
}

#[test]
fn random_bytes_are_bounded() {
    assert_eq!(ask(&["random 65536", "random 0"]), ["65536 true", "0 false"]);
    let words = fails("random 65537");
    assert_eq!(words, "it asks for 65537 random bytes at once, 65536 are allowed");
}

#[test]
fn metrics_are_counted_and_bounded() {
    let setup = asking();
    let metrics = Arc::clone(&setup.lends.metrics);
    let mut asker = WasmTransform::new(&asker(), setup).unwrap();
    answers(&mut asker, &["count hits 2", "count hits 3", "gauge depth -1.5", "observe ms 30"]);
    answers(&mut asker, &["observe ms 1000000", "observe ms 0.001"]);
    let series = metrics.series();
    assert_eq!(series.values["hits"], Measure::Count(5));
    assert_eq!(series.values["depth"], Measure::Gauge(-1.5));
    let Measure::Histogram(ms) = &series.values["ms"] else { panic!("{series:?}") };
    assert_eq!((ms.count, ms.sum), (3, 1_000_030.001));
    assert_eq!((ms.buckets[0], ms.buckets[14], ms.buckets[24]), (1, 1, 1));
    assert_eq!(series.dropped, 0);
    let bad = ["gauge hits 1", "count a-b 1", "count  1", "gauge depth NaN", "observe new inf"];
    answers(&mut asker, &bad);
    assert_eq!(metrics.series().dropped, 5);
    answers(&mut asker, &["many names"]);
    let series = metrics.series();
    assert_eq!((series.values.len(), series.dropped), (64, 5 + 39));
}

#[test]
fn tables_answer_whole_batches() {
    let folder = Folder::new("asker-tables");
    let table = table(&folder, "user,plan\nann,pro\nbob,\n");
    let mut asker = looking(&table);
    let found = answers(&mut asker, &["find users ann eve bob", "find users", "open users"]);
    assert_eq!(found, [r#"{"plan":"pro"} - {"plan":""}"#, "", "open"]);
    let unknown = answers(&mut asker, &["open plans"]);
    assert_eq!(
        unknown,
        ["there is no table `plans`; declare it as `[table.NAME]` in the pipeline file"]
    );
    // A changed file is seen by instances that have opened the table long ago.
    std::fs::write(folder.0.join("users.csv"), "user,plan\neve,free\n").unwrap();
    table.replace(table.prepare().unwrap().unwrap());
    assert_eq!(answers(&mut asker, &["find users ann eve"]), [r#"- {"plan":"free"}"#]);
}

#[test]
fn a_look_up_is_checked_and_bounded() {
    let folder = Folder::new("asker-bounds");
    let table = table(&folder, &format!("user,plan\nann,{}\n", "x".repeat(100_000)));
    for (question, reason, words) in [
        ("cut users 1", "bad_answer", "key-ends do not cut the keys"),
        ("cut users 3", "bad_answer", "key-ends do not cut the keys"),
        ("cycle users 1000 ann", "host_calls", "more than 16 MiB of values at once"),
        ("open users for ever", "host_calls", "asks the host too often"),
    ] {
        let error = looking(&table).judge(&batch(&[question])).unwrap_err();
        assert_eq!(error.reason, reason, "{question}: {error}");
        assert!(error.message.contains(words), "{question}: {error}");
    }
    let mut asker = looking(&table);
    assert_eq!(answers(&mut asker, &["cut users 2", "cycle users 100 ann"])[0], "[false]");
}

#[test]
fn state_is_kept_counted_and_bounded() {
    let said = ask(&["get a", "set a 1", "get a", "add n 5", "add n -7", "delete a", "get a"]);
    assert_eq!(said, ["None", "()", r#"Some(Ok("1"))"#, "5", "-2", "()", "None"]);
    let limits = Limits { state: 10_000, ..asking().limits };
    let mut asker = WasmTransform::new(&asker(), StepSetup { limits, ..asking() }).unwrap();
    let full = "the state holds as much as it may (10000 bytes)";
    let long = "a value has at most 262144 bytes, not 262145";
    let said = answers(&mut asker, &["hoard", "set b 1", "fill b 262145", "set  1", "get 8"]);
    let nothing = "a key has between 1 and 1024 bytes, not 0";
    assert_eq!(said[..4], [full, "()", long, nothing]);
    assert!(said[4].starts_with("Some("), "what is there stays: {}", said[4]);
}

#[test]
fn nobody_asks_for_ever() {
    assert!(fails("ask for ever").starts_with("it asks the host too often for one batch"));
    // The budget grows with the batch, and a new batch has a new one.
    let mut asker = WasmTransform::new(&asker(), asking()).unwrap();
    for _ in 0..3 {
        assert_eq!(answers(&mut asker, &["get a"; 2_000]).len(), 2_000);
    }
}

#[test]
fn state_outlives_instances_and_is_not_for_configure() {
    let folder = Folder::new("asker-state");
    let path = folder.0.join("shop.judge.redb");
    let lends = || Lends { state: Arc::new(State::new(path.clone())), ..Lends::default() };
    for expected in ["1", "2"] {
        let setup = StepSetup { lends: lends(), ..asking() };
        let mut asker = WasmTransform::new(&asker(), setup).unwrap();
        assert_eq!(answers(&mut asker, &["add n 1"]), [expected]);
        // A trap costs the instance, not the state, and what its run changed is undone.
        asker.judge(&batch(&["add n 10", "set o 1", "random 70000"])).unwrap_err();
        assert_eq!(answers(&mut asker, &["add n 0", "get o"]), [expected, "None"]);
        assert_eq!(answers(&mut asker, &["add m 1"]), [expected]);
    }
    let config_json = r#""get a""#.to_owned();
    let setup = StepSetup { config_json, lends: lends(), ..asking() };
    let error = WasmTransform::new(&asker(), setup).unwrap_err();
    assert!(error.to_string().contains("offered to events only"), "{error}");
}

fn asker() -> Arc<Artifact> {
    static ASKER: OnceLock<Arc<Artifact>> = OnceLock::new();
    let load = || Wasm::new(None).unwrap().load(&guest("asker")).unwrap();
    Arc::clone(ASKER.get_or_init(load))
}

/// A step that grants everything.
fn asking() -> StepSetup {
    let grants = ["kv", "lookup", "metrics", "random"].map(str::to_owned).to_vec();
    StepSetup { grants, ..setup("") }
}

fn looking(table: &Arc<LookupTable>) -> WasmTransform {
    let tables = [("users".to_owned(), Arc::clone(table))].into();
    let setup = StepSetup { lends: Lends { tables, ..Lends::default() }, ..asking() };
    WasmTransform::new(&asker(), setup).unwrap()
}

fn table(folder: &Folder, text: &str) -> Arc<LookupTable> {
    let file = folder.0.join("users.csv");
    std::fs::write(&file, text).unwrap();
    let table = LookupTable::new(TableSettings { file, format: Format::Csv, key: None });
    table.replace(table.prepare().unwrap().unwrap());
    Arc::new(table)
}

/// What a new plugin says to `questions`.
fn ask(questions: &[&str]) -> Vec<String> {
    answers(&mut WasmTransform::new(&asker(), asking()).unwrap(), questions)
}

fn answers(asker: &mut WasmTransform, questions: &[&str]) -> Vec<String> {
    let judged = asker.judge(&batch(questions)).unwrap();
    let said = |row| String::from_utf8_lossy(judged.emitted.data.get(row)).into_owned();
    (0..questions.len()).map(said).collect()
}

/// What a run that asks `question` fails with, for asking too much.
fn fails(question: &str) -> String {
    let mut asker = WasmTransform::new(&asker(), asking()).unwrap();
    let error = asker.judge(&batch(&[question])).unwrap_err();
    assert_eq!(error.reason, "host_calls", "{error}");
    error.message
}
