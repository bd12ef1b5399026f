//! Fields found and changed, compared with what `serde_json` would find.

use crate::{Kind, PatchError, Path, Place, Plan, Splicer, Value, Wanted, is_json, is_number};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

/// What is at `text` in `data`, with its kind.
fn find(data: &str, text: &str) -> (Kind, String) {
    let (place, value) = look(data.as_bytes(), text);
    (place.kind, value)
}

fn look(data: &[u8], text: &str) -> (Place, String) {
    let mut wanted = Wanted::default();
    wanted.slot(&path(text));
    let mut places = [Place::default()];
    wanted.find(data, &mut places);
    let mut value = String::new();
    places[0].write(std::str::from_utf8(data).unwrap_or_default(), &mut value);
    (places[0], value)
}

fn patch(data: &str, changes: &[(&str, Value<'_>)]) -> Result<String, PatchError> {
    let paths: Vec<Path> = changes.iter().map(|(text, _)| path(text)).collect();
    let values: Vec<Value<'_>> = changes.iter().map(|(_, value)| *value).collect();
    let mut out = String::new();
    Plan::new(&paths).apply(data.as_bytes(), &values, &mut out)?;
    assert!(is_json(&out), "{out}");
    Ok(out)
}

#[test]
fn a_path_tells_an_index_from_a_key_and_names_any_key() {
    for (text, written) in [
        ("user.plan", "user.plan"),
        ("$.user.plan", "user.plan"),
        ("items[0].sku", "items[0].sku"),
        ("items['0']", "items.0"),
        (r#"["a.b"]["c\"d"].e"#, r#"["a.b"]["c\"d"].e"#),
        ("$", "$"),
        ("$[3]", "[3]"),
        ("ключ", "ключ"),
        (r#"[""]"#, r#"[""]"#),
    ] {
        assert_eq!(path(text).to_string(), written);
        assert_eq!(path(written), path(text));
    }
    for text in ["", ".", "a.", "a..b", "a[", "a[x]", "a['b]", "a['b'", "a b", "a]", "a$"] {
        let error = text.parse::<Path>().unwrap_err().to_string();
        assert!(error.contains("is no path of a field"), "{text}: {error}");
    }
    assert!("a.".repeat(600).parse::<Path>().unwrap_err().to_string().contains("longer than 512"));
    assert!(format!("a{}", ".a".repeat(40)).parse::<Path>().is_err());
}

#[test]
fn fields_are_found_with_their_kinds() {
    let data = r#" {"s":"x","e":"a\u00e9\n","n":-1.5e3,"t":true,"f":false,"z":null,
        "o":{"a":[1,{"b":"deep"}]},"":"empty","a.b":1,"k\u0065y":2} "#;
    for (text, kind, value) in [
        ("s", Kind::Text, "x"),
        ("e", Kind::EscapedText, "aé\n"),
        ("n", Kind::Number, "-1.5e3"),
        ("t", Kind::True, ""),
        ("f", Kind::False, ""),
        ("z", Kind::Null, ""),
        ("o", Kind::Json, r#"{"a":[1,{"b":"deep"}]}"#),
        ("o.a[1].b", Kind::Text, "deep"),
        ("o.a[0]", Kind::Number, "1"),
        ("o.a[2]", Kind::Absent, ""),
        ("o.a['0']", Kind::Absent, ""),
        ("o[0]", Kind::Absent, ""),
        ("s.x", Kind::Absent, ""),
        ("key", Kind::Number, "2"),
        (r#"["a.b"]"#, Kind::Number, "1"),
        (r#"[""]"#, Kind::Text, "empty"),
    ] {
        assert_eq!(find(data, text), (kind, value.to_owned()), "{text}");
    }
    assert_eq!(find(data, "$").0, Kind::Json);
    assert_eq!(find("\"\\ud83d\\ude00\\ud800\"", "$").1, "\u{1F600}\u{FFFD}");
}

#[test]
fn of_repeated_keys_the_last_counts_and_is_marked() {
    let (place, value) = look(br#"{"a":1,"b":2,"a":3}"#, "a");
    assert_eq!((place.is_ambiguous, value.as_str()), (true, "3"));
    let (place, _) = look(br#"{"a":{"b":1},"a":{"c":2}}"#, "a.b");
    assert_eq!((place.kind, place.is_ambiguous), (Kind::Absent, true));
    assert!(!look(br#"{"a":1,"b":2,"b":3}"#, "a").0.is_ambiguous);
}

#[test]
fn what_is_not_json_has_no_fields() {
    for data in [
        "",
        " ",
        "{",
        "{\"a\":1",
        "{\"a\":1} x",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "[1,]",
        "[1 2]",
        "{\"a\":1]",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1,\"b\":tru}",
        "{\"a\":1,\"b\":\"\\x\"}",
        "{\"a\":1,\"b\":\"\\u12g4\"}",
        "{\"a\":1,\"b\":\"\n\"}",
        "{\"a\":1,\"b\":[}",
        "{\"a\":1,\"b\":{]}",
        "{\"a\":1,\"b\":[[]}",
    ] {
        let kind = if data.trim().is_empty() { Kind::Absent } else { Kind::NotJson };
        assert_eq!(find(data, "a").0, kind, "{data}");
        assert!(!is_json(data), "{data}");
        assert_eq!(patch(data, &[("b", Value::Null)]), Err(PatchError::NotJson), "{data}");
    }
    assert_eq!(look(b"{\"a\":1,\"b\":\"\xff\"}", "a").0.kind, Kind::NotJson);
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(find(&nested(127), "a").0, Kind::Json);
    assert_eq!(find(&nested(128), "a").0, Kind::NotJson);
    assert_eq!(find(&"[".repeat(100_000), "a").0, Kind::NotJson);
    assert!(is_number("-0.5E+10") && !is_number("1 ") && !is_number("") && !is_number("0x1"));
}

#[test]
fn a_change_keeps_all_other_bytes() {
    let data = "{ \"z\":1.50, \"name\" : \"Bob\" ,\n \"a\":1e400 }";
    let set = |text, value| patch(data, &[(text, value)]).unwrap();
    assert_eq!(set("name", Value::Text("a\"b")), data.replace("\"Bob\"", "\"a\\\"b\""));
    assert_eq!(set("new", Value::Json("[1]")), data.replace("400 }", "400,\"new\":[1] }"));
    assert_eq!(set("x.y", Value::Bool(true)), data.replace("400 }", "400,\"x\":{\"y\":true} }"));
    assert_eq!(set("none", Value::Remove), data);
    assert_eq!(set("none.at.all", Value::Remove), data);
    assert_eq!(set("$", Value::Json("7")), "7");
}

#[test]
fn removing_and_adding_leaves_valid_json() {
    let of = |data, changes: &[(&str, Value<'_>)]| patch(data, changes).unwrap();
    let (gone, one) = (Value::Remove, Value::Json("1"));
    assert_eq!(of(r#"{"x":1}"#, &[("x", gone)]), "{}");
    assert_eq!(of(r#"{"x":1,"a":2}"#, &[("x", gone)]), r#"{"a":2}"#);
    assert_eq!(of(r#"{"a":2,"x":1}"#, &[("x", gone)]), r#"{"a":2}"#);
    assert_eq!(of(r#"{"a":2, "x":1, "b":3}"#, &[("x", gone)]), r#"{"a":2, "b":3}"#);
    assert_eq!(
        of(r#"{"x":1,"y":2,"a":3,"z":4}"#, &[("x", gone), ("y", gone), ("z", gone)]),
        r#"{"a":3}"#
    );
    assert_eq!(of(r#"{"x":1,"a":3,"x":2,"b":4,"x":5}"#, &[("x", gone)]), r#"{"a":3,"b":4}"#);
    assert_eq!(of(r#"{"x":1}"#, &[("x", gone), ("y", one)]), r#"{"y":1}"#);
    assert_eq!(of(r#"{"a":0,"x":1}"#, &[("x", gone), ("y", one)]), r#"{"a":0,"y":1}"#);
    assert_eq!(
        of(r#"{"x":1,"a":0}"#, &[("x", gone), ("y", one), ("z", one)]),
        r#"{"a":0,"y":1,"z":1}"#
    );
    assert_eq!(of("{}", &[("a.b", one), ("a.c", one), ("d", one)]), r#"{"a":{"b":1,"c":1},"d":1}"#);
    assert_eq!(of(r#"{"a":null}"#, &[("a.b", one)]), r#"{"a":{"b":1}}"#);
    assert_eq!(of("[1,2,3]", &[("[1]", gone)]), "[1,3]");
    assert_eq!(of("[1,2]", &[("[0]", gone), ("[1]", gone)]), "[]");
    assert_eq!(of("[1]", &[("[1]", one), ("[2]", one)]), "[1,1,1]");
    assert_eq!(of("{}", &[("a[0].b", one)]), r#"{"a":[{"b":1}]}"#);
}

#[test]
fn changes_take_effect_in_their_order() {
    let of = |changes: &[(&str, Value<'_>)]| patch(r#"{"a":{"b":1,"c":2}}"#, changes).unwrap();
    let (one, two) = (Value::Text("1"), Value::Text("2"));
    assert_eq!(of(&[("a.b", one), ("a.b", two)]), r#"{"a":{"b":"2","c":2}}"#);
    assert_eq!(of(&[("a", Value::Json("{}")), ("a.b", two)]), r#"{"a":{"b":"2"}}"#);
    assert_eq!(of(&[("a.b", one), ("a", Value::Null)]), r#"{"a":null}"#);
    assert_eq!(of(&[("a", Value::Remove), ("a.d", one)]), r#"{"a":{"d":"1"}}"#);
}

#[test]
fn a_repeated_key_is_changed_everywhere() {
    let changed = patch(r#"{"a":1,"b":2,"\u0061":3}"#, &[("a", Value::Null)]);
    assert_eq!(changed.unwrap(), r#"{"a":null,"b":2,"\u0061":null}"#);
    let removed = patch(r#"{"u":{"e":1},"u":{"e":2,"x":3}}"#, &[("u.e", Value::Remove)]);
    assert_eq!(removed.unwrap(), r#"{"u":{},"u":{"x":3}}"#);
}

#[test]
fn a_change_without_a_place_is_named() {
    let changes = [("b", Value::Null), ("a.c", Value::Null)];
    for data in [r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":[]}"#] {
        assert_eq!(patch(data, &changes), Err(PatchError::NoPlace(1)), "{data}");
    }
    assert_eq!(patch("[]", &[("[1]", Value::Null)]), Err(PatchError::NoPlace(0)));
    assert_eq!(patch("{}", &[("[0]", Value::Null)]), Err(PatchError::NoPlace(0)));
    assert_eq!(patch("{}", &[("a[1]", Value::Null)]), Err(PatchError::NoPlace(0)));
    assert_eq!(patch(r#"{"a":1}"#, &[("a.c", Value::Remove)]).unwrap(), r#"{"a":1}"#);
}

/// The same by places that were found before, `read` and what is changed; nothing if that needs a
/// walk. The places are then those that would be found in the new text.
fn splice(data: &str, read: &[&str], changes: &[(&str, Value<'_>)]) -> Option<String> {
    let mut wanted = Wanted::default();
    for text in read {
        wanted.slot(&path(text));
    }
    let mut target = |text: &str| wanted.target(&path(text), 64);
    // Once to have the slots, once to see what is inside of what.
    changes.iter().for_each(|(text, _)| drop(target(text)));
    let targets: Vec<_> = changes.iter().map(|(text, _)| target(text)).collect();
    let mut places = vec![Place::default(); wanted.len()];
    wanted.find(data.as_bytes(), &mut places);
    let mut out = b"before".to_vec();
    let made = targets.iter().zip(changes).map(|(target, (_, value))| (target.as_ref(), *value));
    let is_done = Splicer::default().splice(data.as_bytes(), &mut places, made, &mut out);
    let text = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
    if !is_done {
        assert_eq!(text, "", "nothing is done by halves");
        return None;
    }
    let mut again = vec![Place::default(); wanted.len()];
    wanted.find(text.as_bytes(), &mut again);
    assert_eq!(places, again, "{text}");
    Some(text)
}

#[test]
fn a_change_at_a_known_place_is_what_a_walk_makes() {
    let texts = [
        r#"{"user":{"id":7,"email":"a\n@b","plan":"pro"},"total":12.5,"l":[1,{"x":2}],"z":null}"#,
        " { \"user\" : { } , \"total\" : true , \"z\": \"\" , \"l\": [ ] } ",
        r#"{"z":[{}],"total":{"user":1},"user":{"email":null,"plan":{"id":1}}}"#,
        r#"{"user":null,"user":{"email":1},"total":1,"total":2}"#,
        r#"{"user":"text","to\u0074al":5}"#,
        "{}",
        "[]",
        "7",
        "{",
        "",
    ];
    let values = [
        Value::Remove,
        Value::Null,
        Value::Bool(true),
        Value::Text(""),
        Value::Text("a \"quoted\" text"),
        Value::Json("-1.5e3"),
        Value::Json(r#"{"deep":[1,2,{"x":"y"}]}"#),
        Value::Json(" [1] "),
    ];
    let paths = ["user.email", "total", "z", "user.new", "l[1].x", "l[0]", "user", "other"];
    let reads = [&[][..], &["total", "user.plan"], &["user", "l[1]", "z", "$"], &["user.email.x"]];
    let mut made = 0;
    let mut compare = |data: &str, changes: &[(&str, Value<'_>)]| {
        for text in reads.iter().filter_map(|read| splice(data, read, changes)) {
            assert_eq!(Ok(text), patch(data, changes), "{data} {changes:?}");
            made += 1;
        }
    };
    for (at, first) in paths.iter().enumerate() {
        for (index, value) in values.iter().enumerate() {
            let second = (paths[(at + index) % paths.len()], values[(at + 3) % values.len()]);
            for data in texts {
                compare(data, &[(*first, *value)]);
                compare(data, &[(*first, *value), second]);
            }
        }
    }
    assert!(made > 500, "many changes are made so, {made} were");
}

#[test]
fn changes_at_known_places_keep_all_other_bytes() {
    let data = "{ \"user\": { \"id\" : 1 } ,\n \"total\" :2, \"list\":[] }";
    let (text, one) = (Value::Text("x"), Value::Json("1"));
    let spliced = splice(data, &["list"], &[("total", text), ("user.plan", one)]).unwrap();
    assert_eq!(
        spliced,
        "{ \"user\": { \"id\" : 1,\"plan\":1 } ,\n \"total\" :\"x\", \"list\":[] }"
    );
    for changes in [
        [("user", one), ("user.id", one)],
        [("total", one), ("total", text)],
        [("a", one), ("b", one)],
        [("none.a", one), ("total", one)],
        [("list[0]", one), ("total", one)],
    ] {
        assert_eq!(splice(data, &[], &changes), None, "{changes:?} needs a walk");
    }
    let mut full = Wanted::default();
    full.slot(&path("a"));
    assert!(full.target(&path("b"), 2).is_none(), "one place is left, two are needed");
    assert!(full.target(&path("a"), 2).is_some());
}
