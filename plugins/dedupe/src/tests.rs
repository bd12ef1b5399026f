//! What counts as a repeat, and for how long.

use weir_plugin::testing::{Harness, Judged, event, set_clock};

use crate::Dedupe;

const NOW: u64 = 1_764_000_000_000_000;

#[test]
fn the_first_of_a_key_passes_until_its_time_is_over() {
    let mut dedupe = Harness::<Dedupe>::new(r#"{"key":"data.order","within":"10s"}"#).unwrap();
    let order = |number: u32| event().data(format!(r#"{{"order":{number}}}"#));
    let judged = dedupe.run(&[order(1), order(2), order(1)]).unwrap();
    assert_eq!(judged, [Judged::Keep, Judged::Keep, Judged::Drop]);
    set_clock(NOW + 9_999_000);
    assert_eq!(dedupe.judge(order(1)), Judged::Drop);
    set_clock(NOW + 10_000_000);
    assert_eq!(dedupe.judge(order(1)), Judged::Keep);
}

#[test]
fn an_event_is_known_by_its_source_and_id() {
    let mut dedupe = Harness::<Dedupe>::new(r#"{"within":"1h"}"#).unwrap();
    let judged = dedupe.run(&[event().id("a"), event().id("b"), event().id("a")]).unwrap();
    assert_eq!(judged, [Judged::Keep, Judged::Keep, Judged::Drop]);
    assert_eq!(dedupe.judge(event().id("a").source("/other")), Judged::Keep);
}

#[test]
fn an_event_without_a_key_has_no_repeats() {
    let config = r#"{"key":["subject","data.order"],"within":"1h"}"#;
    let mut dedupe = Harness::<Dedupe>::new(config).unwrap();
    let lacking = [event().data(r#"{"order":1}"#), event().subject("s"), event().data("no JSON")];
    for _ in 0..2 {
        assert_eq!(dedupe.run(&lacking).unwrap(), [Judged::Keep, Judged::Keep, Judged::Keep]);
    }
    let long = event().subject(&"s".repeat(1_000)).data(r#"{"order":1}"#);
    let Judged::Fail(_, message) = dedupe.judge(long) else { panic!("it has a key too long") };
    assert_eq!(message, "the key has 1002 bytes, more than 1000");
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    for (config, words) in [
        ("{}", "missing field `within`"),
        (r#"{"within":"soon"}"#, "is no time"),
        (r#"{"within":"1s","keys":"id"}"#, "unknown field `keys`"),
    ] {
        let error = Harness::<Dedupe>::new(config).unwrap_err();
        assert!(error.contains(words), "{config}: {error}");
    }
}
