//! What frames mean, and that no frame or event can break another.

use bytes::Bytes;
use expect_test::{Expect, expect};

use super::{sse, weir};
use crate::live::cursor::{Cursor, Epoch};
use crate::live::hub::{Joined, Start};
use crate::live::message::{GapReason, Missed, Piece};
use crate::live::pattern::Pattern;

fn check(line: &str, expected: &Expect) {
    let text = match weir::parse(line) {
        Ok(command) => format!("{command:?}"),
        Err(refused) => {
            let mut out = Vec::new();
            weir::write_error(&refused, &mut out);
            String::from_utf8(out).unwrap()
        }
    };
    expected.assert_eq(&text);
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

#[test]
fn commands_are_read() {
    check(r#"{"type":"hello","token":"secret"}"#, &expect!["Hello { token: Some(Token) }"]);
    check(
        r#"{"type":"sub","ref":1,"channels":["a","b.*","a"],"last":5,"later":true}"#,
        &expect![[
            r#"Sub { tag: Tag(Some("1")), patterns: [Pattern { text: "a", is_exact: true }, Pattern { text: "b.*", is_exact: false }], start: Last(5), presence: None }"#
        ]],
    );
    check(
        r#"{"channels":["a"],"type":"unsub","ref":"x"}"#,
        &expect![[
            r#"Unsub { tag: Tag(Some("\"x\"")), patterns: [Pattern { text: "a", is_exact: true }] }"#
        ]],
    );
    check(r#"{"type":"pub","events":[]}"#, &expect!["Pub { tag: Tag(None), events: [] }"]);
}

#[test]
fn bad_frames_are_answered_with_their_ref() {
    check(
        r#"{"type":"dance","ref":7}"#,
        &expect![[
            r#"{"type":"error","ref":7,"code":"bad_request","message":"unknown frame type","hint":"known types: hello, sub, unsub, pub, ping, pong"}"#
        ]],
    );
    check(
        r#"{"type":"sub","ref":"a","channels":["a b"]}"#,
        &expect![[
            r#"{"type":"error","ref":"a","code":"bad_request","message":"a channel name has no spaces and no control characters"}"#
        ]],
    );
    check(
        r#"{"type":"sub","ref":2,"channels":["a"],"since":"1.2","last":3}"#,
        &expect![[
            r#"{"type":"error","ref":2,"code":"bad_request","message":"`since` and `last` exclude each other"}"#
        ]],
    );
    check(
        r#"{"type":"sub","ref":[1]}"#,
        &expect![[
            r#"{"type":"error","code":"bad_request","message":"`ref` is a number or a short string"}"#
        ]],
    );
    check(
        "{",
        &expect![[
            r#"{"type":"error","code":"bad_request","message":"not a frame: EOF while parsing an object at line 1 column 1","hint":"a frame is one JSON object on one line, with a `type`"}"#
        ]],
    );
}

#[test]
fn cursors_are_what_was_given_out() {
    let cursor = Cursor { epoch: Epoch::random(), seq: 42 };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for text in ["", ".", "a", "a.", ".1", "A.1", "a.-1", "a.+1", "a.1.2", "a.1\n", "zzzzzzzz.1"] {
        assert!(text.parse::<Cursor>().is_err(), "{text:?}");
    }
}

#[test]
fn replies_are_one_object_a_line() {
    let place = |seq| Cursor { seq, ..Cursor::UNKNOWN };
    let missed = Missed { reason: GapReason::Expired, from: place(1), until: place(4) };
    let joined = Joined { cursor: place(9), replayed: 2, missed: Some(missed), is_cached: false };
    let Ok(weir::Command::Sub { tag, .. }) =
        weir::parse(r#"{"type":"sub","ref":3,"channels":["a"]}"#)
    else {
        panic!("no sub")
    };
    let mut out = Vec::new();
    weir::write_welcome(("s", 5), 25, Some(place(9)), &mut out);
    weir::write_subok(tag, &[pattern("a"), pattern("b\".*")], &joined, &mut out);
    weir::write_unsubok(tag, &mut out);
    weir::write_gap(&pattern("a"), &missed, &mut out);
    weir::write_pubok(Some("4"), b"[]", &mut out);
    weir::write_bye("drain", 70, &mut out);
    weir::write_ping(None, &mut out);
    weir::write_ping(Some(place(9)), &mut out);
    weir::write_pong(&mut out);
    let text = String::from_utf8(out).unwrap();
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    expect![[r#"
        {"type":"welcome","session":"s","time":5,"ping":25,"cursor":"0.9"}
        {"type":"subok","ref":3,"cursor":"0.9","replayed":2,"gaps":[{"channel":"a","reason":"expired","missed_from":"0.1","cursor":"0.4"},{"channel":"b\".*","reason":"expired","missed_from":"0.1","cursor":"0.4"}]}
        {"type":"unsubok","ref":3}
        {"type":"gap","channel":"a","reason":"expired","missed_from":"0.1","cursor":"0.4"}
        {"type":"pubok","ref":4,"results":[]}
        {"type":"bye","reason":"drain","after":70}
        {"type":"ping"}
        {"type":"ping","cursor":"0.9"}
        {"type":"pong"}"#]]
    .assert_eq(&text);
}

#[test]
fn a_piece_is_one_message_per_event_with_its_cursor() {
    let piece = Piece { first: 7, count: 2, text: Bytes::from_static(b"{\"n\":1}\n{\"n\":2}") };
    let mut out = Vec::new();
    sse::write_retry(10, &mut out);
    sse::write_piece(Epoch::UNKNOWN, &piece, &mut out);
    sse::write_sign_of_life(None, &mut out);
    sse::write_sign_of_life(Some(Cursor { seq: 9, ..Cursor::UNKNOWN }), &mut out);
    expect![[r#"
        retry: 10

        event: message
        id: 0.7
        data: {"n":1}

        event: message
        id: 0.8
        data: {"n":2}

        :

        id: 0.9

    "#]]
    .assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn a_replay_does_not_move_the_place_of_a_page_before_it_is_through() {
    let welcome = |is_replaying| {
        let mut out = Vec::new();
        sse::write_welcome(("s", 1), 15, (Cursor::UNKNOWN, is_replaying), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert!(welcome(false).contains("\nid: 0.0\n"));
    assert!(!welcome(true).contains("\nid:"));
    assert!(matches!(weir::start(None, None), Ok(Start::Live)));
}
