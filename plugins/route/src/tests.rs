//! Which route events take.

use weir_plugin::testing::{Harness, Judged, event};
use weir_plugin::{FailureKind, Plugin};

use crate::Route;

const CONFIG: &str = r#"{"routes":[{"name":"errors","when":"data.status >= 500"},
                                   {"name":"slow","when":"data.seconds > 3"}]}"#;

fn refused(config: &str) -> String {
    Harness::<Route>::new(config).unwrap_err()
}

#[test]
fn the_first_route_whose_condition_holds_is_taken() {
    let mut route = Harness::<Route>::new(CONFIG).unwrap();
    let events = [r#"{"status":500,"seconds":9}"#, r#"{"seconds":3.5}"#, r#"{"status":200}"#, "x"];
    let judged = route.run(&events.map(|data| event().data(data))).unwrap();
    let routes = judged[..2].iter().map(|judged| match judged {
        Judged::Emit(rows) => rows[0].route.as_deref().unwrap(),
        judged => panic!("{judged:?}"),
    });
    assert_eq!(routes.collect::<Vec<_>>(), ["errors", "slow"]);
    assert_eq!(judged[2..], [Judged::Keep, Judged::Keep]);
}

#[test]
fn otherwise_names_the_route_of_the_rest() {
    let config = r#"{"routes":[{"name":"a","when":"false"}],"otherwise":"rest"}"#;
    let mut route = Harness::<Route>::new(config).unwrap();
    let judged = route.judge(event());
    let Judged::Emit(rows) = &judged else { panic!("{judged:?}") };
    assert_eq!(rows[0].route.as_deref(), Some("rest"));
}

#[test]
fn a_condition_that_makes_no_sense_fails_the_event() {
    let mut route = Harness::<Route>::new(CONFIG).unwrap();
    let judged = route.judge(event().data(r#"{"status":"500"}"#));
    let message = "`errors`: cannot compare string with int".to_owned();
    assert_eq!(judged, Judged::Fail(FailureKind::Invalid, message));
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    assert!(refused(r#"{"routes":[]}"#).contains("give 1 to 64"));
    assert!(refused(r#"{"routes":[{"name":"a b","when":"true"}]}"#).contains("`a b` cannot name"));
    assert!(refused(r#"{"routes":[{"name":"a","when":"dta"}]}"#).starts_with("`a`, line 1"));
    assert!(refused(r#"{"routes":[{"name":"a"}]}"#).contains("missing field `when`"));
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(Route::SCHEMA.unwrap()).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 2);
}
