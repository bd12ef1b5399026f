//! What the plugin does to events, by config.

use weir_plugin::testing::{Draft, Harness, Judged, event};
use weir_plugin::{FailureKind, Plugin};

use crate::Redact;

const DETECT_ALL: &str = r#"{"detect":["email","card","ipv4","ipv6"]}"#;

fn judge(config: &str, event: Draft) -> Judged {
    Harness::<Redact>::new(config).unwrap().judge(event)
}

/// What becomes of `data`, which is kept where nothing is to be redacted.
fn redact(config: &str, data: &str) -> String {
    match judge(config, event().data(data)) {
        Judged::Keep => data.to_owned(),
        judged => judged.texts().concat(),
    }
}

/// What the detectors make of a text.
fn masked(text: &str) -> String {
    let data = serde_json::json!({ "text": text }).to_string();
    let redacted = redact(DETECT_ALL, &data);
    let redacted: serde_json::Value = serde_json::from_str(&redacted).unwrap();
    redacted["text"].as_str().unwrap().to_owned()
}

fn fields(paths: &[&str], action: &str) -> String {
    serde_json::json!({ "fields": paths, "action": action, "salt": "0123456789abcdef" }).to_string()
}

fn refusal(config: &str) -> String {
    Harness::<Redact>::new(config).unwrap_err()
}

#[test]
fn an_event_without_such_a_place_is_not_copied() {
    let config = r#"{"fields":["email"],"detect":["email","card","ipv4","ipv6"]}"#;
    for data in ["{}", r#"{ "a" : [1, 2.50, {"b":"c"}], "email": null }"#, "[]", "7", "\"x\"", ""] {
        assert_eq!(judge(config, event().data(data)), Judged::Keep, "{data}");
    }
}

#[test]
fn a_field_is_masked_and_the_rest_keeps_its_bytes() {
    let data = "{ \"z\":1.50, \"name\" : \"Bob\" ,\n \"a\":1e400,\"big\":12345678901234567890123 }";
    let expected = data.replace("\"Bob\"", "\"***\"");
    assert_eq!(redact(&fields(&["name"], "mask"), data), expected);
}

