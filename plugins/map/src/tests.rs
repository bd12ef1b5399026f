//! What the plugin makes of events.

use weir_plugin::testing::{Draft, Harness, Judged, event};
use weir_plugin::{FailureKind, Plugin};

use crate::Map;

fn judge(config: &str, event: Draft) -> Judged {
    Harness::<Map>::new(config).unwrap().judge(event)
}

fn maps(config: &str, data: &str) -> String {
    judge(config, event().data(data)).texts().concat()
}

fn failure(config: &str, data: &str) -> String {
    match judge(config, event().data(data)) {
        Judged::Fail(FailureKind::Invalid, message) => message,
        judged => panic!("{config}: {judged:?}"),
    }
}

fn refused(config: &str) -> String {
    Harness::<Map>::new(config).unwrap_err()
}

#[test]
fn set_gives_constants() {
    let config = r#"{"set":{"region":"eu","app.version":3,"tags":["a",{"b":null}],"off":false}}"#;
    assert_eq!(
        maps(config, r#"{ "n": 1 }"#),
        r#"{ "n": 1,"app":{"version":3},"off":false,"region":"eu","tags":["a",{"b":null}] }"#
    );
}

#[test]
fn compute_gives_what_expressions_give() {
    let config = r#"{"compute":{
        "total":"data.net * 1.5", "user.tier":"data.spent > 100 ? 'gold' : 'basic'",
        "skus":"data.items.map(item, item.sku)", "sum":"data.items[0].n + data.items[1].n",
        "who":"{'id': id, 'sure': has(data.net)}", "nick":"has(data.nick) ? optional.of(data.nick + '!') : optional.none()"}}"#;
    assert_eq!(
        maps(config, r#"{"net":10,"spent":100.5,"items":[{"sku":"ä","n":1},{"sku":"b","n":2.5}]}"#),
        r#"{"net":10,"spent":100.5,"items":[{"sku":"ä","n":1},{"sku":"b","n":2.5}],"skus":["ä","b"],"sum":3.5,"total":15.0,"user":{"tier":"gold"},"who":{"id":"1","sure":true}}"#
    );
}

#[test]
fn rename_moves_the_value_with_its_digits() {
    let config = r#"{"rename":{"mail":"user.email","n":"count","none":"nothing"}}"#;
    assert_eq!(
        maps(config, r#"{"mail":"a\u0022b","n":1.50,"user":{"id":7}}"#),
        r#"{"user":{"id":7,"email":"a\"b"},"count":1.50}"#
    );
    let swap = r#"{"rename":{"a":"b","b":"a"}}"#;
    assert_eq!(maps(swap, r#"{"a":[1],"b":null}"#), r#"{"a":null,"b":[1]}"#);
    assert_eq!(maps(r#"{"rename":{"a":"a.b"}}"#, r#"{"a":1}"#), r#"{"a":{"b":1}}"#);
}

#[test]
fn remove_takes_away_what_is_there() {
    let config = r#"{"remove":["debug","items[0].cost"]}"#;
    assert_eq!(
        maps(config, r#"{"debug":1,"items":[{"cost":1,"n":2}],"debug":2}"#),
        r#"{"items":[{"n":2}]}"#
    );
    assert_eq!(judge(config, event().data(r#"{"n":1}"#)), Judged::Keep);
    assert_eq!(judge(config, event().data("no JSON")), Judged::Keep);
}

#[test]
fn all_changes_see_the_event_as_it_came() {
    let config = r#"{"rename":{"a":"b"},"remove":["c"],"set":{"d":1},
                     "compute":{"e":"data.c + data.a","f":"has(data.d)"}}"#;
    assert_eq!(maps(config, r#"{"a":"x","c":"y"}"#), r#"{"b":"x","d":1,"e":"yx","f":false}"#);
    assert_eq!(
        maps(r#"{"set":{"a":1},"compute":{"a":"2"},"remove":["a"]}"#, r#"{"a":0}"#),
        r#"{"a":2}"#
    );
}

#[test]
fn what_cannot_be_changed_fails_the_event() {
    assert!(failure(r#"{"set":{"a.b":1}}"#, r#"{"a":7}"#).contains("neither an object"));
    assert!(failure(r#"{"set":{"a":1}}"#, "no JSON").contains("not JSON"));
    assert_eq!(
        failure(r#"{"compute":{"a":"data.n + 1"}}"#, "{}"),
        "`compute.a`: cannot add null_type and int"
    );
    assert!(
        failure(r#"{"compute":{"a":"1.0 / 0.0"}}"#, "{}").contains("`compute.a` gives no finite")
    );
}

#[test]
fn attributes_change_without_the_data() {
    let config = r#"{"type":"'order.' + data.state","subject":"data.user.id"}"#;
    let judged = judge(config, event().subject("x").data(r#"{"state":"paid","user":{"id":7}}"#));
    let Judged::Emit(rows) = &judged else { panic!("{judged:?}") };
    assert_eq!(
        (rows[0].event_type.as_str(), rows[0].subject.as_deref()),
        ("order.paid", Some("7"))
    );
    assert_eq!(rows[0].data, br#"{"state":"paid","user":{"id":7}}"#);
    let judged = judge(r#"{"subject":"data.user.id"}"#, event().subject("x").data("{}"));
    let Judged::Emit(rows) = &judged else { panic!("{judged:?}") };
    assert_eq!(rows[0].subject.as_deref(), Some("x"));
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    assert!(refused("{}").starts_with("nothing to change: give `set`"));
    assert!(refused(r#"{"set":{"a":1},"type":"'x'"}"#).contains("use two steps"));
    assert!(refused(r#"{"remove":["a..b"]}"#).starts_with("`remove`: "));
    assert!(refused(r#"{"rename":{"a":""}}"#).starts_with("`rename`: "));
    assert!(refused(r#"{"compute":{"a":"data."}}"#).starts_with("`compute.a`, line 1, column"));
    let many: Vec<String> = (0..65).map(|n| format!("f{n}")).collect();
    let many = serde_json::json!({ "remove": many }).to_string();
    assert!(refused(&many).contains("65 changes are more than 64"));
}

#[test]
fn the_schema_names_every_key() {
    let schema: serde_json::Value = serde_json::from_str(Map::SCHEMA.unwrap()).unwrap();
    let known = schema["properties"].as_object().unwrap().keys();
    let unknown = refused(r#"{"a":1}"#);
    for key in known {
        assert!(unknown.contains(&format!("`{key}`")), "{key} is missing in: {unknown}");
    }
}
