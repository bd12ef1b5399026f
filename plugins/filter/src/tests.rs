//! What the plugin does to events, by expression.

use weir_plugin::testing::{Draft, Harness, Judged, event};
use weir_plugin::{FailureKind, Plugin};

use crate::Filter;

fn config(key: &str, expression: &str) -> String {
    serde_json::json!({ key: expression }).to_string()
}

/// Whether an event with this data passes `keep = expression`.
fn keeps(expression: &str, data: &str) -> bool {
    passes(expression, event().data(data))
}

fn passes(expression: &str, event: Draft) -> bool {
    let mut filter = Harness::<Filter>::new(&config("keep", expression)).unwrap();
    match filter.judge(event) {
        Judged::Keep => true,
        Judged::Drop => false,
        judged => panic!("{expression}: {judged:?}"),
    }
}

fn failure(expression: &str, data: &str) -> String {
    let mut filter = Harness::<Filter>::new(&config("keep", expression)).unwrap();
    match filter.judge(event().data(data)) {
        Judged::Fail(FailureKind::Invalid, message) => message,
        judged => panic!("{expression}: {judged:?}"),
    }
}

fn mistake(expression: &str) -> String {
    Harness::<Filter>::new(&config("keep", expression)).unwrap_err()
}

#[test]
fn an_event_without_the_field_is_not_a_bot() {
    assert!(keeps("data.bot != true", r#"{"page":"/"}"#));
    assert!(keeps("data.bot != true", r#"{"bot":false}"#));
    assert!(keeps("data.bot != true", r#"{"bot":null}"#));
    assert!(!keeps("data.bot != true", r#"{"bot":true}"#));
    assert!(keeps("!data.bot", "{}"));
    assert!(!keeps("!data.bot", r#"{"bot":true}"#));
}

#[test]
fn drop_drops_what_is_true_and_keeps_the_rest() {
    let mut filter = Harness::<Filter>::new(&config("drop", "data.n > 5")).unwrap();
    let events = [event().data(r#"{"n":6}"#), event().data(r#"{"n":5}"#), event().data("{}")];
    assert_eq!(filter.run(&events).unwrap(), [Judged::Drop, Judged::Keep, Judged::Keep]);
}

#[test]
fn with_both_an_event_passes_both() {
    let config = r#"{"keep":"data.n > 1","drop":"data.n > 3"}"#;
    let mut filter = Harness::<Filter>::new(config).unwrap();
    let events = [1, 2, 4].map(|n| event().data(format!(r#"{{"n":{n}}}"#)));
    assert_eq!(filter.run(&events).unwrap(), [Judged::Drop, Judged::Keep, Judged::Drop]);
}

#[test]
fn a_missing_field_is_null_at_any_depth() {
    for data in ["{}", r#"{"user":null}"#, r#"{"user":"bob"}"#, r#"{"user":{}}"#, "[]", "7"] {
        assert!(keeps("data.user.plan == null", data), "{data}");
        assert!(keeps("null == data.user.plan", data), "{data}");
        assert!(keeps("data.user.plan != 'pro'", data), "{data}");
        assert!(!keeps("has(data.user.plan)", data), "{data}");
        assert!(!keeps("data.user.plan", data), "{data}");
    }
    assert!(keeps("has(data.user)", r#"{"user":null}"#));
    assert!(keeps("data.user.plan == 'pro'", r#"{"user":{"plan":"pro"}}"#));
    assert!(keeps(r#"data["user"]["plan"] == 'pro'"#, r#"{"user":{"plan":"pro"}}"#));
}

#[test]
fn null_is_neither_less_nor_greater_and_has_nothing_in_it() {
    for expression in [
        "data.n < 5",
        "data.n <= 5",
        "data.n > 5",
        "data.n >= 5",
        "5 < data.n",
        "data.n.startsWith('a')",
        "data.n.endsWith('a')",
        "data.n.contains('a')",
        "data.n.matches('a')",
        "'a' in data.n",
        "data.n.exists(x, true)",
        "size(data.n) > 0",
        "data.n.size() != 0",
        "data.n ? true : false",
        "data.n && true",
        "data.n || false",
    ] {
        assert!(!keeps(expression, "{}"), "{expression}");
        assert!(!keeps(expression, r#"{"n":null}"#), "{expression}");
    }
    assert!(keeps("data.n.all(x, false)", "{}"));
}

#[test]
fn expressions_read_all_attributes() {
    let event = || {
        event()
            .id("7")
            .source("/in/shop")
            .event_type("cart.add")
            .subject("bob")
            .time(1_764_000_000_123_456)
            .extension("tenant", "a")
    };
    for expression in [
        "id == '7'",
        "source == '/in/shop'",
        "type.startsWith('cart.')",
        "subject == 'bob'",
        "time == 1764000000123",
        "ext.tenant == 'a'",
        "ext['tenant'] in ['a', 'b']",
        "ext.region == null && !has(ext.region) && has(ext.tenant)",
        "size(ext) == 1",
        "type(data) == map",
    ] {
        assert!(passes(expression, event()), "{expression}");
    }
    assert!(passes("subject == null", self::event()));
    assert!(passes("ext.tenant == null && size(ext) == 0", self::event()));
}

#[test]
fn expressions_reach_into_lists() {
    let data = r#"{"items":[{"sku":"A","n":2},{"n":1}],"tags":["x","y"]}"#;
    for expression in [
        "data.items[0].sku == 'A'",
        "data.items[1].sku == null",
        "data.items[9].sku == null",
        "data.items.exists(item, item.sku == 'A')",
        "data.items.all(item, item.sku != 'B')",
        "data.items.exists_one(item, has(item.sku))",
        "data.items.filter(item, item.n > 1).size() == 1",
        "data.items.map(item, item.n) == [2, 1]",
        "'y' in data.tags",
        "data.tags == ['x', 'y'] && data.tags[1] == 'y'",
        "data == data && data.items.size() == 2",
        "[data.tags, data.tags].exists(data, data[0] == 'x')",
        "data.?tags.orValue([]).size() == 2",
        "data.?none.orValue('d') == 'd'",
    ] {
        assert!(keeps(expression, data), "{expression}");
    }
}

#[test]
fn numbers_compare_across_their_kinds() {
    let data = r#"{"int":1,"double":1.0,"big":18446744073709551615,"e":1e2}"#;
    assert!(keeps("data.int == data.double && data.int < 1.5 && data.e == 100", data));
    assert!(keeps("data.big > 5 && data.big == 18446744073709551615u", data));
}

#[test]
fn of_repeated_keys_the_last_counts() {
    assert!(keeps("data.a.b == null", r#"{"a":{"b":1},"a":5}"#));
    assert!(keeps("data.a.b == 2 && data.a != null", r#"{"a":{"b":1},"a":{"b":2}}"#));
}

#[test]
fn data_that_is_not_json_is_null() {
    for data in ["", "hello", r#"{"bot":true"#, r#"{"bot":true} x"#, "\u{1F600}"] {
        assert!(keeps("data == null && data.bot != true", data), "{data}");
    }
    assert!(passes("data == null", event().data(vec![0xff, 0xfe])));
    let deep = "[".repeat(100_000);
    assert!(keeps("data == null", &deep));
}

#[test]
fn escaped_keys_and_texts_are_read() {
    assert!(keeps("data.bot == 'a\"b'", r#"{"b\u006ft":"a\"b"}"#));
    assert!(keeps("data['ключ'] == 'ы'", r#"{"ключ":"ы"}"#));
}

#[test]
fn patterns_match() {
    assert!(keeps("data.mail.matches('@example[.](com|org)$')", r#"{"mail":"a@example.org"}"#));
    assert!(!keeps("matches(data.mail, '^x')", r#"{"mail":"a@example.org"}"#));
}

#[test]
fn what_makes_no_sense_fails_the_event() {
    assert_eq!(failure("data.n > 5", r#"{"n":"7"}"#), "`keep`: cannot compare string with int");
    assert!(failure("data.n + 1 > 5", "{}").contains("cannot add null"));
    assert!(failure("10 / data.n > 1", r#"{"n":0}"#).contains("zero"));
    assert!(failure("data.n.startsWith('a')", r#"{"n":7}"#).contains("startsWith"));
    assert_eq!(
        failure("data.n + 1", r#"{"n":1}"#),
        "`keep` gives a value of type int, not true or false"
    );
}

#[test]
fn what_decides_alone_hides_an_error() {
    assert!(keeps("data.n == 7 || data.n > 'a'", r#"{"n":7}"#));
    assert!(!keeps("data.n > 'a' && false", r#"{"n":7}"#));
}

#[test]
fn a_syntax_error_shows_its_place() {
    let message = mistake("data.bot !=");
    assert!(message.starts_with("`keep`, line 1, column 12: "), "{message}");
    assert!(message.ends_with("\n  data.bot !=\n             ^"), "{message}");
    assert!(mistake("").starts_with("`keep`"));
    assert!(mistake("data.a == 1 &&\n  )").contains("line 2, column 3"));
}

#[test]
fn unknown_names_show_their_place() {
    assert_eq!(
        mistake("data.a == 1 && dta.bot"),
        "`keep`, line 1, column 16: there is no `dta`; an event has id, source, type, subject, \
         time, data, ext\n  data.a == 1 && dta.bot\n                 ^"
    );
    assert!(mistake("type.startWith('a')").contains("there is no function `startWith`"));
    assert!(mistake("Foo{a: 1} == 1").contains("there is no type `Foo`"));
    assert!(mistake("data.a.matches('[')").contains("no regular expression"));
    assert_eq!(mistake("a == 1 || b == 1").matches('^').count(), 2);
}

#[test]
fn a_config_without_an_expression_is_refused() {
    let refused = |config: &str| Harness::<Filter>::new(config).unwrap_err();
    assert!(refused("{}").contains("give `keep`, `drop` or both"));
    assert!(
        refused(r#"{"kepe":"true"}"#).contains("unknown field `kepe`, expected `keep` or `drop`")
    );
    assert_eq!(refused(r#"{"keep":1}"#), "invalid type: integer `1`, expected a string");
}

#[test]
fn an_expression_too_deep_is_an_error() {
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(keeps(&nested(64), "{}"));
    assert!(mistake(&nested(65)).contains("column 65: brackets nest deeper than 64"));
    assert!(mistake(&"[".repeat(4_000)).contains("brackets nest"));
}

#[test]
fn an_expression_too_long_is_an_error() {
    assert!(keeps(&vec!["data.a == null"; 200].join(" || "), "{}"));
    assert!(keeps(&format!("data{} == null", ".a".repeat(30)), "{}"));
    assert!(mistake(&format!("data{} == null", ".a".repeat(2_000))).contains("longer than 512"));
    assert!(mistake(&vec!["data.a == null"; 1_000].join(" || ")).contains("longer than 4096"));
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(Filter::SCHEMA.unwrap()).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 2);
}
