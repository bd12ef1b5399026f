//! What the plugin takes out of events.

use weir_plugin::testing::{Harness, Judged, event};

use crate::Redact;

/// The data after redaction; nothing where the event passed untouched.
fn redact(config: &str, data: &str) -> Option<String> {
    match Harness::<Redact>::new(config).unwrap().judge(event().data(data)) {
        Judged::Keep => None,
        Judged::Emit(rows) => Some(String::from_utf8(rows[0].data.clone()).unwrap()),
        judged => panic!("{judged:?}"),
    }
}

const ALL: &str = r#"{"detect":["email","card","ipv4","ipv6"]}"#;

#[test]
fn fields_are_masked_whole_and_in_place() {
    let config = r#"{"fields":["email","user.phone","items.*.owner"]}"#;
    let data = r#"{"z":1.50,"email":"ada@example.com","user":{"phone":"+1 23"},"items":[{"owner":"Al"},{"n":2}]}"#;
    let expected = r#"{"z":1.50,"email":"***@*******.***","user":{"phone":"+* **"},"items":[{"owner":"**"},{"n":2}]}"#;
    assert_eq!(redact(config, data).as_deref(), Some(expected));
}

#[test]
fn events_without_personal_data_pass_untouched() {
    assert_eq!(redact(r#"{"fields":["email"]}"#, r#"{"a":1}"#), None);
    assert_eq!(redact(ALL, r#"{"note":"order 12345, 1.2.3, at 10:30"}"#), None);
    assert_eq!(redact(ALL, "not json"), None);
}

#[test]
fn detectors_redact_only_what_they_found() {
    let found = |text: &str| redact(ALL, &serde_json::json!({ "t": text }).to_string());
    let expect = |text: &str, redacted: &str| {
        let expected = serde_json::json!({ "t": redacted }).to_string();
        assert_eq!(found(text), Some(expected), "{text}");
    };
    expect("mail ada@example.com, please", "mail ***@*******.***, please");
    expect("card 4111 1111 1111 1111.", "card **** **** **** 1111.");
    expect("from 192.0.2.7.", "from ***.*.*.*.");
    expect("from 2001:db8::1", "from ****:***::*");
    assert_eq!(found("4111 1111 1111 1112"), None, "Luhn says no");
    assert_eq!(found("999.1.1.1"), None);
}

#[test]
fn card_numbers_are_found_in_numbers_too() {
    let redacted = redact(ALL, r#"{"pan":4111111111111111}"#);
    assert_eq!(redacted.as_deref(), Some(r#"{"pan":"************1111"}"#));
}

#[test]
fn hashes_keep_equal_values_equal_and_depend_on_the_salt() {
    let hash = |salt: &str, data: &str| {
        redact(&format!(r#"{{"fields":["e"],"action":"hash","salt":"{salt}"}}"#), data).unwrap()
    };
    let first = hash("a", r#"{"e":"x"}"#);
    assert_eq!(first, hash("a", r#"{"e":"x"}"#));
    assert_ne!(first, hash("b", r#"{"e":"x"}"#));
    assert_ne!(first, hash("a", r#"{"e":"y"}"#));
    assert_eq!(first.len(), r#"{"e":"0123456789abcdef"}"#.len());
}

#[test]
fn removal_takes_fields_away() {
    let config = r#"{"fields":["a.b","l.*"],"action":"remove"}"#;
    let redacted = redact(config, r#"{"a":{"b":1,"c":2},"l":["x","y"]}"#);
    assert_eq!(redacted.as_deref(), Some(r#"{"a":{"c":2},"l":[]}"#));
}

#[test]
fn plain_text_is_searched_if_it_says_that_it_is_text() {
    let judged = Harness::<Redact>::new(ALL)
        .unwrap()
        .judge(event().content_type(Some("text/plain")).data("to ada@example.com now"));
    let Judged::Emit(rows) = judged else { panic!("{judged:?}") };
    assert_eq!(rows[0].data, b"to ***@*******.*** now");
}

#[test]
fn settings_that_redact_nothing_are_refused() {
    let refused = |config: &str| Harness::<Redact>::new(config).unwrap_err();
    assert!(refused("{}").contains("nothing to redact"));
    assert!(refused(r#"{"fields":["a"],"action":"hash"}"#).contains("salt"));
    assert!(refused(r#"{"fields":["a..b"]}"#).contains("a..b"));
    assert!(refused(r#"{"detect":["name"]}"#).contains("name"));
}
