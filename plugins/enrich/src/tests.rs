//! What is added, and to whom nothing.

use weir_plugin::testing::{Harness, Judged, event, set_table};

use crate::Enrich;

fn enrich(missing: &str) -> Harness<Enrich> {
    set_table("users", &[("ann", r#"{"plan":"pro"}"#), ("7", "[1, 2]")]);
    let more = format!(r#""table":"users","key":"data.user","into":"its.profile"{missing}"#);
    Harness::new(&format!("{{{more}}}")).unwrap()
}

#[test]
fn a_batch_is_looked_up_at_once() {
    let events = [
        event().data(r#"{"user":"ann", "n":1}"#),
        event().data(r#"{"n":2}"#),
        event().data(r#"{"user":"eve"}"#),
        event().data(r#"{"its":{"n":1},"user":7}"#),
    ];
    let judged = enrich("").run(&events).unwrap();
    assert_eq!(judged[0].texts(), [r#"{"user":"ann", "n":1,"its":{"profile":{"plan":"pro"}}}"#]);
    assert_eq!(judged[1..3], [Judged::Keep, Judged::Keep]);
    assert_eq!(judged[3].texts(), [r#"{"its":{"n":1,"profile":[1, 2]},"user":7}"#]);
}

#[test]
fn what_is_missing_is_kept_dropped_or_failed() {
    let eve = || event().data(r#"{"user":"eve"}"#);
    assert_eq!(enrich(r#","missing":"drop""#).judge(eve()), Judged::Drop);
    let Judged::Fail(_, message) = enrich(r#","missing":"fail""#).judge(eve()) else {
        panic!("it fails")
    };
    assert_eq!(message, "the table `users` does not have its key");
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    set_table("users", &[]);
    for (config, words) in [
        (r#"{"table":"plans","key":"id","into":"a"}"#, "there is no table `plans`"),
        (r#"{"table":"users","key":"id","into":""}"#, "`into` is the path of a field"),
        (r#"{"table":"users","into":"a"}"#, "missing field `key`"),
    ] {
        let error = Harness::<Enrich>::new(config).unwrap_err();
        assert!(error.contains(words), "{config}: {error}");
    }
}
