//! Plugins against the sandbox, most of them ill-behaved: each gets a typed answer, nobody else notices.
//!
//! The plugins are `tests/guests/*`, built once; `puppet` does what its config says.

mod capabilities;
mod timer;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::{Artifact, Lends, Limits, LoadError, StepSetup, Wasm, WasmTransform};
use crate::component::{ComponentId, PipelineName, Transform, TransformError, Verdict, Verdicts};
use weir_fields::Wanted;

use crate::event::{Batch, Draft, Fields, Found, NONE};

#[test]
fn a_plugin_judges_batches() {
    let mut puppet = step("keep");
    let judged = puppet.judge(&batch(&["a", "b", "c"])).unwrap();
    assert_eq!(judged.verdicts, [Verdict::Keep; 3]);
    assert!(puppet.judge(&Batch::default()).unwrap().verdicts.is_empty());
    let mut dropping = step("drop");
    assert_eq!(dropping.judge(&batch(&["a"])).unwrap().verdicts, [Verdict::Drop]);
}

#[test]
fn rows_replace_split_and_route_events() {
    let Verdicts { verdicts, emitted, .. } =
        step("replace").judge(&batch(&["abc", "", "d"])).unwrap();
    assert_eq!(verdicts, [Verdict::Emit; 3]);
    assert_eq!(emitted.origins, [0, 1, 2]);
    assert_eq!((emitted.data.get(0), emitted.data.get(1)), (&b"ABC"[..], &b""[..]));
    assert_eq!((emitted.types, emitted.dictionary.text.as_str()), (vec![0; 3], "replaced"));
    let split = step("split").judge(&batch(&["a", "b"])).unwrap();
    assert_eq!(split.emitted.origins, [0, 0, 1, 1]);
    let routed = step("route").judge(&batch(&["a", "b"])).unwrap();
    assert_eq!(routed.emitted.routes, [NONE, 0]);
}

