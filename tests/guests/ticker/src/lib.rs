//! A plugin that says at each tick how many events there were since the last one, and does what the
//! `mode` of its `config` says.

wit_bindgen::generate!({
    inline: "
        package tests:ticker;
        world ticker {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/kv@1.0.0;
            export weir:plugin/timer@1.0.0;
        }
    ",
    path: "../../../sdk/wit",
    generate_all,
});

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use exports::weir::plugin::{lifecycle, timer, transform};
use weir::plugin::kv;
use weir::plugin::types::{Batch, Needs, Outcome, Rows, Step, Verdict};

static MODE: OnceLock<String> = OnceLock::new();

/// Events since the last tick, and ticks of this instance.
static EVENTS: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);

struct Ticker;

export!(Ticker);

impl lifecycle::Guest for Ticker {
    fn configure(config: String, _: Step) -> Result<Needs, String> {
        let mode = config.trim_start_matches(r#"{"mode":"#).trim_matches(['"', '{', '}']);
        drop(MODE.set(mode.into()));
        Ok(Needs { fields: Vec::new(), data: false })
    }

    fn schema() -> Option<String> {
        None
    }
}

impl transform::Guest for Ticker {
    fn process(input: Batch) -> Result<Outcome, String> {
        let events = input.times.len();
        EVENTS.fetch_add(events as u64, Ordering::Relaxed);
        let verdicts = vec![Verdict::Keep; events];
        Ok(Outcome { verdicts, patches: None, emitted: None, failures: Vec::new() })
    }
}

impl timer::Guest for Ticker {
    fn tick(now: u64) -> Result<Outcome, String> {
        TICKS.fetch_add(1, Ordering::Relaxed);
        let mode = MODE.get().ok_or("not configured")?.as_str();
        let emitted = match mode {
            "tick loops" => loop {
                std::hint::spin_loop();
            },
            "tick traps" => panic!("as told"),
            "tick traps once" => return once_in_kv(),
            "tick refuses" => return Err("no".into()),
            "many rows" => rows(1025, "{}"),
            "huge" => rows(4, &"x".repeat(1 << 20)),
            "untyped" => Rows { types: vec![u32::MAX], ..rows(1, "{}") },
            "no types" => Rows { types: Vec::new(), ..rows(1, "{}") },
            "verdicts" => return Ok(Outcome { verdicts: vec![Verdict::Keep], ..answer(None) }),
            "origins" => Rows { origins: vec![0], ..rows(1, "{}") },
            "time" => rows(1, &now.to_string()),
            "routes" => Rows { routes: vec![1, u32::MAX, 1], ..rows(3, "{}") },
            _ => match EVENTS.swap(0, Ordering::Relaxed) {
                0 => return Ok(answer(None)),
                events => rows(1, &format!(r#"{{"events":{events}}}"#)),
            },
        };
        Ok(answer(Some(emitted)))
    }
}

/// Changes the state and traps; what is there the next time is said.
fn once_in_kv() -> Result<Outcome, String> {
    let attempts = kv::increment("attempts", 1, None)?;
    if TICKS.load(Ordering::Relaxed) == 1 && EVENTS.swap(0, Ordering::Relaxed) > 0 {
        panic!("as told");
    }
    Ok(answer(Some(rows(1, &format!(r#"{{"attempts":{attempts}}}"#)))))
}

fn answer(emitted: Option<Rows>) -> Outcome {
    Outcome { verdicts: Vec::new(), patches: None, emitted, failures: Vec::new() }
}

/// Rows of the type `ticked`; the route `side` is there for who wants it.
fn rows(count: usize, data: &str) -> Rows {
    Rows {
        origins: Vec::new(),
        data_ends: (1..=count).map(|row| (row * data.len()) as u32).collect(),
        data: data.repeat(count).into_bytes(),
        dictionary_ends: vec![6, 10],
        dictionary: "tickedside".into(),
        types: vec![0; count],
        subjects: Vec::new(),
        content_types: Vec::new(),
        routes: Vec::new(),
        extensions: None,
    }
}
