//! What crossing into the sandbox and back costs per event, beside the same rule outside of it.
//!
//! `target/release/weir-bench boundary`; builds `tests/guests` first. The plugin `puppet` and a
//! function here judge batches of 150-byte events, then those of `$PLUGINS` (default `plugins/dist`) judge
//! JSON of 280 bytes in chains of their own; each number is the median of many rounds.
#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir::ack::{Account, AckMode, Limits as Quota, Outcome};
use weir::chain::{Chain, Links, OnError, SinkLink, Step, StepStats, Target};
use weir::component::{ComponentId, PipelineName, Transform, TransformError, Verdict, Verdicts};
use weir::edge::{Capacity, Delivery, edge};
use weir::event::{Batch, Draft, Fields};
use weir::lookup::{Format, LookupTable, TableSettings};
use weir::wasm::{Artifact, Lends, Limits, StepSetup, Wasm, WasmTransform};

/// Events a batch.
const SIZES: [usize; 3] = [1, 64, 256];

/// Rounds of which the median counts.
const ROUNDS: usize = 101;

/// Events judged in a round.
const EVENTS: usize = 16_384;

/// What a crossing may cost at 64 events a batch, in nanoseconds per event.
const TARGET: f64 = 40.0;

pub(crate) fn run() {
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
    chains(&wasm);
}

/// What whole chains cost, from the sources' edge to the sink's.
fn chains(wasm: &Wasm) {
    let folder =
        std::env::var_os("PLUGINS").map_or_else(|| root().join("../plugins/dist"), PathBuf::from);
    let load = |name: &str| wasm.load(&folder.join(name)).expect("the plugins are built");
    let (filter, redact) = (load("filter.wasm"), load("redact.wasm"));
    let two = r#"{"keep":"data.user.plan != 'free' && data.total > 10"}"#;
    let email = r#"{"fields":["user.email"]}"#;
    let filtering = || step(&filter, two);
    println!(
        "\nns per event, 280-byte JSON, whole chains of the plugins in {}\n",
        folder.display()
    );
    println!("{:<44}{:>8}{:>8}{:>8}", "events a batch", SIZES[0], SIZES[1], SIZES[2]);
    let mut chains = vec![
        ("nothing", vec![]),
        ("filter, two fields", vec![filtering()]),
        ("redact, one field", vec![step(&redact, email)]),
        ("filter, redact", vec![filtering(), step(&redact, email)]),
        ("filter, redact, filter", vec![filtering(), step(&redact, email), filtering()]),
    ];
    // Plugins from before there were tables can be measured as well.
    if let Ok(enrich) = wasm.load(&folder.join("enrich.wasm")) {
        let enriching = enriching(&enrich);
        chains.push(("filter, enrich, redact", vec![filtering(), enriching, step(&redact, email)]));
    }
    for (name, steps) in chains {
        let mut chain = Rig::new(steps);
        let nanos = SIZES.map(|size| chain.measure(size));
        println!("{name:<44}{:>8.1}{:>8.1}{:>8.1}", nanos[0], nanos[1], nanos[2]);
    }
}

/// A chain with its ends in hand.
struct Rig {
    chain: Chain,
    out: weir::edge::Inlet,
    account: Arc<Account>,
}

impl Rig {
    fn new(transforms: Vec<WasmTransform>) -> Self {
        let (sender, out) = edge(Capacity { events: 10_000, bytes: 64 << 20 });
        let last = transforms.len().checked_sub(1);
        let steps = transforms.into_iter().enumerate().map(|(index, transform)| {
            let next = if Some(index) == last { Target::Sink(0) } else { Target::Step(index + 1) };
            let pipeline = PipelineName::new("bench").expect("a plain name");
            Step {
                id: ComponentId::new(&pipeline, "step").expect("a plain name"),
                plugin: "bench".to_owned(),
                transform: Box::new(transform),
                tick: None,
                on_error: OnError::Reject,
                rescue: None,
                links: Links { default: vec![next], routes: Vec::new() },
                stats: Arc::new(StepStats::default()),
            }
        });
        let first = if last.is_some() { Target::Step(0) } else { Target::Sink(0) };
        let sinks = vec![SinkLink { sender, is_durable: false }];
        let account = Arc::new(Account::new(Quota::default()));
        let chain = Chain::new(vec![vec![first]], steps.collect(), sinks, Arc::clone(&account));
        Self { chain, out, account }
    }