#[test]
fn fields_are_handed_over_and_patches_come_back() {
    let mut patching = step("fields");
    assert_eq!(patching.reads().len(), 2);
    let events = [r#"{"user":{"id":"a\u0062"},"n":1}"#, "[]", r#"{"user":{"id":[1]},"user":{}}"#];
    let judged = patching.judge(&batch(&events)).unwrap();
    assert_eq!(judged.verdicts, [Verdict::Patch; 3]);
    assert_eq!(judged.patches.names, ["seen".parse().unwrap()]);
    assert_eq!(judged.patches.origins, [0, 1, 2]);
    let values: Vec<&str> = judged.patches.values.iter().collect();
    assert_eq!(values, ["5:ab 4:1", "0: 0:", "128: 0:"]);
}

#[test]
fn failures_arrive_in_the_order_of_events() {
    let judged = step("fail").judge(&batch(&["a", "b"])).unwrap();
    assert_eq!(judged.verdicts, [Verdict::Fail; 2]);
    let events: Vec<u32> = judged.failures.iter().map(|failure| failure.event).collect();
    assert_eq!(events, [0, 1]);
    assert_eq!(judged.failures[1].message, "event 1");
}

#[test]
fn attributes_cross_and_data_is_spared_where_nobody_wants_it() {
    let mut batch = batch(&["a"]);
    batch.push(&Draft { data: b"b", extensions: &[("tenant", "é")], ..Draft::default() });
    assert_eq!(step("keep").judge(&batch).unwrap().verdicts.len(), 2);
    assert_eq!(step("no data").judge(&batch).unwrap().verdicts.len(), 2);
}

#[test]
fn every_misdeed_has_its_reason_and_the_next_batch_works() {
    let misdeeds = [
        ("loop", "timeout", "time limit"),
        ("trap", "trap", "unreachable"),
        ("recurse", "trap", "stack exhausted"),
        ("allocate", "memory", "memory"),
        ("huge", "output", "too much data"),
        ("error", "error", "xxx"),
        ("few verdicts", "bad_answer", "1 verdicts for 2 events"),
        ("unasked patch", "bad_answer", "verdict is not `patch`"),
        ("patch of nothing", "bad_answer", "`` is no path of a field"),
        ("patch name beyond", "bad_answer", "patch name-of refers to entry 1 of 1"),
        ("patch kind", "bad_answer", "patch 0 has no value of kind 7"),
        ("patch number", "bad_answer", "patch 0 has no value of kind 4"),
        ("patch json", "bad_answer", "patch 0 has no value of kind 6"),
        ("patch ends", "bad_answer", "patch ends end at 9 of 1"),
        ("few patch kinds", "bad_answer", "patch kinds for 0 of 1 patches"),
        ("many patches", "bad_answer", "more than 64 patches of one event"),
        ("unasked row", "bad_answer", "verdict is not `emit`"),
        ("failure of kept", "bad_answer", "verdict is not `fail`"),
        ("failure beyond", "bad_answer", "verdict is not `fail`"),
        ("many rows", "bad_answer", "100000 rows for 2 events"),
        ("origins back", "bad_answer", "verdict is not `emit`"),
        ("origin beyond", "bad_answer", "event 9000"),
        ("ends back", "bad_answer", "data-ends go back"),
        ("ends beyond", "bad_answer", "data-ends end at 5 of 4"),
        ("few ends", "bad_answer", "data-ends for 1 of 2 rows"),
        ("type beyond", "bad_answer", "types refers to entry 2 of 2"),
        ("empty type", "bad_answer", "empty event type"),
        ("route beyond", "bad_answer", "routes refers to entry 7 of 2"),
        ("cut character", "bad_answer", "within a character"),
        ("words back", "bad_answer", "dictionary-ends go back"),
        ("words beyond", "bad_answer", "dictionary-ends end at 3 of 2"),
        ("cut word", "bad_answer", "dictionary-ends within a character"),
        ("few values", "bad_answer", "1 extension values of 2"),
    ];
    for (mode, reason, words) in misdeeds {
        let time = if reason == "timeout" { Duration::from_millis(20) } else { PATIENCE };
        let limits = Limits { time, memory: 16 << 20, ..Limits::default() };
        let setup = StepSetup { limits, ..setup(mode) };
        let mut puppet = WasmTransform::new(&puppet(), setup).unwrap();
        for _ in 0..2 {
            let TransformError { reason: given, message } =
                puppet.judge(&batch(&["poison", "b"])).unwrap_err();
            assert_eq!(given, reason, "{mode}: {message}");
            assert!(message.contains(words), "{mode}: {message}");
            assert!(message.len() <= 1028, "{mode}: {} bytes", message.len());
            let judged = puppet.judge(&batch(&["a", "b"])).unwrap();
            assert_eq!(judged.verdicts, [Verdict::Keep; 2], "{mode}");
        }
    }
}

#[test]
fn a_call_ends_soon_after_its_time_limit() {
    let limits = Limits { time: Duration::from_millis(20), ..Limits::default() };
    let setup = StepSetup { limits, ..setup("loop") };
    let mut puppet = WasmTransform::new(&puppet(), setup).unwrap();
    // The clock rests when nobody calls; it must run again when it is needed.
    for _ in 0..3 {
        let since = Instant::now();
        assert_eq!(puppet.judge(&batch(&["poison"])).unwrap_err().reason, "timeout");
        assert!(since.elapsed() >= limits.time, "{:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        std::thread::sleep(Duration::from_millis(150));
    }
}

#[test]
fn memory_is_bounded_per_step() {
    let limits = Limits { memory: 64 << 10, ..Limits::default() };
    let error = WasmTransform::new(&puppet(), StepSetup { limits, ..setup("keep") }).unwrap_err();
    assert!(matches!(error, LoadError::Start(_)), "{error}");
}

#[test]
fn configure_can_refuse_and_cannot_hang() {
    let error = refused("configure: refuse");
    assert_eq!(error.to_string(), "the plugin refuses its `config`: no, shop.judge");
    let error = refused("configure: bad field");
    assert!(matches!(&error, LoadError::Fields(why) if why.contains("`a[` is no path")), "{error}");
    assert!(matches!(refused("configure: many fields"), LoadError::Fields(_)));
    for (mode, expected) in [("loop", "timeout"), ("trap", "trap"), ("allocate", "memory")] {
        let error = refused(&format!("configure: {mode}"));
        let LoadError::Configure { reason, .. } = error else { panic!("{mode}: {error}") };
        assert_eq!(reason, expected);
    }
}

#[test]
fn a_capability_must_be_granted() {
    let wasm = Wasm::new(None).unwrap();
    let timekeeper = wasm.load(&guest("timekeeper")).unwrap();
    let error = WasmTransform::new(&timekeeper, setup("")).unwrap_err();
    let expected = "the plugin imports `weir:plugin/clock@1.0.0`, which the step does not grant";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.help().unwrap(), "add `grants = [\"clock\"]` to the step");
    let granted = |grant: &str| StepSetup { grants: vec![grant.to_owned()], ..setup("") };
    let mut step = WasmTransform::new(&timekeeper, granted("clock")).unwrap();
    assert_eq!(step.judge(&batch(&["a"])).unwrap().verdicts, [Verdict::Keep]);
    let error = WasmTransform::new(&timekeeper, granted("clocks")).unwrap_err();
    assert!(matches!(error, LoadError::UnknownGrant(_)), "{error}");
}

#[test]
fn what_is_no_plugin_is_named() {
    let folder = Folder::new("no-plugins");
    let wasm = Wasm::new(None).unwrap();
    let load = |name: &str, bytes: &[u8]| {
        let path = folder.0.join(name);
        fs::write(&path, bytes).unwrap();
        wasm.load(&path).unwrap_err()
    };
    assert!(matches!(wasm.load(&folder.0.join("absent")), Err(LoadError::Read(_))));
    assert!(matches!(load("text", b"(component)"), LoadError::NotWasm));
    assert!(matches!(load("module", b"\0asm\x01\0\0\0"), LoadError::CoreModule));
    assert!(matches!(load("large", &vec![0; (32 << 20) + 1]), LoadError::TooLarge));
    let damaged = [&b"\0asm\x0d\0\x01\0"[..], &[0xff; 40]].concat();
    assert!(matches!(load("damaged", &damaged), LoadError::Compile(_)));
    let empty = load("empty", COMPONENT);
    assert!(matches!(empty, LoadError::MissingExport("weir:plugin/lifecycle@1.0.0")), "{empty}");
    // A type section with an empty instance type, and an import of it.
    let import = b"\x0a\x19\x01\x00\x14wasi:cli/environment\x05\x00";
    let wasi = load("wasi", &[COMPONENT, b"\x07\x03\x01\x42\x00", import].concat());
    assert!(matches!(&wasi, LoadError::NotOffered(name) if name.starts_with("wasi:")), "{wasi}");
    assert!(wasi.help().unwrap().contains("wasm32-unknown-unknown"));
}

#[test]
fn compiled_plugins_are_found_again_on_disk() {
    let folder = Folder::new("cache");
    let cache = folder.0.join("modules");
    let load = || {
        let wasm = Wasm::new(Some(cache.clone())).unwrap();
        let artifact = wasm.load(&guest("puppet")).unwrap();
        assert!(Arc::ptr_eq(&artifact, &wasm.load(&guest("puppet")).unwrap()));
        let mut puppet = WasmTransform::new(&artifact, setup("keep")).unwrap();
        assert_eq!(puppet.judge(&batch(&["a"])).unwrap().verdicts.len(), 1);
        artifact.digest().to_owned()
    };
    let digest = load();
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(&cache).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1);
    let path = files[0].path();
    assert!(files[0].file_name().to_str().unwrap().starts_with(&digest));
    let (code, stored) = (fs::read(&path).unwrap(), files[0].metadata().unwrap().modified());
    load();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), stored.unwrap());
    for damage in [&code[..code.len() / 2], &[code.as_slice(), b"x"].concat(), b""] {
        fs::write(&path, damage).unwrap();
        load();
        assert!(fs::read(&path).unwrap().len() == code.len(), "not compiled again");
    }
}

