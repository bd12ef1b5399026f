//! What is JSON and what is an event, and how batches keep them.

use std::borrow::Cow;

use super::cloudevents::{Form, Payload, Spelled};
use super::id::{IdBuffer, ulid};
use super::{Batch, Draft, json};

/// Texts that are no JSON, named as in `JSONTestSuite`.
const NOT_JSON: [(&str, &[u8]); 32] = [
    ("n_array_1_true_without_comma", b"[1 true]"),
    ("n_array_colon_instead_of_comma", b"[\"\": 1]"),
    ("n_array_extra_comma", b"[\"\",]"),
    ("n_array_incomplete", b"[\"x\""),
    ("n_array_double_extra_comma", b"[\"x\",,]"),
    ("n_multidigit_number_then_00", b"123\0"),
    ("n_number_-01", b"[-01]"),
    ("n_number_2.e3", b"[2.e3]"),
    ("n_number_.-1", b"[.-1]"),
    ("n_number_0x1", b"[0x1]"),
    ("n_number_NaN", b"[NaN]"),
    ("n_number_Inf", b"[Infinity]"),
    ("n_number_+1", b"[+1]"),
    ("n_number_1e", b"[1e]"),
    ("n_object_bad_value", b"[\"x\", truth]"),
    ("n_object_missing_colon", b"{\"a\" b}"),
    ("n_object_non_string_key", b"{1:1}"),
    ("n_object_trailing_comma", b"{\"id\":0,}"),
    ("n_object_unquoted_key", b"{a: \"b\"}"),
    ("n_object_with_trailing_garbage", b"{\"a\":\"b\"}#"),
    ("n_single_quote", b"['']"),
    ("n_string_1_surrogate_then_escape_u1", b"[\"\\uD800\\u1\"]"),
    ("n_string_escape_x", b"[\"\\x00\"]"),
    ("n_string_invalid_utf8", b"[\"\xff\"]"),
    ("n_string_unescaped_ctrl_char", b"[\"a\0a\"]"),
    ("n_string_unescaped_newline", b"[\"new\nline\"]"),
    ("n_structure_no_data", b""),
    ("n_structure_null-byte-outside-string", b"[\0]"),
    ("n_structure_UTF8_BOM_no_data", b"\xef\xbb\xbf"),
    ("n_structure_double_array", b"[][]"),
    ("n_structure_unclosed_object", b"{\"asd\":\"asd\""),
    ("n_structure_whitespace_formfeed", b"[\x0c]"),
];

const ARE_JSON: [(&str, &[u8]); 16] = [
    ("y_array_arraysWithSpaces", b"[[]   ]"),
    ("y_array_heterogeneous", b"[null, 1, \"1\", {}]"),
    ("y_number_0e+1", b"[0e+1]"),
    ("y_number_double_close_to_zero", b"[-0.000000000000000000000000000000000000000000000000001]"),
    ("y_number_minus_zero", b"[-0]"),
    ("y_number_real_capital_e_neg_exp", b"[1E-2]"),
    ("y_object_duplicated_key", b"{\"a\":\"b\",\"a\":\"c\"}"),
    ("y_object_empty_key", b"{\"\":0}"),
    ("y_object_escaped_null_in_key", b"{\"foo\\u0000bar\": 42}"),
    ("y_string_accepted_surrogate_pair", b"[\"\\uD801\\udc37\"]"),
    ("y_string_nonCharacterInUTF-8_U+FFFF", b"[\"\xef\xbf\xbf\"]"),
    ("y_string_u+2028_line_sep", b"[\"\xe2\x80\xa8\"]"),
    ("y_structure_lonely_false", b"false"),
    ("y_structure_lonely_negative_real", b"-0.1"),
    ("y_structure_string_empty", b"\"\""),
    ("y_structure_whitespace_array", b" [] \r\n\t"),
];

