//! Plugins written by hand, below what any SDK would write, and where they are kept.

use std::fmt::Write;
use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use weir::component::{ComponentId, PipelineName, Transform, TransformError};
use weir::event::{Batch, Draft, Fields};
use weir::wasm::{Lends, Limits, LoadError, StepSetup, Wasm, WasmTransform};
use weir_harness::artifacts::repository;
use weir_harness::directory::Directory;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// What became of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does not load; a word of why.
    Load(&'static str),
    /// It loads, and its runs fail for this reason.
    Run(&'static str),
    /// It does no harm.
    Tame,
}

/// The sandbox without a daemon.
pub(super) struct Cage {
    wasm: Wasm,
    directory: Directory,
}

impl Fate {
    pub(super) fn is_run(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

impl Cage {
    pub(super) fn new() -> Self {
        let wasm = Wasm::new(None).expect("the engine starts");
        Self { wasm, directory: Directory::fresh() }
    }

    /// Loads the plugin, runs it on a few batches, and says what became of it.
    pub(super) fn keep(&self, name: &str, wasm: &[u8]) -> Fate {
        let path = self.directory.path().join("animal.wasm");
        fs::write(&path, wasm).expect("the temporary directory takes files");
        let pipeline = PipelineName::new("zoo").expect("it is a good name");
        let setup = StepSetup {
            id: ComponentId::new(&pipeline, "cage").expect("it is a good name"),
            config_json: "{}".to_owned(),
            limits: Limits { time: Duration::from_millis(50), ..Limits::default() },
            grants: Vec::new(),
            lends: Lends::default(),
        };
        let loaded = self.wasm.load(&path).and_then(|artifact| {
            let step = WasmTransform::new(&artifact, setup)?;
            Ok(step)
        });
        let mut step = match loaded {
            Ok(step) => step,
            Err(error) => return Fate::Load(word(&error)),
        };
        // More than once: a fresh instance after each failure must be as safe as the first.
        let mut fate = Fate::Tame;
        for _ in 0..2 {
            if let Err(TransformError { reason, message }) =
                step.transform(&batch(), &Fields::default())
            {
                assert!(TransformError::REASONS.contains(&reason), "{name}: {reason}: {message}");
                fate = Fate::Run(reason);
            }
        }
        fate
    }
}

fn word(error: &LoadError) -> &'static str {
    match error {
        LoadError::TooLarge => "too large",
        LoadError::NotWasm | LoadError::CoreModule => "no component",
        LoadError::Compile(_) | LoadError::Compiler(_) => "compile",
        LoadError::MissingExport(_) | LoadError::Shape(_) => "shape",
        LoadError::NotOffered(_) | LoadError::NotGranted { .. } => "import",
        LoadError::Start(_) => "start",
        LoadError::Configure { reason, .. } => reason,
        LoadError::Refused(_) => "refused",
        _ => "other",
    }
}

fn batch() -> Batch {
    let mut batch = Batch::default();
    for id in ["a", "b", "c"] {
        let draft = Draft { id, source: "/zoo", event_type: "visit", ..Draft::default() };
        batch.push(&Draft { data: br#"{"n":1}"#, ..draft });
    }
    batch
}

/// The parts of a plugin that an animal changes.
struct Parts<'a> {
    /// Before everything else.
    imports: &'a str,
    /// Beside the functions.
    more: &'a str,
    memory: &'a str,
    realloc: &'a str,
    configure: &'a str,
    process: &'a str,
    post: &'a str,
}

/// A well-behaved plugin: it answers every batch with an error.
const TAME: Parts<'static> = Parts {
    imports: "",
    more: "",
    memory: "(memory (export \"memory\") 1)",
    realloc: "(local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
        (global.set $top (i32.add (local.get $at) (local.get 3)))
        (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
          (then (drop (memory.grow
            (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1))))))
        (local.get $at)",
    configure: "(i32.const 1024)",
    process: "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.const 2048)",
    post: "",
};

/// An answer that points out of the memory.
const AFAR: &str = "(i32.const -65536)";

/// More memory than a step may have.
const LARGE: &str = "(memory (export \"memory\") 2000)";

const LOOP: &str = "(loop $again (br $again)) unreachable";

impl Parts<'_> {
    /// The module, as text.
    fn module(&self) -> String {
        let Self { imports, more, memory, realloc, configure, process, post } = self;
        format!(
            r#"(module {imports} {memory}
              (global $top (mut i32) (i32.const 4096))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32) {realloc})
              (func (export "weir:plugin/lifecycle@1.0.0#configure")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {configure})
              (func (export "weir:plugin/lifecycle@1.0.0#schema") (result i32) (i32.const 1024))
              (func (export "weir:plugin/transform@1.0.0#process") (param i32) (result i32) {process})
              (func (export "cabi_post_weir:plugin/transform@1.0.0#process") (param i32) {post})
              {more})"#
        )
    }

    fn component(&self) -> Vec<u8> {
        encode(wat::parse_str(self.module()).expect("it is a module"))
    }
}

