//! What the daemon says: each function appends one message, on a line of its own.
//!
//! The data of a message is a string that holds JSON, as the protocol has it.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::Write as _;

use serde_json::value::RawValue;

use super::Refusal;
use crate::event::encode::{write_base64, write_string};
use crate::live::presence::Occupants;

/// Appends the greeting.
pub(in crate::live) fn write_established(socket: &str, timeout_seconds: u64, out: &mut Vec<u8>) {
    let data = format_args!(r#"{{"socket_id":"{socket}","activity_timeout":{timeout_seconds}}}"#);
    write_own("pusher:connection_established", None, data, out);
}

/// Appends an event as its publisher named it; `user` is who published, if a member did.
pub(in crate::live) fn write_event(
    (event, channel): (&str, &str),
    data: &str,
    user: Option<&str>,
    out: &mut Vec<u8>,
) {
    start(event, Some(channel), out);
    out.extend_from_slice(br#","data":"#);
    write_string(data, out);
    end(user, out);
}

/// Appends a client's event with its data as it came.
pub(in crate::live) fn write_client_event(
    (event, channel): (&str, &str),
    data: Option<&RawValue>,
    user: Option<&str>,
    out: &mut Vec<u8>,
) {
    start(event, Some(channel), out);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        // A line break in valid JSON is white space, and ends a frame.
        let flat = |byte: u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
        out.extend(data.get().bytes().map(flat));
    }
    end(user, out);
}

/// Appends the answer to a subscription; with `occupants` where they are told.
pub(in crate::live) fn write_subscribed(
    channel: &str,
    occupants: Option<&Occupants>,
    out: &mut Vec<u8>,
) {
    const EVENT: &str = "pusher_internal:subscription_succeeded";
    let Some(occupants) = occupants else {
        return write_own(EVENT, Some(channel), format_args!("{{}}"), out);
    };
    let mut ids = Vec::new();
    let mut hash = Vec::new();
    for (index, (user, info)) in occupants.members().enumerate() {
        if index > 0 {
            ids.push(b',');
            hash.push(b',');
        }
        write_string(user, &mut ids);
        write_string(user, &mut hash);
        hash.push(b':');
        hash.extend_from_slice(info.unwrap_or("null").as_bytes());
    }
    let (ids, hash) = (text(&ids), text(&hash));
    let count = occupants.users();
    let data =
        format_args!(r#"{{"presence":{{"ids":[{ids}],"hash":{{{hash}}},"count":{count}}}}}"#);
    write_own(EVENT, Some(channel), data, out);
}

/// Appends why there is no subscription.
pub(in crate::live) fn write_subscription_error(
    channel: &str,
    (kind, status): (&str, u16),
    message: &str,
    out: &mut Vec<u8>,
) {
    start("pusher:subscription_error", Some(channel), out);
    put(out, format_args!(r#","data":{{"type":"{kind}","error":"#));
    write_string(message, out);
    put(out, format_args!(r#","status":{status}}}}}"#));
}

/// Appends an error that ends nothing, or, with a code, may.
pub(in crate::live) fn write_error(code: Option<u16>, message: &str, out: &mut Vec<u8>) {
    start("pusher:error", None, out);
    match code {
        Some(code) => put(out, format_args!(r#","data":{{"code":{code},"message":"#)),
        None => put(out, format_args!(r#","data":{{"code":null,"message":"#)),
    }
    write_string(message, out);
    out.extend_from_slice(b"}}");
}

/// Appends what comes before a close.
pub(in crate::live) fn write_refusal(refusal: Refusal, out: &mut Vec<u8>) {
    write_error(Some(refusal.code), refusal.message, out);
}

/// Appends that `user` came.
pub(in crate::live) fn write_member_added(
    channel: &str,
    (user, info): (&str, Option<&str>),
    out: &mut Vec<u8>,
) {
    let user = quoted(user);
    let event = "pusher_internal:member_added";
    match info {
        Some(info) => {
            let data = format_args!(r#"{{"user_id":{user},"user_info":{info}}}"#);
            write_own(event, Some(channel), data, out);
        }
        None => write_own(event, Some(channel), format_args!(r#"{{"user_id":{user}}}"#), out),
    }
}

/// Appends that `user` went.
pub(in crate::live) fn write_member_removed(channel: &str, user: &str, out: &mut Vec<u8>) {
    let user = quoted(user);
    let data = format_args!(r#"{{"user_id":{user}}}"#);
    write_own("pusher_internal:member_removed", Some(channel), data, out);
}

/// Appends how many connections `channel` has.
pub(in crate::live) fn write_subscription_count(channel: &str, count: usize, out: &mut Vec<u8>) {
    let data = format_args!(r#"{{"subscription_count":{count}}}"#);
    write_own("pusher_internal:subscription_count", Some(channel), data, out);
}

/// Appends that a cache channel has nothing.
pub(in crate::live) fn write_cache_miss(channel: &str, out: &mut Vec<u8>) {
    write_own("pusher:cache_miss", Some(channel), format_args!("{{}}"), out);
}

/// Appends that a client is known now, by what it sent.
pub(in crate::live) fn write_signed_in(user_data: &str, out: &mut Vec<u8>) {
    let user_data = quoted(user_data);
    let data = format_args!(r#"{{"user_data":{user_data}}}"#);
    write_own("pusher:signin_success", None, data, out);
}

/// Appends a question whether the client is there.
pub(in crate::live) fn write_ping(out: &mut Vec<u8>) {
    write_own("pusher:ping", None, format_args!("{{}}"), out);
}

/// Appends the answer to a client's ping.
pub(in crate::live) fn write_pong(out: &mut Vec<u8>) {
    write_own("pusher:pong", None, format_args!("{{}}"), out);
}

/// The data of an event as text: as it is, or in base64 where it is not UTF-8.
pub(in crate::live) fn text_of(data: &[u8]) -> Cow<'_, str> {
    str::from_utf8(data).map_or_else(
        |_not_text| {
            let mut encoded = Vec::new();
            write_base64(data, &mut encoded);
            text(&encoded).to_owned().into()
        },
        Cow::Borrowed,
    )
}

/// A message whose data is JSON in a string.
fn write_own(event: &str, channel: Option<&str>, data: Arguments<'_>, out: &mut Vec<u8>) {
    start(event, channel, out);
    out.extend_from_slice(br#","data":"#);
    write_string(&data.to_string(), out);
    out.push(b'}');
}

fn start(event: &str, channel: Option<&str>, out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out.extend_from_slice(br#"{"event":"#);
    write_string(event, out);
    if let Some(channel) = channel {
        out.extend_from_slice(br#","channel":"#);
        write_string(channel, out);
    }
}

fn end(user: Option<&str>, out: &mut Vec<u8>) {
    if let Some(user) = user {
        out.extend_from_slice(br#","user_id":"#);
        write_string(user, out);
    }
    out.push(b'}');
}

fn quoted(words: &str) -> String {
    let mut out = Vec::new();
    write_string(words, &mut out);
    text(&out).to_owned()
}

fn text(json: &[u8]) -> &str {
    str::from_utf8(json).expect("what was written from text is text")
}

fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes any bytes");
}
