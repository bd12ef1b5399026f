//! What crossing into the sandbox and back costs per event, beside the same rule outside of it.
//!
//! `cargo run --release --bin bench-boundary`; builds `tests/guests` first. The plugin `puppet` and a
//! function here judge batches of 150-byte events; each number is the median of many rounds.
#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir::component::{ComponentId, PipelineName, Transform, Verdict, Verdicts};
use weir::event::{Batch, Draft};
use weir::wasm::{Artifact, Limits, StepSetup, Wasm, WasmTransform};

/// Events a batch.
const SIZES: [usize; 3] = [1, 64, 256];

/// Rounds of which the median counts.
const ROUNDS: usize = 101;

/// Events judged in a round.
const EVENTS: usize = 16_384;

/// What a crossing may cost at 64 events a batch, in nanoseconds per event.
const TARGET: f64 = 60.0;

fn main() {
    let wasm = Wasm::new(None).expect("the engine starts");
    let puppet = wasm.load(&guest()).expect("the guests are built");
    let mut kept_at_64 = 0.0;
    println!("ns per event, 150-byte events, median of {ROUNDS} rounds\n");
    println!("{:<44}{:>8}{:>8}{:>8}", "events a batch", SIZES[0], SIZES[1], SIZES[2]);
    for (name, mode, subject) in [
        ("native: drop bots", None, Some("user")),
        ("sandbox: drop bots, keep verdict", Some("bots"), Some("user")),
        ("sandbox: keep without a look", Some("keep"), Some("user")),
        ("sandbox: keep, every subject another", Some("keep"), None),
        ("sandbox: replace data and type", Some("replace"), Some("user")),
    ] {
        let mut transform: Box<dyn Transform> = match mode {
            Some(mode) => Box::new(step(&puppet, mode)),
            None => Box::new(Native),
        };
        let nanos = SIZES.map(|size| measure(&mut *transform, &batch(size, subject)));
        if mode == Some("bots") {
            kept_at_64 = nanos[1];
        }
        println!("{name:<44}{:>8.1}{:>8.1}{:>8.1}", nanos[0], nanos[1], nanos[2]);
    }
    let judged = if kept_at_64 <= TARGET { "met" } else { "missed" };
    println!("\ntarget {TARGET:.0} ns at 64 a batch: {judged} with {kept_at_64:.1} ns");
}

/// The rule of `puppet`'s mode `bots`, outside of the sandbox.
struct Native;

impl Transform for Native {
    fn transform(&mut self, batch: &Batch) -> Result<Verdicts, weir::component::TransformError> {
        let is_bot = |event: usize| batch.data.get(event).starts_with(b"{\"bot\":true");
        let judge = |event| if is_bot(event) { Verdict::Drop } else { Verdict::Keep };
        Ok(Verdicts { verdicts: (0..batch.len()).map(judge).collect(), ..Verdicts::default() })
    }
}

fn measure(transform: &mut dyn Transform, batch: &Batch) -> f64 {
    let runs = EVENTS / batch.len();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let since = Instant::now();
        for _ in 0..runs {
            black_box(transform.transform(black_box(batch)).expect("the plugin judges"));
        }
        rounds.push(since.elapsed());
    }
    rounds.sort();
    rounds[ROUNDS / 2].as_secs_f64() * 1e9 / (runs * batch.len()) as f64
}

/// `size` events with `subject`, or each with one of its own.
fn batch(size: usize, subject: Option<&str>) -> Batch {
    let mut batch = Batch::default();
    let data = format!("{{\"bot\":false,\"page\":\"/shop/{}\"}}", "x".repeat(121));
    assert_eq!(data.len(), 150, "the size that the numbers are about");
    for event in 0..size {
        let id = format!("01J9ZC3W7Q8K5R2M4T6V8X{event:04}");
        let own = format!("user-{event}");
        batch.push(&Draft {
            id: &id,
            source: "/in/clicks",
            event_type: "page.view",
            subject: Some(subject.unwrap_or(&own)),
            content_type: Some("application/json"),
            time: 1_764_000_000_000_000,
            arrival: 1_764_000_000_000_000,
            data: data.as_bytes(),
            extensions: &[],
        });
    }
    batch
}

fn step(puppet: &Arc<Artifact>, mode: &str) -> WasmTransform {
    let pipeline = PipelineName::new("bench").expect("a plain name");
    let setup = StepSetup {
        id: ComponentId::new(&pipeline, "puppet").expect("a plain name"),
        config_json: format!("\"{mode}\""),
        limits: Limits { time: Duration::from_secs(1), ..Limits::default() },
        grants: Vec::new(),
    };
    WasmTransform::new(puppet, setup).expect("the puppet starts")
}

fn guest() -> PathBuf {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build.args(["build", "--release", "--locked", "--target-dir", "target"]).current_dir(&guests);
    assert!(build.status().is_ok_and(|status| status.success()), "the guests do not build");
    guests.join("target/wasm32-unknown-unknown/release/puppet.wasm")
}
