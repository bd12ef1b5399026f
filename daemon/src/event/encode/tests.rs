//! What comes out is one line of valid JSON, whatever the data is.

use expect_test::{Expect, expect};

use super::{write_cloudevent, write_time};
use crate::event::{Batch, Draft};

fn encoded(draft: &Draft<'_>) -> String {
    let mut batch = Batch::default();
    batch.push(draft);
    let mut out = Vec::new();
    write_cloudevent(&batch.event(0), &mut out);
    String::from_utf8(out).unwrap()
}

fn check(content_type: Option<&str>, data: &[u8], expected: &Expect) {
    let draft =
        Draft { id: "1", source: "/in", event_type: "t", content_type, data, ..Draft::default() };
    let text = encoded(&draft);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!text.contains(['\n', '\r']), "{text}");
    let (_, tail) = text.split_once("00Z\"").unwrap();
    assert_eq!(value["specversion"], "1.0");
    expected.assert_eq(tail);
}

#[test]
fn every_attribute_is_written() {
    let text = encoded(&Draft {
        id: "a\"1",
        source: "/in/clicks",
        event_type: "cart.add",
        subject: Some("user\n7"),
        content_type: Some("application/json"),
        time: 1_764_000_000_123_000,
        data: br#"{"a": 1}"#,
        extensions: &[("tenant", "x"), ("id", "clash")],
        ..Draft::default()
    });
    expect![[r#"{"specversion":"1.0","id":"a\"1","source":"/in/clicks","type":"cart.add","subject":"user\n7","time":"2025-11-24T16:00:00.123Z","datacontenttype":"application/json","tenant":"x","data":{"a": 1}}"#]]
        .assert_eq(&text);
}

#[test]
fn json_keeps_its_bytes_but_not_its_line_breaks() {
    check(
        None,
        b"{\"a\" :\r\n 1.50, \"b\":\"\\n\"}",
        &expect![[r#","data":{"a" :   1.50, "b":"\n"}}"#]],
    );
    check(
        Some("application/vnd.x+json; charset=utf-8"),
        b"[1]",
        &expect![[r#","datacontenttype":"application/vnd.x+json; charset=utf-8","data":[1]}"#]],
    );
}

#[test]
fn broken_json_never_breaks_the_frame() {
    check(None, b"{\"a\":1}}", &expect![[r#","data_base64":"eyJhIjoxfX0="}"#]]);
    check(None, b"\"\xff\"", &expect![[r#","data_base64":"Iv8i"}"#]]);
    check(None, b"\"a\nb\"", &expect![[r#","data_base64":"ImEKYiI="}"#]]);
}

#[test]
fn text_is_a_string_and_the_rest_is_base64() {
    check(
        Some("text/plain"),
        b"hi\n\"",
        &expect![[r#","datacontenttype":"text/plain","data":"hi\n\""}"#]],
    );
    check(
        Some("image/png"),
        b"abcd",
        &expect![[r#","datacontenttype":"image/png","data_base64":"YWJjZA=="}"#]],
    );
    check(Some("text/plain"), b"", &expect![[r#","datacontenttype":"text/plain"}"#]]);
}

#[test]
fn times_are_rfc_3339() {
    let time = |micros: u64| {
        let mut out = Vec::new();
        write_time(micros, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(time(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
    for days in [58, 59, 365, 11_016, 11_017, 20_000, 60_000] {
        let micros = days * super::MICROS_PER_DAY + 86_399_999_000;
        let expected =
            time::OffsetDateTime::from_unix_timestamp((micros / 1_000_000) as i64).unwrap();
        let day = time::Date::from_calendar_date(expected.year(), expected.month(), expected.day())
            .unwrap();
        assert_eq!(time(micros), format!("{day}T23:59:59.999Z"));
    }
}