/// Wraps a core module that exports the functions of the world `plugin`.
pub(super) fn encode(mut module: Vec<u8>) -> Vec<u8> {
    static WORLD: OnceLock<Arc<(Resolve, WorldId)>> = OnceLock::new();
    let world = WORLD.get_or_init(|| {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(repository().join("sdk/wit")).expect("it is WIT");
        let world = resolve.select_world(&[package], Some("plugin")).expect("it has the world");
        Arc::new((resolve, world))
    });
    embed_component_metadata(&mut module, &world.0, world.1, StringEncoding::UTF8, false)
        .expect("a module takes a section");
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.module(&module).expect("it fits the world");
    encoder.encode().expect("it can be wrapped")
}

/// An animal: its name, the plugin, and what shall become of it.
pub(super) type Animal = (&'static str, Vec<u8>, Fate);

/// All animals.
pub(super) fn animals() -> Vec<Animal> {
    let mut animals = at_the_start();
    animals.append(&mut in_answers());
    animals.append(&mut in_realloc());
    animals.append(&mut at_work());
    animals.append(&mut in_shape());
    animals
}

/// Those that do harm before the first event.
fn at_the_start() -> Vec<Animal> {
    let start = |body: &str| format!("(func $start {body}) (start $start)");
    let (loops, traps) = (start(LOOP), start("unreachable"));
    let animal = |name, parts: &Parts<'_>, why| (name, parts.component(), Fate::Load(why));
    vec![
        animal("start loops", &Parts { more: &loops, ..TAME }, "start"),
        animal("start traps", &Parts { more: &traps, ..TAME }, "start"),
        animal("configure loops", &Parts { configure: LOOP, ..TAME }, "timeout"),
        animal("configure traps", &Parts { configure: "unreachable", ..TAME }, "trap"),
        animal("configure answers afar", &Parts { configure: AFAR, ..TAME }, "bad_answer"),
        animal("memory from the start", &Parts { memory: LARGE, ..TAME }, "start"),
    ]
}

/// Those whose answers are none.
fn in_answers() -> Vec<Animal> {
    let animal = |name, process: &str, reason| {
        (name, Parts { process, ..TAME }.component(), Fate::Run(reason))
    };
    let not_utf8 = format!("(i32.store (i32.const 3000) (i32.const -1)) {}", text(3000, 4));
    let no_verdict = format!("(i32.store8 (i32.const 3001) (i32.const 99)) {}", verdicts(3));
    let no_kind = "(i32.store8 (i32.const 2048) (i32.const 7)) (i32.const 2048)";
    vec![
        animal("tame", TAME.process, "error"),
        animal("answer afar", AFAR, "bad_answer"),
        animal("answer misaligned", "(i32.const 2049)", "bad_answer"),
        animal("answer of no kind", no_kind, "bad_answer"),
        animal("text of 4 GiB", &text(0, u32::MAX), "bad_answer"),
        animal("text not UTF-8", &not_utf8, "bad_answer"),
        animal("a billion verdicts", &verdicts(1 << 30), "bad_answer"),
        animal("verdict of no kind", &no_verdict, "bad_answer"),
    ]
}

/// Those that give memory as they please. `configure` gets texts, so that it is asked for first.
fn in_realloc() -> Vec<Animal> {
    let calling = format!("(drop (call $log (i32.const 1))) {}", TAME.realloc);
    let imports =
        r#"(import "weir:plugin/log@1.0.0" "enabled" (func $log (param i32) (result i32)))"#;
    let animal = |name, realloc: &str, fate| {
        let wasm = Parts { imports, realloc, ..TAME }.component();
        (name, wasm, fate)
    };
    vec![
        animal("realloc loops", LOOP, Fate::Load("timeout")),
        animal("realloc afar", "(i32.const -8)", Fate::Load("bad_answer")),
        animal("realloc calls the host", &calling, Fate::Load("trap")),
        animal("realloc overlaps", "(i32.const 8192)", Fate::Run("error")),
        animal("realloc misaligned", "(i32.const 8193)", Fate::Run("bad_answer")),
    ]
}

/// Those that take what they can while they judge.
fn at_work() -> Vec<Animal> {
    let animal = |name, more: &str, process: &str, reason| {
        (name, Parts { more, process, ..TAME }.component(), Fate::Run(reason))
    };
    let post =
        |name, post: &str, reason| (name, Parts { post, ..TAME }.component(), Fate::Run(reason));
    let deep = "(func $deep (param i64 i64) (result i64)
        (i64.add (call $deep (local.get 1) (local.get 0)) (call $deep (local.get 0) (local.get 1))))";
    vec![
        animal("process loops", "", LOOP, "timeout"),
        animal(
            "memory bomb",
            "",
            "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
            "memory",
        ),
        animal(
            "memory mill",
            "",
            "(loop $more (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (br $more)) unreachable",
            "timeout",
        ),
        animal(
            "table bomb",
            "(table $t 1 funcref)",
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
            "trap",
        ),
        animal(
            "deep recursion",
            deep,
            "(drop (call $deep (i64.const 1) (i64.const 2))) unreachable",
            "trap",
        ),
        animal(
            "call of nothing",
            "(table 1 funcref)",
            "(call_indirect (i32.const 0)) unreachable",
            "trap",
        ),
        animal("load afar", "", "(i32.load (i32.const -4))", "trap"),
        post("post return loops", LOOP, "timeout"),
        post("post return traps", "unreachable", "trap"),
    ]
}

