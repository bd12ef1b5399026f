//! A plugin that says at each tick how many events there were since the last one, hands that number
//! over to its successor, and does what the `mode` of its `config` says.

wit_bindgen::generate!({
    inline: "
        package tests:ticker;
        world ticker {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/kv@1.0.0;
            export weir:plugin/snapshot@1.0.0;
            export weir:plugin/timer@1.0.0;
        }
    ",
    path: "../../../sdk/wit",
    generate_all,
});

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use exports::weir::plugin::{lifecycle, snapshot, timer, transform};
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
            "tick loops" => spin(),
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

impl snapshot::Guest for Ticker {
    fn save() -> Vec<u8> {
        match MODE.get().map(String::as_str) {
            Some("save traps") => panic!("as told"),
            Some("save loops") => spin(),
            Some("save is huge") => vec![7; (16 << 20) + 1],
            _ => EVENTS.load(Ordering::Relaxed).to_le_bytes().to_vec(),
        }
    }

    fn restore(state: Vec<u8>) -> Result<(), String> {
        match MODE.get().map(String::as_str) {
            Some("restore traps") => panic!("as told"),
            Some("restore loops") => spin(),
            Some("restore refuses") => return Err("no".into()),
            _ => {}
        }
        let events = state.try_into().map_err(|_| "that is no number")?;
        EVENTS.store(u64::from_le_bytes(events), Ordering::Relaxed);
        Ok(())
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
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
