//! A plugin that does what its `config`, a JSON string or the `mode` of a table, says.
//!
//! What goes wrong in `process` goes wrong only for batches that hold an event whose data is
//! `poison`; other events are kept.

wit_bindgen::generate!({ path: "../../../sdk/wit", world: "plugin", generate_all });

use std::sync::OnceLock;

use exports::weir::plugin::{lifecycle, transform};
use weir::plugin::log::{self, Level};
use weir::plugin::types::{
    Batch, Extensions, Failure, FailureKind, Needs, Outcome, Patches, Rows, Step, Verdict,
};

const NONE: u32 = u32::MAX;

static MODE: OnceLock<String> = OnceLock::new();

struct Puppet;

export!(Puppet);

impl lifecycle::Guest for Puppet {
    fn configure(config: String, step: Step) -> Result<Needs, String> {
        let mode = config.trim_start_matches(r#"{"mode":"#).trim_matches(['"', '}']);
        let mut needs = Needs { fields: Vec::new(), data: mode != "no data" };
        match mode {
            "configure: loop" => spin(),
            "configure: trap" => panic!("as told"),
            "configure: allocate" => hoard(),
            "configure: refuse" => return Err(format!("no, {}.{}", step.pipeline, step.name)),
            "fields" => needs.fields = vec!["user.id".into(), "n".into()],
            "configure: bad field" => needs.fields.push("a[".into()),
            "configure: many fields" => needs.fields = (0..65).map(|n| format!("f{n}")).collect(),
            _ => {}
        }
        drop(MODE.set(mode.into()));
        Ok(needs)
    }

    fn schema() -> Option<String> {
        None
    }
}

impl transform::Guest for Puppet {
    fn process(input: Batch) -> Result<Outcome, String> {
        let mode = MODE.get().ok_or("not configured")?.as_str();
        match mode {
            "keep" => return Ok(judged(&input, Verdict::Keep)),
            "bots" => return Ok(bots(&input)),
            "replace" => return Ok(replace(&input)),
            "split" => return Ok(split(&input)),
            "route" => return Ok(route(&input)),
            "drop" => return Ok(judged(&input, Verdict::Drop)),
            "fail" => return Ok(fail(&input)),
            "fields" => return Ok(describe(&input)),
            "no data" if !input.data.is_empty() => return Err("there is data".into()),
            "log" => log::log(Level::Info, "one\u{1b}[31mline\nof text"),
            _ => {}
        }
        if !(0..input.times.len()).any(|event| data(&input, event) == b"poison") {
            return Ok(judged(&input, Verdict::Keep));
        }
        misbehave(mode, &input)
    }
}

fn misbehave(mode: &str, input: &Batch) -> Result<Outcome, String> {
    let mut outcome = judged(input, Verdict::Keep);
    match mode {
        "loop" => spin(),
        "trap" => panic!("as told"),
        "recurse" => return Err(format!("{}", deep(u64::from(input.types[0]) + 1))),
        "allocate" => hoard(),
        "error" => return Err("x".repeat(5000)),
        "flood the log" => (0..100_000).for_each(|_| log::log(Level::Warn, &"x".repeat(100))),
        "few verdicts" => drop(outcome.verdicts.pop()),
        "unasked patch" => outcome.patches = Some(patches()),
        "few patch kinds" | "many patches" => {
            outcome.verdicts[0] = Verdict::Patch;
            outcome.patches = Some(spoilt_patches(mode));
        }
        _ if mode.starts_with("patch ") => {
            outcome.verdicts[0] = Verdict::Patch;
            outcome.patches = Some(spoilt_patches(mode));
        }
        "huge" => outcome.emitted = Some(Rows { data: vec![0; 4 << 20], ..rows(0) }),
        "unasked row" => outcome.emitted = Some(rows(1)),
        "failure of kept" => outcome.failures.push(failure(0)),
        "failure beyond" => outcome.failures.push(failure(1_000_000)),
        "many rows" => {
            outcome.verdicts[0] = Verdict::Emit;
            outcome.emitted = Some(rows(100_000));
        }
        _ => {
            outcome.verdicts[0] = Verdict::Emit;
            outcome.emitted = Some(spoilt(mode)?);
        }
    }
    Ok(outcome)
}

/// Two rows of event 0 with one thing wrong.
fn spoilt(mode: &str) -> Result<Rows, String> {
    let whole = Rows { dictionary_ends: vec![1, 1], dictionary: "a".into(), ..rows(2) };
    let attributes = |value_ends: Vec<u32>| Extensions {
        names: vec!["n".into()],
        row_ends: vec![1, 2],
        name_of: vec![0, 0],
        value_ends,
        values: "éé".into(),
    };
    Ok(match mode {
        "origins back" => Rows { origins: vec![1, 0], ..whole },
        "origin beyond" => Rows { origins: vec![0, 9_000], ..whole },
        "ends back" => Rows { data_ends: vec![4, 2], data: vec![0; 4], ..whole },
        "ends beyond" => Rows { data_ends: vec![2, 5], data: vec![0; 4], ..whole },
        "few ends" => Rows { data_ends: vec![4], data: vec![0; 4], ..whole },
        "type beyond" => Rows { types: vec![0, 2], ..whole },
        "empty type" => Rows { types: vec![0, 1], ..whole },
        "words back" => Rows { dictionary_ends: vec![1, 0], ..whole },
        "words beyond" => Rows { dictionary_ends: vec![1, 3], dictionary: "ab".into(), ..whole },
        "cut word" => Rows { dictionary_ends: vec![1, 2], dictionary: "é".into(), ..whole },
        "route beyond" => Rows { routes: vec![NONE, 7], ..whole },
        "cut character" => Rows { extensions: Some(attributes(vec![1, 4])), ..whole },
        "few values" => Rows { extensions: Some(attributes(vec![4])), ..whole },
        other => return Err(format!("unknown mode {other}")),
    })
}

fn judged(input: &Batch, verdict: Verdict) -> Outcome {
    let verdicts = vec![verdict; input.times.len()];
    Outcome { verdicts, patches: None, emitted: None, failures: Vec::new() }
}

/// The rule that the benchmark compares with the same rule outside the sandbox.
fn bots(input: &Batch) -> Outcome {
    let is_bot = |event| data(input, event).starts_with(b"{\"bot\":true");
    let judge = |event| if is_bot(event) { Verdict::Drop } else { Verdict::Keep };
    let verdicts = (0..input.times.len()).map(judge).collect();
    Outcome { verdicts, patches: None, emitted: None, failures: Vec::new() }
}

fn replace(input: &Batch) -> Outcome {
    let events = input.times.len() as u32;
    let emitted = Rows {
        dictionary_ends: vec![8],
        dictionary: "replaced".into(),
        types: vec![0; events as usize],
        origins: (0..events).collect(),
        data: input.data.to_ascii_uppercase(),
        data_ends: input.data_ends.clone(),
        ..rows(0)
    };
    Outcome { emitted: Some(emitted), ..judged(input, Verdict::Emit) }
}

/// Each event becomes two.
fn split(input: &Batch) -> Outcome {
    let events = input.times.len() as u32;
    let origins = (0..events).flat_map(|event| [event, event]).collect();
    Outcome { emitted: Some(Rows { origins, ..rows(0) }), ..judged(input, Verdict::Emit) }
}

/// Every second event takes the route `odd`.
fn route(input: &Batch) -> Outcome {
    let events = input.times.len() as u32;
    let routes = (0..events).map(|event| if event % 2 == 1 { 0 } else { NONE }).collect();
    let origins = (0..events).collect();
    let emitted =
        Rows { origins, routes, dictionary_ends: vec![3], dictionary: "odd".into(), ..rows(0) };
    Outcome { emitted: Some(emitted), ..judged(input, Verdict::Emit) }
}

fn fail(input: &Batch) -> Outcome {
    let events = input.times.len() as u32;
    let failures = (0..events).rev().map(failure).collect();
    Outcome { failures, ..judged(input, Verdict::Fail) }
}

fn data(input: &Batch, event: usize) -> &[u8] {
    let ends = &input.data_ends;
    let Some(end) = ends.get(event) else { return &[] };
    let start = if event == 0 { 0 } else { ends[event - 1] };
    &input.data[start as usize..*end as usize]
}

fn rows(origins: usize) -> Rows {
    Rows {
        origins: vec![0; origins],
        data_ends: Vec::new(),
        data: Vec::new(),
        dictionary_ends: Vec::new(),
        dictionary: String::new(),
        types: Vec::new(),
        subjects: Vec::new(),
        content_types: Vec::new(),
        routes: Vec::new(),
        extensions: None,
    }
}

fn patches() -> Patches {
    Patches {
        origins: vec![0],
        names: vec!["a".into()],
        name_of: vec![0],
        kinds: vec![0],
        ends: vec![0],
        values: String::new(),
    }
}

fn spoilt_patches(mode: &str) -> Patches {
    let whole = Patches { kinds: vec![5], ends: vec![1], values: "x".into(), ..patches() };
    match mode {
        "patch of nothing" => Patches { names: vec![String::new()], ..whole },
        "patch name beyond" => Patches { name_of: vec![1], ..whole },
        "patch kind" => Patches { kinds: vec![7], ..whole },
        "patch number" => Patches { kinds: vec![4], ..whole },
        "patch json" => Patches { kinds: vec![6], ..whole },
        "patch ends" => Patches { ends: vec![9], ..whole },
        "few patch kinds" => Patches { kinds: Vec::new(), ..whole },
        _ => Patches {
            origins: vec![0; 65],
            name_of: vec![0; 65],
            kinds: vec![1; 65],
            ends: vec![0; 65],
            values: String::new(),
            ..whole
        },
    }
}

/// Sets in each event what the host says about its fields.
fn describe(input: &Batch) -> Outcome {
    let events = input.times.len();
    let mut patches = Patches {
        origins: (0..events as u32).collect(),
        names: vec!["seen".into()],
        name_of: vec![0; events],
        kinds: vec![5; events],
        ends: Vec::new(),
        values: String::new(),
    };
    for event in 0..events {
        let fields = input.fields.iter().map(|column| {
            let start = if event == 0 { 0 } else { column.ends[event - 1] };
            let text = &column.values[start as usize..column.ends[event] as usize];
            format!("{}:{text}", column.kinds[event])
        });
        patches.values.push_str(&fields.collect::<Vec<_>>().join(" "));
        patches.ends.push(patches.values.len() as u32);
    }
    Outcome { patches: Some(patches), ..judged(input, Verdict::Patch) }
}

fn failure(event: u32) -> Failure {
    Failure { event, kind: FailureKind::Invalid, message: format!("event {event}") }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Takes memory until there is none.
fn hoard() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

fn deep(depth: u64) -> u64 {
    if depth == 0 { 0 } else { std::hint::black_box(deep(std::hint::black_box(depth + 1))) + 1 }
}