#[test]
fn json_is_told_from_what_only_looks_like_it() {
    for (name, text) in NOT_JSON {
        assert!(json::check(text).is_err(), "{name}");
    }
    for (name, text) in ARE_JSON {
        let json = json::check(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(json.text.as_bytes(), text.trim_ascii(), "{name}");
    }
}

#[test]
fn faults_say_where_they_are() {
    for (text, place) in [
        ("{\"a\":\n  nil}", "line 2 column 4"),
        ("[1,", "line 1 column 3"),
        ("[1]x", "line 1 column 4"),
    ] {
        let error = json::check(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
    assert_eq!(json::check(b"\"a\xff\"").unwrap_err().to_string(), "not UTF-8 at byte 2");
}

#[test]
fn nesting_has_a_limit_that_strings_do_not_count_for() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json::check(nested(128).as_bytes()).is_ok());
    let error = json::check(nested(129).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "nested deeper than 128 at byte 128");
    assert!(json::check("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(json::check(format!("[\"{}\\\"[[\"]", "[{".repeat(500)).as_bytes()).is_ok());
    assert!(json::check(format!("[{}1]", "[],".repeat(500)).as_bytes()).is_ok());
}

#[test]
fn only_a_member_of_the_outer_object_marks_a_cloudevent() {
    let is_marked = |text: &str| json::check(text.as_bytes()).unwrap().is_cloudevent;
    assert!(is_marked(r#"{"a":1,"specversion":"1.0"}"#));
    assert!(is_marked(r#" {"spec\u0076ersion":7}"#));
    assert!(!is_marked(r#"{"data":{"specversion":"1.0"}}"#));
    assert!(!is_marked(r#"["specversion"]"#));
    assert!(!is_marked(r#""specversion""#));
}

#[test]
fn an_events_time_is_rfc_3339_or_a_number_of_milliseconds_in_our_own_form() {
    let time = |value: &str, form| {
        let text =
            format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","time":{value}}}"#);
        Spelled::from_json(&text, form).ok().and_then(|spelled| spelled.time)
    };
    for form in [Form::CloudEvents, Form::Weir] {
        assert_eq!(time("\"1970-01-01T01:00:00.000001+01:00\"", form), Some(1));
        assert_eq!(time("\"1969-12-31T23:59:59Z\"", form), None);
        assert_eq!(time("\"yesterday\"", form), None);
        assert_eq!(time("null", form), None);
    }
    assert_eq!(time("1764000000123", Form::Weir), Some(1_764_000_000_123_000));
    assert_eq!(time("1764000000123.5", Form::Weir), Some(1_764_000_000_123_500));
    for value in ["1764000000123", "-1", "1e300", "true", "[]"] {
        assert_eq!(time(value, Form::CloudEvents), None, "{value}");
    }
    for value in ["-1", "1e300", "true", "[]", "18446744073709551615"] {
        assert_eq!(time(value, Form::Weir), None, "{value}");
    }
}

#[test]
fn text_without_escapes_is_borrowed() {
    let text = r#"{"id":"a","type":"caf\u00e9","data": {"x" : 1},"n":1.50,"b":true,"none":null}"#;
    let spelled = Spelled::from_json(text, Form::Weir).unwrap();
    assert!(matches!(spelled.id, Some(Cow::Borrowed("a"))));
    assert_eq!(spelled.event_type.as_deref(), Some("café"));
    assert_eq!(spelled.payload, Payload::Json(r#"{"x" : 1}"#));
    let pair = |name, value| (Cow::Borrowed(name), Cow::Borrowed(value));
    assert_eq!(spelled.extensions, [pair("n", "1.50"), pair("b", "true")]);
}

#[test]
fn a_misspelled_event_is_named_by_its_id() {
    let misspelled = Spelled::from_json(r#"{"type":7,"id":"x"}"#, Form::Weir).unwrap_err();
    assert_eq!(misspelled.id.as_deref(), Some("x"));
    let surrogate = Spelled::from_json(r#"{"id":"y","type":"\ud800"}"#, Form::Weir).unwrap_err();
    assert_eq!(surrogate.id.as_deref(), Some("y"));
    assert!(Spelled::from_json(r#"{"type":"a\u0000b"}"#, Form::Weir).is_err());
    assert!(Spelled::from_json(r#"{"data":1,"data_base64":"AA=="}"#, Form::Weir).is_err());
    assert!(Spelled::from_json(r#"{"data_base64":"e30"}"#, Form::Weir).is_ok());
    let not_json = Spelled::from_json(r#"{"data_base64":"ew=="}"#, Form::Weir);
    assert!(not_json.is_err());
}

#[test]
fn ids_of_a_thread_ascend_also_when_the_clock_does_not() {
    let mut ids: Vec<String> = Vec::new();
    for arrival in [5_000_000, 5_000_000, 4_000_000, 5_001_000, 5_001_000] {
        ids.push(ulid(arrival, &mut IdBuffer::default()).to_owned());
    }
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 26));
}

fn draft<'a>(id: &'a str, extensions: &'a [(&'a str, &'a str)]) -> Draft<'a> {
    Draft {
        id,
        source: "/s",
        event_type: "t",
        subject: (id.len() > 1).then_some(id),
        content_type: Some("application/json"),
        time: 1,
        arrival: 2,
        data: id.as_bytes(),
        extensions,
    }
}

#[test]
fn batches_keep_every_column_when_they_are_joined_and_picked_from() {
    let drafts = [
        draft("a", &[]),
        draft("bb", &[("x", "1"), ("y", "2")]),
        draft("c", &[]),
        draft("dd", &[("y", "3")]),
    ];
    let whole = batch(&drafts);
    for at in 0..=drafts.len() {
        let (mut first, second) = (batch(&drafts[..at]), batch(&drafts[at..]));
        first.append(&second);
        assert_same(&first, &whole);
    }
    let picked = whole.select(&[3, 1, 0]);
    assert_same(&picked, &batch(&[drafts[3], drafts[1], drafts[0]]));
    assert_eq!(picked.event(0).extension("y"), Some("3"));
    assert_eq!(picked.event(2).extensions().count(), 0);
}

fn batch(drafts: &[Draft<'_>]) -> Batch {
    let mut batch = Batch::default();
    for draft in drafts {
        batch.push(draft);
    }
    batch
}

/// That two batches hold the same events, however their dictionaries look.
fn assert_same(one: &Batch, other: &Batch) {
    let read = |batch: &Batch| -> Vec<String> {
        let tell = |event: super::Event<'_>| {
            format!("{:?} {:?}", event.draft(), event.extensions().collect::<Vec<_>>())
        };
        batch.iter().map(tell).collect()
    };
    assert_eq!(read(one), read(other));
}
