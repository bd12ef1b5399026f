//! What makes a session, when it ends, and what is said about it.

use weir_plugin::testing::{Draft, Harness, Judged, event, set_clock};

use crate::{Sessionize, time};

const NOW: u64 = 1_764_000_000_000_000;
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

fn sessionize(config: &str) -> Harness<Sessionize> {
    set_clock(NOW);
    Harness::new(config).unwrap()
}

fn visit(user: &str, id: &str, time: u64) -> Draft {
    event().id(id).time(time).data(format!(r#"{{"user":"{user}"}}"#))
}

/// The session that an event was given as an extension attribute.
fn session(judged: &Judged) -> String {
    let Judged::Emit(rows) = judged else { panic!("no session: {judged:?}") };
    let attribute = rows[0].extensions.iter().find(|(name, _)| name == "session");
    attribute.expect("it has the attribute").1.clone()
}

fn enter(plugin: &mut Harness<Sessionize>, draft: Draft) -> String {
    session(&plugin.judge(draft))
}

#[test]
fn a_session_lasts_until_its_key_is_idle() {
    let mut plugin = sessionize(r#"{"key":"data.user","idle":"30m"}"#);
    let first = enter(&mut plugin, visit("ann", "1", NOW));
    assert_eq!(first.len(), 32);
    let other = enter(&mut plugin, visit("bob", "2", NOW));
    assert_ne!(first, other);
    set_clock(NOW + 29 * MINUTE);
    assert_eq!(enter(&mut plugin, visit("ann", "3", NOW + 5)), first);
    // Bob is idle for long enough, Ann is not; and nobody is told twice.
    let told = plugin.tick(NOW + 31 * MINUTE).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].event_type.as_str(), told[0].subject.as_deref()),
        ("session.ended", Some("bob"))
    );
    assert_eq!(told[0].extensions, [("session".to_owned(), other.clone())]);
    let said = format!(
        r#"{{"ended":"2025-11-24T16:00:00.000000Z","events":1,"key":"bob","session":"{other}","started":"2025-11-24T16:00:00.000000Z"}}"#
    );
    let sorted: serde_json::Value = serde_json::from_str(&told[0].text()).unwrap();
    assert_eq!(sorted, serde_json::from_str::<serde_json::Value>(&said).unwrap());
    assert!(plugin.tick(NOW + 32 * MINUTE).unwrap().is_empty());
    let told = plugin.tick(NOW + 70 * MINUTE).unwrap();
    let data: serde_json::Value = serde_json::from_str(&told[0].text()).unwrap();
    assert_eq!((&data["events"], &data["key"]), (&2.into(), &"ann".into()));
    assert_eq!(data["ended"], "2025-11-24T16:00:00.000005Z");
    // A third event begins another one.
    assert_ne!(enter(&mut plugin, visit("ann", "4", NOW)), first);
}

#[test]
fn who_comes_back_before_the_tick_begins_a_new_session_and_both_end() {
    let mut plugin = sessionize(r#"{"key":"data.user","idle":"10s"}"#);
    let first = enter(&mut plugin, visit("ann", "1", NOW));
    set_clock(NOW + 10 * SECOND);
    let second = enter(&mut plugin, visit("ann", "2", NOW));
    assert_ne!(first, second);
    let ended = |told: Vec<weir_plugin::testing::Emitted>| {
        told.into_iter().map(|row| row.extensions[0].1.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ended(plugin.tick(NOW + 11 * SECOND).unwrap()), [first]);
    set_clock(NOW + 12 * SECOND);
    assert_eq!(enter(&mut plugin, visit("ann", "3", NOW)), second);
    assert_eq!(ended(plugin.tick(NOW + 40 * SECOND).unwrap()), [second]);
}

#[test]
fn many_sessions_end_over_several_ticks_and_leave_nothing() {
    let mut plugin = sessionize(r#"{"key":"data.user","idle":"1m","sessions":1000}"#);
    let users: Vec<Draft> =
        (0..1_000).map(|user| visit(&format!("user {user}"), "1", NOW)).collect();
    plugin.run(&users).unwrap();
    let Judged::Fail(_, words) = plugin.judge(visit("one more", "1", NOW)) else {
        panic!("there are too many");
    };
    assert_eq!(words, "1000 sessions are open, and that is the most");
    let mut ended = Vec::new();
    for tick in 0..10 {
        let told = plugin.tick(NOW + 2 * MINUTE + tick * SECOND).unwrap();
        assert!(told.len() <= 475, "{}", told.len());
        ended.extend(told.into_iter().map(|row| row.subject.unwrap()));
    }
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), 1_000);
    enter(&mut plugin, visit("one more", "1", NOW));
}

#[test]
fn sessions_outlive_the_plugin() {
    let mut plugin = sessionize(r#"{"key":"data.user","idle":"1h"}"#);
    let first = enter(&mut plugin, visit("ann", "1", NOW));
    // The state is there for the next one, who has another idle time.
    let mut plugin = Harness::<Sessionize>::new(r#"{"key":"data.user","idle":"30m"}"#).unwrap();
    assert_eq!(enter(&mut plugin, visit("ann", "2", NOW)), first);
    assert_eq!(plugin.tick(NOW + 2 * 60 * MINUTE).unwrap().len(), 1);
}

#[test]
fn the_id_goes_where_it_shall_and_keys_may_have_parts() {
    let config = r#"{"key":["subject","type"],"idle":"1m","into":"data.visit.id","ended":"bye"}"#;
    let mut plugin = sessionize(config);
    let visit = event().subject("ann").event_type("view").data("{}");
    let texts = plugin.judge(visit.clone()).texts();
    assert!(texts[0].starts_with(r#"{"visit":{"id":""#), "{texts:?}");
    assert_eq!(plugin.judge(event()), Judged::Keep);
    assert!(matches!(plugin.judge(visit.data("no JSON")), Judged::Fail(..)));
    let told = plugin.tick(NOW + 10 * MINUTE).unwrap();
    assert_eq!(
        (told[0].event_type.as_str(), told[0].subject.as_deref()),
        ("bye", Some("ann/view"))
    );
    assert!(told[0].extensions.is_empty());
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    for (config, words) in [
        (r#"{"idle":"1m"}"#, "missing field `key`"),
        (r#"{"key":"id"}"#, "missing field `idle`"),
        (r#"{"key":"id","idle":"1m","into":"session"}"#, "`session` is no place"),
        (r#"{"key":"id","idle":"1m","into":"ext.Session"}"#, "`ext.Session` is no place"),
        (r#"{"key":"id","idle":"1m","ended":""}"#, "`ended` is the type"),
        (r#"{"key":"id","idle":"1m","sessions":0}"#, "`sessions` is at least 1"),
    ] {
        let error = Harness::<Sessionize>::new(config).unwrap_err();
        assert!(error.contains(words), "{config}: {error}");
    }
}

#[test]
fn times_are_written_as_dates() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (NOW + 7, "2025-11-24T16:00:00.000007Z"),
        (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z"),
        (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
    ] {
        assert_eq!(time::written(micros), text);
    }
}
