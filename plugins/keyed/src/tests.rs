//! Keys and times as configs write them.

use std::time::Duration;

use crate::{Key, Span};

#[test]
fn times_have_units() {
    let read = |text: &str| serde_json::from_str::<Span>(&format!("{text:?}"));
    assert_eq!(read("250ms").unwrap().0, Duration::from_millis(250));
    assert_eq!(read("2d").unwrap().0, Duration::from_secs(172_800));
    for wrong in ["", "10", "0s", "1.5h", "10 s", "-1s", "1w", "99999999999999999999s"] {
        assert!(read(wrong).unwrap_err().to_string().contains("is no time"), "{wrong}");
    }
}

#[test]
fn a_key_is_a_part_or_several() {
    let read = |text: &str| serde_json::from_str::<Key>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#""data.user.id""#).unwrap().fields(), ["user.id"]);
    let several = read(r#"["source", "id", "data.a", "ext.tenant", "data.b"]"#).unwrap();
    assert_eq!(several.fields(), ["a", "b"]);
    for (wrong, words) in [
        ("[]", "at least one part"),
        (r#""data""#, "`data` is no part"),
        (r#"["ext."]"#, "`ext.` is no part"),
        ("7", "expected a part of the event"),
    ] {
        let message = read(wrong).unwrap_err();
        assert!(message.contains(words), "{wrong}: {message}");
    }
}