/// Those that are no plugins.
fn in_shape() -> Vec<Animal> {
    vec![
        ("huge import list", imports_of("weir:plugin/none", 5_000), Fate::Load("compile")),
        ("long import list", imports_of("weir:plugin/none", 500), Fate::Load("import")),
        ("wasi", imports_of("wasi:cli/environment", 1), Fate::Load("import")),
        ("many memories", parts_of("(memory 1)", 300), Fate::Load("compile")),
        ("many instances", instances(10_000), Fate::Load("compile")),
        ("nothing at all", b"\0asm\x0d\0\x01\0".to_vec(), Fate::Load("shape")),
        ("100 MB", vec![0; 100 << 20], Fate::Load("too large")),
    ]
}

/// The answer of `process` that it failed, with words of so many bytes at `at`.
fn text(at: u32, len: u32) -> String {
    format!(
        "(i32.store8 (i32.const 2048) (i32.const 1))
         (i32.store (i32.const 2052) (i32.const {at}))
         (i32.store (i32.const 2056) (i32.const {len}))
         (i32.const 2048)"
    )
}

/// The answer of `process` with so many verdicts, which are at 3000.
fn verdicts(len: u32) -> String {
    format!(
        "(i32.store (i32.const 2052) (i32.const 3000))
         (i32.store (i32.const 2056) (i32.const {len}))
         (i32.const 2048)"
    )
}

/// A component that imports so many interfaces.
fn imports_of(interface: &str, count: usize) -> Vec<u8> {
    let mut text = String::from("(component ");
    for index in 0..count {
        write!(text, r#"(import "{interface}{index}@1.0.0" (instance))"#).expect("text grows");
    }
    text.push(')');
    wat::parse_str(text).expect("it is a component")
}

/// A component that has a module with so many parts of one kind.
fn parts_of(part: &str, count: usize) -> Vec<u8> {
    let text = format!(
        "(component (core module $m {}) (core instance (instantiate $m)))",
        part.repeat(count)
    );
    wat::parse_str(text).expect("it is a component")
}

/// A component that makes so many instances of a module.
fn instances(count: usize) -> Vec<u8> {
    let many = "(core instance (instantiate $m))".repeat(count);
    let text = format!("(component (core module $m (memory 1)) {many})");
    wat::parse_str(text).expect("it is a component")
}
