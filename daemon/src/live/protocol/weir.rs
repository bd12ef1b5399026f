//! `weir.v1`: one JSON object per line, in both directions.
//!
//! A line of a subscriber comes in and a [`Command`] goes out; what the daemon says is appended
//! to a buffer of lines.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::encode::write_string;
use crate::live::access::Denied;
use crate::live::cursor::Cursor;
use crate::live::hub::{Joined, Start};
use crate::live::message::Missed;
use crate::live::pattern::Pattern;
use crate::live::presence::Member;

/// The WebSocket subprotocol.
pub(in crate::live) const SUBPROTOCOL: &str = "weir.v1";

/// Longest `ref` that is sent back.
const REF_LEN_MAX: usize = 64;

/// What a publisher or subscriber wants.
#[derive(Debug)]
pub(in crate::live) enum Command<'a> {
    Hello {
        token: Option<Token<'a>>,
    },
    /// With `presence` also as a member of these channels, who learns of the others, or no longer
    /// as one. Where nothing is said about it, nothing changes.
    Sub {
        tag: Tag<'a>,
        patterns: Vec<Pattern>,
        start: Start,
        presence: Option<bool>,
    },
    Unsub {
        tag: Tag<'a>,
        patterns: Vec<Pattern>,
    },
    Pub {
        tag: Tag<'a>,
        events: Vec<&'a RawValue>,
    },
    Ping,
    Pong,
}

/// The `ref` of a command, a JSON number or string that is sent back as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::live) struct Tag<'a>(Option<&'a str>);

/// What a subscriber shows; never to be printed.
pub(in crate::live) struct Token<'a>(pub(in crate::live) Cow<'a, str>);

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Why something is refused, as the `error` frame says it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::live) struct Refused<'a> {
    pub(in crate::live) tag: Tag<'a>,
    pub(in crate::live) code: &'static str,
    pub(in crate::live) message: Cow<'static, str>,
    pub(in crate::live) hint: Option<&'static str>,
}

impl Refused<'_> {
    /// For somebody who is turned away.
    pub(in crate::live) fn of(denied: &Denied) -> Self {
        let (code, hint) = (denied.code(), denied.hint());
        Self { tag: Tag::default(), code, message: denied.to_string().into(), hint }
    }
}

/// All members that any command has; unknown ones are for newer daemons.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    r#ref: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    since: Option<Cow<'a, str>>,
    #[serde(default)]
    last: Option<u32>,
    #[serde(default)]
    presence: Option<bool>,
    #[serde(borrow, default)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    token: Option<Cow<'a, str>>,
}

impl Tag<'_> {
    /// The same, for a reply that is written later.
    pub(in crate::live) fn to_owned(self) -> Option<Box<str>> {
        self.0.map(Into::into)
    }
}

/// Reads one line.
pub(in crate::live) fn parse(line: &str) -> Result<Command<'_>, Refused<'_>> {
    let read: Line<'_> = serde_json::from_str(line).map_err(|error| Refused {
        tag: Tag(None),
        code: "bad_request",
        message: format!("not a frame: {error}").into(),
        hint: Some("a frame is one JSON object on one line, with a `type`"),
    })?;
    let tag = tag(read.r#ref)?;
    let bad =
        |message: Cow<'static, str>| Refused { tag, code: "bad_request", message, hint: None };
    match read.r#type.as_ref() {
        "hello" => Ok(Command::Hello { token: read.token.map(Token) }),
        "ping" => Ok(Command::Ping),
        "pong" => Ok(Command::Pong),
        "sub" => {
            let patterns = patterns(read.channels).map_err(bad)?;
            let start =
                start(read.since.as_deref(), read.last).map_err(|error| bad(error.into()))?;
            Ok(Command::Sub { tag, patterns, start, presence: read.presence })
        }
        "unsub" => Ok(Command::Unsub { tag, patterns: patterns(read.channels).map_err(bad)? }),
        "pub" => {
            let events = read.events.ok_or_else(|| bad("`events` is missing".into()))?;
            Ok(Command::Pub { tag, events })
        }
        _ => Err(Refused {
            hint: Some("known types: hello, sub, unsub, pub, ping, pong"),
            ..bad("unknown frame type".into())
        }),
    }
}

/// Where to start, from what a subscriber says.
pub(in crate::live) fn start(
    since: Option<&str>,
    last: Option<u32>,
) -> Result<Start, &'static str> {
    match (since, last) {
        (Some(_), Some(_)) => Err("`since` and `last` exclude each other"),
        (Some(since), None) => {
            let cursor = since.parse().map_err(|_same| "`since` is not a cursor")?;
            Ok(Start::Since(cursor))
        }
        (None, Some(last)) => Ok(Start::Last(usize::try_from(last).unwrap_or(usize::MAX))),
        (None, None) => Ok(Start::Live),
    }
}

fn tag(given: Option<&RawValue>) -> Result<Tag<'_>, Refused<'_>> {
    let Some(text) = given.map(RawValue::get) else { return Ok(Tag(None)) };
    let is_scalar =
        text.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
    if is_scalar && text.len() <= REF_LEN_MAX {
        return Ok(Tag(Some(text)));
    }
    Err(Refused {
        tag: Tag(None),
        code: "bad_request",
        message: "`ref` is a number or a short string".into(),
        hint: None,
    })
}

