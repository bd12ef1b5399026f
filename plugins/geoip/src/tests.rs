//! What is added of a record, and when nothing is.

use weir_plugin::testing::{Harness, Judged, event, set_table};

use crate::GeoIp;

const BERLIN: &str = r#"{"city":{"names":{"de":"Berlin","en":"Berlin"}},"country":{"iso_code":"DE"},
    "location":{"latitude":52.5,"longitude":13.4},"subdivisions":[{"iso_code":"BE"}]}"#;

fn geoip(more: &str) -> Harness<GeoIp> {
    set_table("geoip", &[("203.0.113.7", BERLIN), ("198.51.100.1", r#"{"country":{}}"#)]);
    Harness::new(&format!(r#"{{"ip":"data.ip","into":"geo"{more}}}"#)).unwrap()
}

#[test]
fn what_is_known_is_added() {
    let judged = geoip("").judge(event().data(r#"{"ip":"203.0.113.7"}"#));
    let geo = r#"{"city":"Berlin","country":"DE","latitude":52.5,"longitude":13.4,"region":"BE"}"#;
    assert_eq!(judged.texts(), [format!(r#"{{"ip":"203.0.113.7","geo":{geo}}}"#)]);
}

#[test]
fn the_config_may_name_the_fields() {
    let mut geoip = geoip(r#","fields":{"de":"city.names.de","second":"subdivisions.1"}"#);
    let judged = geoip.judge(event().data(r#"{"ip":"203.0.113.7"}"#));
    assert_eq!(judged.texts(), [r#"{"ip":"203.0.113.7","geo":{"de":"Berlin"}}"#]);
}

#[test]
fn an_event_without_a_place_passes_on() {
    let events = ["{}", r#"{"ip":"::1"}"#, r#"{"ip":"198.51.100.1"}"#, "no JSON"];
    let judged = geoip("").run(&events.map(|data| event().data(data))).unwrap();
    assert_eq!(judged, [Judged::Keep, Judged::Keep, Judged::Keep, Judged::Keep]);
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    for (config, words) in [
        (r#"{"ip":"data.ip","into":"geo","table":"city"}"#, "there is no table `city`"),
        (r#"{"ip":"ip","into":"geo"}"#, "`ip` is no part of an event"),
    ] {
        let error = Harness::<GeoIp>::new(config).unwrap_err();
        assert!(error.contains(words), "{config}: {error}");
    }
}