    fn measure(&mut self, size: usize) -> f64 {
        let batch = Arc::new(clicks(size));
        let runs = EVENTS / size / 4;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let mut spent = Duration::ZERO;
            for _ in 0..runs {
                let sizes = batch.data.ends.iter().map(|_| 280);
                let admitted = self.account.admit(sizes, AckMode::Settled);
                let (_receipt, acks) = admitted.expect("the account is empty");
                let delivery = Delivery { batch: Arc::clone(&batch), acks, entry: 0 };
                let since = Instant::now();
                self.chain.process(delivery);
                spent += since.elapsed();
                while let Some(delivery) = self.out.try_recv() {
                    assert_eq!(delivery.batch.len(), size, "all pass");
                    delivery.acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
                }
            }
            rounds.push(spent);
        }
        rounds.sort();
        rounds[ROUNDS / 2].as_secs_f64() * 1e9 / (runs * size) as f64
    }
}

/// What a shop's page sends.
fn clicks(size: usize) -> Batch {
    let mut batch = Batch::default();
    for event in 0..size {
        let data = format!(
            r#"{{"session":"01J9ZC3W7Q8K5R2M4T6V8X{event:04}","page":"/shop/shoes/42","referrer":"https://example.com/search?q=shoes","user":{{"id":{event},"email":"bob{event}@example.com","plan":"pro"}},"items":[{{"sku":"A-1","n":2}},{{"sku":"B-22","n":1}}],"total":{}.50,"screen":{{"w":1920,"h":1080}}}}"#,
            event % 100 + 11
        );
        batch.push(&Draft {
            id: &event.to_string(),
            source: "/in/clicks",
            event_type: "page.view",
            content_type: Some("application/json"),
            data: data.as_bytes(),
            ..Draft::default()
        });
    }
    batch
}

/// The rule of `puppet`'s mode `bots`, outside of the sandbox.
struct Native;

impl Transform for Native {
    fn transform(&mut self, batch: &Batch, _: &Fields<'_>) -> Result<Verdicts, TransformError> {
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
            let judged = transform.transform(black_box(batch), &Fields::default());
            black_box(judged.expect("the plugin judges"));
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

/// A step that adds what a table says of the user.
fn enriching(enrich: &Arc<Artifact>) -> WasmTransform {
    let file = std::env::temp_dir().join(format!("weir-bench-{}.csv", std::process::id()));
    let rows: String = (0..256).map(|id| format!("{id},team-{},{id}\n", id % 7)).collect();
    std::fs::write(&file, format!("id,team,score\n{rows}")).expect("the table is written");
    let settings = TableSettings { file: file.clone(), format: Format::Csv, key: None };
    let table = LookupTable::new(settings);
    table.replace(table.prepare().expect("a table").expect("it is new"));
    std::fs::remove_file(file).expect("the table was there");
    let tables = Arc::new([("users".to_owned(), Arc::new(table))]);
    let config = r#"{"table":"users","key":"data.user.id","into":"user.profile"}"#;
    let lends = Lends { tables, ..Lends::default() };
    lent(enrich, config, (&["lookup"], lends))
}

fn step(puppet: &Arc<Artifact>, mode: &str) -> WasmTransform {
    lent(puppet, mode, (&[], Lends::default()))
}

/// A step with grants and what they give access to.
fn lent(puppet: &Arc<Artifact>, mode: &str, (grants, lends): (&[&str], Lends)) -> WasmTransform {
    let pipeline = PipelineName::new("bench").expect("a plain name");
    let setup = StepSetup {
        id: ComponentId::new(&pipeline, "puppet").expect("a plain name"),
        config_json: if mode.starts_with('{') { mode.to_owned() } else { format!("\"{mode}\"") },
        limits: Limits { time: Duration::from_secs(1), ..Limits::default() },
        grants: grants.iter().map(ToString::to_string).collect(),
        lends,
    };
    WasmTransform::new(puppet, setup).expect("the puppet starts")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn guest() -> PathBuf {
    let guests = root().join("guests");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build.args(["build", "--release", "--locked", "--target-dir", "target"]).current_dir(&guests);
    assert!(build.status().is_ok_and(|status| status.success()), "the guests do not build");
    guests.join("target/wasm32-unknown-unknown/release/puppet.wasm")
}