fn patterns(channels: Option<Vec<Cow<'_, str>>>) -> Result<Vec<Pattern>, Cow<'static, str>> {
    let channels = channels.filter(|channels| !channels.is_empty());
    let channels = channels.ok_or("`channels` is missing or empty")?;
    let mut patterns = Vec::with_capacity(channels.len());
    for channel in channels {
        let pattern = Pattern::new(&channel).map_err(|error| error.to_string())?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Ok(patterns)
}

/// Appends `welcome`; `session` names the connection, `time` is in milliseconds.
pub(in crate::live) fn write_welcome(
    (session, time): (&str, u64),
    ping_seconds: u64,
    cursor: Option<Cursor>,
    out: &mut Vec<u8>,
) {
    put(
        out,
        format_args!(
            r#"{{"type":"welcome","session":"{session}","time":{time},"ping":{ping_seconds}"#
        ),
    );
    if let Some(cursor) = cursor {
        append(out, format_args!(r#","cursor":"{cursor}""#));
    }
    out.push(b'}');
}

/// Appends `subok`, with one gap for each pattern if events are missing.
pub(in crate::live) fn write_subok(
    tag: Tag<'_>,
    patterns: &[Pattern],
    joined: &Joined,
    out: &mut Vec<u8>,
) {
    start_reply("subok", tag, out);
    let Joined { cursor, replayed, missed, .. } = joined;
    append(out, format_args!(r#","cursor":"{cursor}","replayed":{replayed},"gaps":["#));
    write_gaps(patterns, missed.as_ref(), out);
    out.extend_from_slice(b"]}");
}

/// Appends `members`: who is on a channel.
pub(in crate::live) fn write_members<'a>(
    channel: &str,
    members: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    out: &mut Vec<u8>,
) {
    put(out, format_args!(r#"{{"type":"members","channel":"#));
    write_string(channel, out);
    out.extend_from_slice(br#","members":["#);
    for (index, (user, info)) in members.enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        write_member(user, info, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

/// Appends `join`.
pub(in crate::live) fn write_join(channel: &str, member: &Member, out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"join","channel":"#));
    write_string(channel, out);
    out.push(b',');
    write_member(&member.user, member.info.as_deref(), out);
    out.push(b'}');
}

/// Appends `leave`.
pub(in crate::live) fn write_leave(channel: &str, user: &str, out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"leave","channel":"#));
    write_string(channel, out);
    out.push(b',');
    write_member(user, None, out);
    out.push(b'}');
}

/// Appends the members of an object that is about a user; `info` is JSON.
fn write_member(user: &str, info: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""user":"#);
    write_string(user, out);
    if let Some(info) = info {
        append(out, format_args!(r#","info":{info}"#));
    }
}

/// Appends `unsubok`.
pub(in crate::live) fn write_unsubok(tag: Tag<'_>, out: &mut Vec<u8>) {
    start_reply("unsubok", tag, out);
    out.push(b'}');
}

/// Appends `pubok`; `results` is a JSON array.
pub(in crate::live) fn write_pubok(tag: Option<&str>, results: &[u8], out: &mut Vec<u8>) {
    start_reply("pubok", Tag(tag), out);
    out.extend_from_slice(br#","results":"#);
    out.extend_from_slice(results);
    out.push(b'}');
}

/// Appends `error`.
pub(in crate::live) fn write_error(refused: &Refused<'_>, out: &mut Vec<u8>) {
    start_reply("error", refused.tag, out);
    append(out, format_args!(r#","code":"{}","message":"#, refused.code));
    write_string(&refused.message, out);
    if let Some(hint) = refused.hint {
        out.extend_from_slice(br#","hint":"#);
        write_string(hint, out);
    }
    out.push(b'}');
}

/// Appends the items of a JSON array, one gap for each pattern if events are missing.
pub(in crate::live) fn write_gaps(
    patterns: &[Pattern],
    missed: Option<&Missed>,
    out: &mut Vec<u8>,
) {
    let Some(missed) = missed else { return };
    for (index, pattern) in patterns.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        write_gap_members(pattern, missed, out);
        out.push(b'}');
    }
}

/// Appends one `gap`.
pub(in crate::live) fn write_gap(pattern: &Pattern, missed: &Missed, out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"gap","#));
    write_gap_members(pattern, missed, out);
    out.push(b'}');
}

/// Appends `ping`; with `cursor`, whoever gets it has all that it wants up to there.
pub(in crate::live) fn write_ping(cursor: Option<Cursor>, out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"ping""#));
    if let Some(cursor) = cursor {
        append(out, format_args!(r#","cursor":"{cursor}""#));
    }
    out.push(b'}');
}

/// Appends `pong`.
pub(in crate::live) fn write_pong(out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"pong"}}"#));
}

/// Appends `bye`; the other end comes back after so many milliseconds.
pub(in crate::live) fn write_bye(reason: &str, after: u64, out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"bye","reason":"{reason}","after":{after}}}"#));
}

fn write_gap_members(pattern: &Pattern, missed: &Missed, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""channel":"#);
    write_string(pattern.as_str(), out);
    let Missed { reason, from, until } = missed;
    let reason = reason.name();
    append(out, format_args!(r#","reason":"{reason}","missed_from":"{from}","cursor":"{until}""#));
}

fn start_reply(kind: &str, tag: Tag<'_>, out: &mut Vec<u8>) {
    put(out, format_args!(r#"{{"type":"{kind}""#));
    if let Some(tag) = tag.0 {
        append(out, format_args!(r#","ref":{tag}"#));
    }
}

/// Starts a line.
fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    append(out, text);
}

fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes any bytes");
}
