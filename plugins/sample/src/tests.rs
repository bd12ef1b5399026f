//! Which events pass.

use weir_plugin::Plugin;
use weir_plugin::testing::{Harness, Judged, event};

use crate::Sample;

/// How many of 10 000 ids pass.
fn share(config: &str) -> usize {
    let mut sample = Harness::<Sample>::new(config).unwrap();
    let events: Vec<_> = (0..10_000).map(|n| event().id(&format!("event-{n}"))).collect();
    sample.run(&events).unwrap().iter().filter(|judged| **judged == Judged::Keep).count()
}

fn passes(config: &str, data: &str) -> bool {
    let mut sample = Harness::<Sample>::new(config).unwrap();
    sample.judge(event().data(data)) == Judged::Keep
}

fn refused(config: &str) -> String {
    Harness::<Sample>::new(config).unwrap_err()
}

#[test]
fn the_rate_is_the_share_that_passes() {
    assert_eq!((share(r#"{"rate":0}"#), share(r#"{"rate":1}"#)), (0, 10_000));
    // The same ids give the same number, everywhere and always.
    let shares = [r#"{"rate":0.1}"#, r#"{"rate":0.5}"#, r#"{"rate":0.1,"salt":"b"}"#].map(share);
    assert_eq!(shares, [1043, 5032, 996]);
}

#[test]
fn all_events_of_a_key_share_their_fate() {
    let config = r#"{"rate":0.5,"key":"data.user"}"#;
    let mut sample = Harness::<Sample>::new(config).unwrap();
    let mut fates = Vec::new();
    for user in 0..20 {
        let data = format!(r#"{{"user":{user}}}"#);
        let events: Vec<_> = (0..5).map(|n| event().id(&n.to_string()).data(&*data)).collect();
        let judged = sample.run(&events).unwrap();
        assert!(judged.iter().all(|fate| *fate == judged[0]), "{judged:?}");
        fates.push(judged[0].clone());
    }
    assert!(fates.contains(&Judged::Keep) && fates.contains(&Judged::Drop));
}

#[test]
fn who_passes_at_a_rate_passes_at_every_higher_one() {
    let at = |rate: f64| {
        let config = serde_json::json!({ "rate": rate, "key": "data" }).to_string();
        (0..200).filter(|n| passes(&config, &n.to_string())).collect::<Vec<_>>()
    };
    let (few, many) = (at(0.2), at(0.6));
    assert!(few.len() < many.len() && few.iter().all(|n| many.contains(n)));
}

#[test]
fn without_a_key_the_id_counts() {
    let fates = |config: &str| {
        let mut sample = Harness::<Sample>::new(config).unwrap();
        let events: Vec<_> = (0..100).map(|n| event().id(&n.to_string())).collect();
        sample.run(&events).unwrap()
    };
    assert_eq!(fates(r#"{"rate":0.5,"key":"data.user"}"#), fates(r#"{"rate":0.5}"#));
}

#[test]
fn what_shall_pass_always_does() {
    let config = r#"{"rate":0,"always":"data.level == 'error'"}"#;
    assert!(passes(config, r#"{"level":"error"}"#) && !passes(config, r#"{"level":"info"}"#));
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    assert!(refused("{}").contains("missing field `rate`"));
    assert!(refused(r#"{"rate":1.5}"#).contains("give a share from 0 to 1"));
    assert!(refused(r#"{"rate":0.5,"key":"dta"}"#).starts_with("`key`, line 1"));
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(Sample::SCHEMA.unwrap()).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 4);
}
