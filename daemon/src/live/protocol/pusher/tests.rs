//! Messages in, messages out, without any socket.

use serde_json::{Value, json};

use super::{
    Command, Kind, check_channel, is_cached, is_encrypted, is_reserved, member, parse, user,
    write_error, write_event, write_member_added, write_signed_in, write_subscribed,
};
use crate::live::presence::{Member, Roster};

fn lines(out: &[u8]) -> Vec<Value> {
    let text = str::from_utf8(out).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn data(message: &Value) -> Value {
    serde_json::from_str(message["data"].as_str().unwrap()).unwrap()
}

#[test]
fn channels_are_classed_by_their_prefix() {
    for (name, kind) in [
        ("orders", Kind::Public),
        ("cache-orders", Kind::Public),
        ("private-orders", Kind::Private),
        ("private-encrypted-orders", Kind::Private),
        ("presence-cache-orders", Kind::Presence),
        ("#server-to-user-7", Kind::User),
    ] {
        assert_eq!(Kind::of(name), kind, "{name}");
        assert!(check_channel(name).is_ok(), "{name}");
    }
    assert!(is_cached("private-encrypted-cache-a") && !is_cached("private-encrypted-a"));
    assert!(is_encrypted("private-encrypted-cache-a") && !is_encrypted("private-a"));
    assert!(check_channel("A_b-c=d@e,f.g;h").is_ok() && check_channel(&"a".repeat(200)).is_ok());
    let long = "a".repeat(201);
    for name in ["", "a b", "a/b", "ü", "*", "#other", "#server-to-user-", "a..b", &long] {
        assert!(check_channel(name).is_err(), "{name}");
    }
    assert!(is_reserved("pusher:error") && is_reserved("pusher_internal:a"));
    assert!(!is_reserved("pusher-error") && !is_reserved("client-a"));
}

#[test]
fn commands_come_with_their_data_as_an_object_or_a_string() {
    for text in [
        r#"{"event":"pusher:subscribe","data":{"auth":"k:s","channel":"a","channel_data":"{}"}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"auth\":\"k:s\",\"channel\":\"a\",\"channel_data\":\"{}\"}"}"#,
    ] {
        let Ok(Command::Subscribe(wish)) = parse(text) else { panic!("{text}") };
        assert_eq!((wish.channel.as_str(), wish.auth.as_deref()), ("a", Some("k:s")));
        assert_eq!(wish.channel_data.as_deref(), Some("{}"));
    }
    let text = r#"{"event":"client-a","channel":"private-a","data":{"n": 1}}"#;
    let Ok(Command::Publish { event, channel, data }) = parse(text) else { panic!() };
    assert_eq!((&*event, &*channel, data.unwrap().get()), ("client-a", "private-a", "{\"n\": 1}"));
    for (text, told) in [
        ("x", "not an object with an `event`"),
        (r#"{"event":"pusher:subscribe"}"#, "missing parameter: data"),
        (r#"{"event":"pusher:subscribe","data":{}}"#, "missing parameter: data.channel"),
        (r#"{"event":"pusher:subscribe","data":{"channel":1}}"#, "of `pusher:subscribe`"),
        (r#"{"event":"pusher:signin","data":{"auth":"a"}}"#, "data.user_data"),
        (r#"{"event":"client-a"}"#, "missing parameter: channel"),
        (r#"{"event":"pusher_internal:a","data":{}}"#, "there is no event `pusher_internal:a`"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn members_have_an_id_and_are_bounded() {
    let read = member(
        r#"{"user_id":7,"user_info":{"a":
        1}}"#,
        100,
    );
    let info = Some("{\"a\":         1}".into());
    assert_eq!(read.unwrap(), Member { user: "7".into(), info });
    assert_eq!(&*user(r#"{"id":"ada"}"#, 100).unwrap().user, "ada");
    for text in ["", "7", r#"{"user_id":null}"#, r#"{"user_id":""}"#, r#"{"user_id":[1]}"#] {
        assert!(member(text, 100).is_err(), "{text}");
    }
    assert!(user(r#"{"id":7}"#, 100).is_err());
    assert!(member(r#"{"user_id":"a"}"#, 10).is_err());
}

#[test]
fn messages_are_one_to_a_line_with_json_in_their_data() {
    let mut out = Vec::new();
    write_event(("greet", "a"), "{\n\"x\": \"ü\"}", None, &mut out);
    write_member_added("presence-a", ("b\"", Some("{}")), &mut out);
    write_signed_in(r#"{"id":"ada"}"#, &mut out);
    write_error(None, "a \"b\"", &mut out);
    let read = lines(&out);
    assert_eq!(read[0], json!({"event":"greet","channel":"a","data":"{\n\"x\": \"ü\"}"}));
    assert_eq!(data(&read[1]), json!({"user_id":"b\"","user_info":{}}));
    assert_eq!(data(&read[2]), json!({"user_data":"{\"id\":\"ada\"}"}));
    assert_eq!(read[3]["data"], json!({"code":null,"message":"a \"b\""}));
}

#[test]
fn a_roster_counts_users_once() {
    let mut roster = Roster::default();
    let ada = Member { user: "ada".into(), info: Some("{}".into()) };
    let bob = Member { user: "bob".into(), info: None };
    let come = |roster: &mut Roster, who| roster.enter("presence-a", Some(who), 2);
    let first = come(&mut roster, &ada).unwrap();
    assert!(first.is_channel && first.is_member);
    let second = come(&mut roster, &ada).unwrap();
    assert!(!second.is_channel && !second.is_member && second.connections == 2);
    assert!(come(&mut roster, &bob).unwrap().is_member);
    assert!(come(&mut roster, &Member { user: "eve".into(), info: None }).is_err());
    let mut out = Vec::new();
    write_subscribed("presence-a", roster.get("presence-a"), &mut out);
    let presence = json!({"ids":["ada","bob"],"hash":{"ada":{},"bob":null},"count":2});
    assert_eq!(data(&lines(&out)[0]), json!({ "presence": presence }));
    assert!(!roster.leave("presence-a", Some("ada")).is_member);
    assert!(roster.leave("presence-a", Some("ada")).is_member);
    let last = roster.leave("presence-a", Some("bob"));
    assert!(last.is_member && last.is_channel && roster.len() == 0);
}