#[test]
fn log_lines_are_plain_and_few() {
    let lines = logged(|| {
        step("log").judge(&batch(&["a"])).unwrap();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(r#"text="one\u{1b}[31mline\nof text""#), "{}", lines[0]);
    assert!(lines[0].contains("pipeline=shop step=\"judge\""), "{}", lines[0]);
    let lines = logged(|| {
        let mut flood = step("flood the log");
        flood.judge(&batch(&["poison"])).unwrap();
        assert_eq!(flood.judge(&batch(&["poison"])).unwrap().verdicts, [Verdict::Keep]);
    });
    assert!(lines.len() <= 2 * 64 + 1, "{}", lines.len());
    assert!(lines.iter().any(|line| line.contains("dropped=9")), "{}", lines.len());
}

/// Judges a batch as the only step of a chain.
trait Judge {
    fn judge(&mut self, batch: &Batch) -> Result<Verdicts, TransformError>;
}

impl Judge for WasmTransform {
    fn judge(&mut self, batch: &Batch) -> Result<Verdicts, TransformError> {
        let (mut wanted, mut found) = (Wanted::default(), Found::default());
        let slots: Vec<usize> = self.reads().iter().map(|path| wanted.slot(path)).collect();
        found.look(&wanted, batch);
        self.transform(batch, &Fields::new(&found, &slots))
    }
}

/// A time limit that holds on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(5);

/// The header of a component, which is an empty one.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A folder that is removed with its contents.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The file of a plugin of `tests/guests`, all of which are built on the first call.
fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests");
        let target = guests.join("target");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(&guests)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status();
        assert!(built.unwrap().success(), "the guests do not build");
        target.join("wasm32-unknown-unknown/release")
    });
    built.join(format!("{name}.wasm"))
}

fn puppet() -> Arc<Artifact> {
    static PUPPET: OnceLock<Arc<Artifact>> = OnceLock::new();
    let load = || Wasm::new(None).unwrap().load(&guest("puppet")).unwrap();
    Arc::clone(PUPPET.get_or_init(load))
}

fn setup(mode: &str) -> StepSetup {
    let pipeline = PipelineName::new("shop").unwrap();
    StepSetup {
        id: ComponentId::new(&pipeline, "judge").unwrap(),
        config_json: serde_json::to_string(mode).unwrap(),
        limits: Limits { time: PATIENCE, ..Limits::default() },
        grants: Vec::new(),
        lends: Lends::default(),
    }
}

fn step(mode: &str) -> WasmTransform {
    WasmTransform::new(&puppet(), setup(mode)).unwrap()
}

fn refused(mode: &str) -> LoadError {
    WasmTransform::new(&puppet(), setup(mode)).unwrap_err()
}

fn batch(data: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for (index, data) in data.iter().enumerate() {
        let id = index.to_string();
        let draft = Draft { id: &id, source: "/in", event_type: "cart.add", ..Draft::default() };
        batch.push(&Draft { data: data.as_bytes(), subject: Some("user"), ..draft });
    }
    batch
}

/// What `work` logs, line by line.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let folder = Folder::new("log");
    let path = folder.0.join("log");
    let file = Arc::new(fs::File::create(&path).unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(file).finish();
    tracing::subscriber::with_default(subscriber, work);
    fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
}