#[test]
fn a_mask_hints_at_the_shape() {
    let of = |value: &str| {
        let data = serde_json::json!({ "x": value }).to_string();
        let redacted = redact(&fields(&["x"], "mask"), &data);
        serde_json::from_str::<serde_json::Value>(&redacted).unwrap()["x"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(of("bob@example.com"), "b***@example.com");
    assert_eq!(of("al@example.com"), "***@example.com");
    assert_eq!(of("4111 1111 1111 1111"), "**** **** **** 1111");
    assert_eq!(of("203.0.113.7"), "203.0.*.*");
    assert_eq!(of("2001:db8::7"), "2001:db8:*");
    assert_eq!(of("Bob"), "***");
    assert_eq!(of(""), "***");
}

#[test]
fn any_kind_of_value_is_masked() {
    for value in ["true", "17", "{\"a\":[1,\"}\"]}", "[[],\"]\"]", "\"a\\\"b\"", "-1.5e3"] {
        let data = format!("{{\"a\":1,\"x\": {value} ,\"b\":2}}");
        assert_eq!(redact(&fields(&["x"], "mask"), &data), "{\"a\":1,\"x\": \"***\" ,\"b\":2}");
    }
}

#[test]
fn paths_reach_into_objects_and_arrays() {
    let data = r#"{"user":{"ip":"x","id":1},"ip":"y","items":[{"e":"a"},{"e":"b"},{"f":"c"}],"m":{"k":{"e":"d"}}}"#;
    let expect = |path: &str, expected: &str| {
        assert_eq!(redact(&fields(&[path], "mask"), data), expected, "{path}");
    };
    expect("user.ip", &data.replace("\"x\"", "\"***\""));
    expect("ip", &data.replace("\"y\"", "\"***\""));
    expect("items.*.e", &data.replace("\"a\"", "\"***\"").replace("\"b\"", "\"***\""));
    expect("items.1.e", &data.replace("\"b\"", "\"***\""));
    expect("*.ip", &data.replace("\"x\"", "\"***\""));
    expect("**.ip", &data.replace("\"x\"", "\"***\"").replace("\"y\"", "\"***\""));
    expect("m.**.e", &data.replace("\"d\"", "\"***\""));
    expect("user", &data.replace(r#"{"ip":"x","id":1}"#, "\"***\""));
    expect("user.ip.x", data);
    expect("none", data);
    assert_eq!(redact(&fields(&["*.e"], "mask"), r#"[{"e":1},2]"#), r#"[{"e":"***"},2]"#);
}

#[test]
fn keys_match_however_they_are_written_and_as_often_as_they_come() {
    let config = fields(&["email"], "mask");
    assert_eq!(redact(&config, r#"{"\u0065mail":"x"}"#), r#"{"\u0065mail":"***"}"#);
    assert_eq!(redact(&config, r#"{"email":1,"email":2}"#), r#"{"email":"***","email":"***"}"#);
}

#[test]
fn removing_leaves_valid_json() {
    let config = fields(&["x", "y", "l.*"], "remove");
    for (data, expected) in [
        (r#"{"x":1}"#, r"{}"),
        (r#"{ "x" : 1 }"#, r"{  }"),
        (r#"{"x":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2,"x":1}"#, r#"{"a":2}"#),
        (r#"{"a":2, "x":1 , "b":3}"#, r#"{"a":2 , "b":3}"#),
        (r#"{"x":1,"y":2,"a":3}"#, r#"{"a":3}"#),
        (r#"{"a":3,"x":1,"y":2}"#, r#"{"a":3}"#),
        (r#"{"x":1,"a":3,"y":2,"b":4,"x":5}"#, r#"{"a":3,"b":4}"#),
        (r#"{"x":1,"y":2}"#, r"{}"),
        (r#"{"x":{"y":[]},"y":"}"}"#, r"{}"),
        (r#"{"l":[1,"a",{}],"a":1}"#, r#"{"l":[null,null,null],"a":1}"#),
    ] {
        assert_eq!(redact(&config, data), expected, "{data}");
    }
}

#[test]
fn no_earlier_value_of_a_repeated_key_stays() {
    let config = fields(&["user.email"], "mask");
    for data in [
        r#"{"user":{"email":"bob@x.org"},"user":{"id":1}}"#,
        r#"{"user":{"email":"bob@x.org"},"user":7}"#,
        r#"{"user":{"email":"bob@x.org","email":null}}"#,
        r#"{"user":{"email":"bob@x.org","email":"al@x.org"}}"#,
    ] {
        let redacted = redact(&config, data);
        assert!(!redacted.contains("bob@") && !redacted.contains("al@"), "{redacted}");
    }
}

#[test]
fn a_field_inside_of_another_is_redacted_with_it() {
    let config = fields(&["user.ip", "user"], "mask");
    assert_eq!(redact(&config, r#"{"user":{"ip":"x"}}"#), r#"{"user":"***"}"#);
}

#[test]
fn a_hash_is_the_same_for_the_same_value_and_salt() {
    let hash = |salt: &str, data: &str| {
        redact(&format!(r#"{{"fields":["x"],"action":"hash","salt":"{salt}"}}"#), data)
    };
    let (salt, other) = ("0123456789abcdef", "0123456789abcdeg");
    // printf '0123456789abcdefBob' | sha256sum
    assert_eq!(hash(salt, r#"{"x":"Bob"}"#), r#"{"x":"b3c7434492ab137d"}"#);
    assert_eq!(hash(salt, r#"{"x":"B\u006fb"}"#), hash(salt, r#"{"x":"Bob"}"#));
    assert_ne!(hash(other, r#"{"x":"Bob"}"#), hash(salt, r#"{"x":"Bob"}"#));
    assert_ne!(hash(salt, r#"{"x":"Bo"}"#), hash(salt, r#"{"x":"Bob"}"#));
}

#[test]
fn addresses_are_found_in_texts() {
    assert_eq!(masked("to bob@example.com, al@x.org!"), "to b***@example.com, ***@x.org!");
    assert_eq!(masked("<first.last+tag@mail.example.co.uk>."), "<f***@mail.example.co.uk>.");
    assert_eq!(masked("mail:bob@example.com."), "mail:b***@example.com.");
    assert_eq!(masked("юрий@пример.рф"), "ю***@пример.рф");
    assert_eq!(masked("bob@example.com@example.org"), "b***@example.com@example.org");
    for text in ["bob@", "@example.com", "bob@localhost", "a @ b.com", "bob@1.2", "@", "x@.com"] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn card_numbers_are_found_in_texts() {
    for (text, expected) in [
        ("4111111111111111", "************1111"),
        ("card 4111-1111-1111-1111.", "card ****-****-****-1111."),
        ("378282246310005", "***********0005"),
        ("3782 822463 10005", "**** ****** *0005"),
        ("5555555555554444", "************4444"),
        ("6011111111111117", "************1117"),
        ("3530111333300000", "************0000"),
        ("30569309025904", "**********5904"),
        ("6200000000000005", "************0005"),
        ("2026-11-24 4111 1111 1111 1111 2030", "2026-11-24 **** **** **** 1111 2030"),
    ] {
        assert_eq!(masked(text), expected);
    }
    for text in [
        "4111111111111112",
        "1764000000000000",
        "1764000000008",
        "x4111111111111111",
        "41111111111111111111111",
        "4111  1111 1111 1111",
        "4111 1111",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn card_numbers_are_found_as_numbers() {
    let data = r#"{"n":4111111111111111,"t":1764000000123,"f":4111111111111111.0}"#;
    let with = |card: &str| data.replacen("4111111111111111", card, 1);
    assert_eq!(redact(r#"{"detect":["card"]}"#, data), with("\"************1111\""));
    assert_eq!(redact(r#"{"detect":["card"],"action":"remove"}"#, data), with("null"));
    assert_eq!(redact(r#"{"detect":["email"]}"#, data), data);
}

#[test]
fn ip_addresses_are_found_in_texts() {
    for (text, expected) in [
        ("from 203.0.113.7:8080.", "from 203.0.*.*:8080."),
        ("at 203.0.113.7.", "at 203.0.*.*."),
        ("203.0.113.0/24", "203.0.*.*/24"),
        ("2001:db8::1", "2001:db8:*"),
        ("[2001:db8::1]:443", "[2001:db8:*]:443"),
        ("2001:db8:0:0:0:0:0:1: hi", "2001:db8:*: hi"),
        ("::1 ::ffff:203.0.113.7", "::* ::*"),
        ("fe80::1%eth0", "fe80::*%eth0"),
    ] {
        assert_eq!(masked(text), expected);
    }
    for text in
        ["256.1.1.1", "1.2.3", "1.2.3.4.5", "v1.2.3.4", "12:34:56", "std::fmt", "::", "a::b"]
    {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn only_what_is_asked_for_is_detected() {
    let data = r#"{"a":"bob@example.com 203.0.113.7"}"#;
    assert_eq!(redact(r#"{"detect":["ipv4"]}"#, data), data.replace("203.0.113.7", "203.0.*.*"));
    let removed = redact(r#"{"detect":["email"],"action":"remove"}"#, data);
    assert_eq!(removed, r#"{"a":" 203.0.113.7"}"#);
}

#[test]
fn escaped_texts_are_read_and_written_as_json() {
    let data = r#"{"a":"\"bob\u0040example.com\"\n","b":"\ud800 al@x.org"}"#;
    let redacted = redact(DETECT_ALL, data);
    assert!(redacted.contains(r#""a":"\"b***@example.com\"\n""#), "{redacted}");
    assert!(!redacted.contains("al@"), "{redacted}");
}

#[test]
fn texts_in_arrays_and_at_the_top_are_looked_into_but_keys_are_not() {
    assert_eq!(redact(DETECT_ALL, r#"["a", ["bob@x.org"]]"#), r#"["a", ["b***@x.org"]]"#);
    assert_eq!(redact(DETECT_ALL, r#" "bob@x.org" "#), r#" "b***@x.org" "#);
    assert_eq!(redact(DETECT_ALL, r#"{"bob@x.org":1}"#), r#"{"bob@x.org":1}"#);
}

#[test]
fn plain_text_is_looked_through() {
    let text = || event().content_type(Some("text/plain; charset=utf-8"));
    let judged = judge(DETECT_ALL, text().data("hi bob@x.org\n"));
    assert_eq!(judged.texts(), ["hi b***@x.org\n"]);
    assert_eq!(judge(DETECT_ALL, text().data("hi")), Judged::Keep);
    assert_eq!(judge(DETECT_ALL, text().data(vec![0xff, b'@'])), Judged::Keep);
}

#[test]
fn other_data_passes_on_but_broken_json_fails() {
    let binary = event().content_type(Some("application/octet-stream")).data("bob@x.org");
    assert_eq!(judge(DETECT_ALL, binary), Judged::Keep);
    assert_eq!(judge(DETECT_ALL, event().content_type(None).data(vec![0xff])), Judged::Keep);
    for content_type in ["application/json", "application/vnd.shop+json; v=1", "text/json"] {
        for data in [b"{\xff".to_vec(), b"{\"a\":".to_vec()] {
            let broken = event().content_type(Some(content_type)).data(data);
            let expected = "data says that it is JSON, but is not".to_owned();
            assert_eq!(judge(DETECT_ALL, broken), Judged::Fail(FailureKind::Invalid, expected));
        }
    }
}

#[test]
fn deep_and_odd_documents_do_no_harm() {
    let deep = format!("{}\"bob@x.org\"{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(redact(DETECT_ALL, &deep), deep.replace("bob@", "b***@"));
    let deeper = "[".repeat(200_000);
    assert!(matches!(judge(DETECT_ALL, event().data(deeper)), Judged::Fail(..)));
    let long = "9".repeat(1 << 20);
    assert_eq!(masked(&long), long);
    let many = "4111 ".repeat(20_000);
    masked(&many);
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    assert!(refusal("{}").contains("nothing to redact"));
    assert!(refusal(r#"{"fields":["a"],"action":"hash"}"#).contains("needs a `salt` of 8"));
    assert!(
        refusal(r#"{"fields":["a"],"action":"hash","salt":"short"}"#).contains("needs a `salt`")
    );
    assert!(refusal(r#"{"fields":["a..b"]}"#).contains("`a..b` has an empty part"));
    assert!(refusal(r#"{"fields":["a.**"]}"#).contains("names no field"));
    assert!(refusal(r#"{"detect":["mail"]}"#).contains("unknown variant `mail`, expected one of"));
    assert!(refusal(r#"{"field":["a"]}"#).contains("unknown field `field`"));
}

#[test]
fn the_salt_is_not_shown() {
    let config: crate::Config =
        serde_json::from_str(&fields(&["a"], "hash")).expect("a valid config");
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    let plugin = Harness::<Redact>::new(&fields(&["a"], "hash")).unwrap();
    assert!(!format!("{plugin:?}").contains("0123456789abcdef"));
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(Redact::SCHEMA.unwrap()).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 4);
}
