//! Who is over the count, and what becomes of that.

use weir_plugin::testing::{Harness, Judged, event, set_clock};

use crate::Throttle;

const NOW: u64 = 1_764_000_000_000_000;

#[test]
fn each_key_has_its_count_per_time() {
    let config = r#"{"key":"data.user","events":2,"per":"1m"}"#;
    let mut throttle = Harness::<Throttle>::new(config).unwrap();
    let of = |user: &str| event().data(format!(r#"{{"user":"{user}"}}"#));
    let judged = throttle.run(&[of("ann"), of("ann"), of("bob"), of("ann")]).unwrap();
    assert_eq!(judged, [Judged::Keep, Judged::Keep, Judged::Keep, Judged::Drop]);
    // What is over does not make the time longer.
    set_clock(NOW + 60_000_000);
    assert_eq!(throttle.judge(of("ann")), Judged::Keep);
    let lacking = event().data("{}");
    for _ in 0..3 {
        assert_eq!(throttle.judge(lacking.clone()), Judged::Keep);
    }
}

#[test]
fn what_is_over_is_dropped_failed_or_sent_elsewhere() {
    let over = |over: &str| {
        let config = format!(r#"{{"events":1,"per":"10s","key":["type"],"over":"{over}"}}"#);
        let mut throttle = Harness::<Throttle>::new(&config).unwrap();
        throttle.judge(event().event_type(over));
        throttle.judge(event().event_type(over))
    };
    assert_eq!(over("drop"), Judged::Drop);
    let Judged::Fail(_, message) = over("fail") else { panic!("it fails") };
    assert_eq!(message, "more than 1 events in 10000 ms");
    let Judged::Emit(rows) = over("route") else { panic!("it takes a route") };
    assert_eq!(rows[0].route.as_deref(), Some("over"));
}

#[test]
fn all_events_are_counted_together_without_a_key() {
    let mut throttle = Harness::<Throttle>::new(r#"{"events":1,"per":"1h"}"#).unwrap();
    assert_eq!(throttle.judge(event()), Judged::Keep);
    assert_eq!(throttle.judge(event().event_type("other")), Judged::Drop);
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    for (config, words) in [
        (r#"{"per":"1s"}"#, "missing field `events`"),
        (r#"{"events":0,"per":"1s"}"#, "`events` is at least 1"),
        (r#"{"events":1,"per":"1s","over":"keep"}"#, "unknown variant `keep`"),
    ] {
        let error = Harness::<Throttle>::new(config).unwrap_err();
        assert!(error.contains(words), "{config}: {error}");
    }
}
