//! Plugins that are told the time, most of them ill-behaved. The plugin is `tests/guests/ticker`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Judge, PATIENCE, batch, guest, puppet, setup};
use crate::component::{Transform, TransformError};
use crate::event::NONE;
use crate::wasm::{Artifact, KV, Limits, StepSetup, Wasm, WasmTransform};

const NOW: u64 = 1_764_000_000_000_000;

fn ticker() -> Arc<Artifact> {
    static TICKER: OnceLock<Arc<Artifact>> = OnceLock::new();
    let load = || Wasm::new(None).unwrap().load(&guest("ticker")).unwrap();
    Arc::clone(TICKER.get_or_init(load))
}

fn step(mode: &str, time: Duration) -> WasmTransform {
    let limits = Limits { time, ..Limits::default() };
    let setup = StepSetup { limits, grants: vec![KV.to_owned()], ..setup(mode) };
    WasmTransform::new(&ticker(), setup).unwrap()
}

#[test]
fn a_tick_emits_rows_that_come_from_no_event() {
    assert!(ticker().has_timer() && !puppet().has_timer());
    let mut counting = step("count", PATIENCE);
    assert!(counting.tick(NOW).unwrap().types.is_empty());
    counting.judge(&batch(&["a", "b"])).unwrap();
    let rows = counting.tick(NOW).unwrap();
    assert_eq!((rows.types, rows.origins), (vec![0], vec![]));
    assert_eq!((rows.data.get(0), rows.dictionary.get(0)), (&br#"{"events":2}"#[..], "ticked"));
    let told = step("time", PATIENCE).tick(NOW).unwrap();
    assert_eq!(told.data.get(0), NOW.to_string().as_bytes());
    assert_eq!(step("routes", PATIENCE).tick(NOW).unwrap().routes, [1, NONE, 1]);
    // A plugin without a timer has nothing to say.
    let mut puppet = WasmTransform::new(&puppet(), setup("keep")).unwrap();
    assert!(puppet.tick(NOW).unwrap().types.is_empty());
}

#[test]
fn every_misdeed_of_a_tick_has_its_reason_and_the_next_batch_works() {
    let misdeeds = [
        ("tick loops", "timeout", "time limit"),
        ("tick traps", "trap", "unreachable"),
        ("tick refuses", "error", "no"),
        ("many rows", "bad_answer", "1025 rows for a tick, over 1024"),
        ("huge", "output", "too much data"),
        ("untyped", "bad_answer", "a row without a type"),
        ("no types", "bad_answer", "a row without a type"),
        ("verdicts", "bad_answer", "a tick has no events"),
        ("origins", "bad_answer", "a row of an event"),
    ];
    for (mode, reason, words) in misdeeds {
        let time = if reason == "timeout" { Duration::from_millis(20) } else { PATIENCE };
        let mut ticker = step(mode, time);
        for _ in 0..2 {
            let TransformError { reason: given, message } = ticker.tick(NOW).unwrap_err();
            assert_eq!(given, reason, "{mode}: {message}");
            assert!(message.contains(words), "{mode}: {message}");
            assert_eq!(ticker.judge(&batch(&["a"])).unwrap().verdicts.len(), 1, "{mode}");
        }
    }
}

#[test]
fn what_a_failed_tick_changed_in_the_state_is_undone() {
    let mut ticker = step("tick traps once", PATIENCE);
    ticker.judge(&batch(&["a"])).unwrap();
    assert_eq!(ticker.tick(NOW).unwrap_err().reason, "trap");
    let rows = ticker.tick(NOW).unwrap();
    assert_eq!(rows.data.get(0), br#"{"attempts":1}"#);
    let rows = ticker.tick(NOW).unwrap();
    assert_eq!(rows.data.get(0), br#"{"attempts":2}"#);
}

#[test]
fn state_is_handed_over_once_or_not_at_all() {
    let mut old = step("count", PATIENCE);
    old.judge(&batch(&["a", "b"])).unwrap();
    let state = old.save().unwrap().unwrap();
    let mut new = step("count", PATIENCE);
    new.restore(state).unwrap();
    new.judge(&batch(&["c"])).unwrap();
    assert_eq!(new.tick(NOW).unwrap().data.get(0), br#"{"events":3}"#);
    // Who does not take it begins anew, and works.
    new.judge(&batch(&["d"])).unwrap();
    assert_eq!(new.restore(b"short".to_vec()).unwrap_err().reason, "error");
    assert!(new.tick(NOW).unwrap().types.is_empty());
    // A plugin without `snapshot` has nothing to hand over.
    let mut puppet = WasmTransform::new(&puppet(), setup("keep")).unwrap();
    assert!(puppet.save().is_none());
    puppet.restore(b"whatever".to_vec()).unwrap();
}

#[test]
fn an_instance_that_is_made_anew_because_of_its_age_keeps_its_state() {
    let mut counting = step("count", PATIENCE);
    let batch = batch(&["a"]);
    let batches = 100_050;
    for _ in 0..batches {
        counting.judge(&batch).unwrap();
    }
    let said = format!(r#"{{"events":{batches}}}"#);
    assert_eq!(counting.tick(NOW).unwrap().data.get(0), said.as_bytes());
}
