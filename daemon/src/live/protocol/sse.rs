//! Server-sent events: the objects of `weir.v1` as the data of named events.
//!
//! Objects have no line breaks, so each is one `data:` line; the id of an event is its cursor, so
//! that a stock `EventSource` resumes by itself.

use std::fmt::Arguments;
use std::io::Write as _;

use super::weir::{self, Refused};
use crate::live::cursor::{Cursor, Epoch};
use crate::live::message::{Missed, Piece};
use crate::live::pattern::Pattern;

/// Appends the time after which a cut connection is made again.
pub(in crate::live) fn write_retry(millis: u64, out: &mut Vec<u8>) {
    append(out, format_args!("retry: {millis}\n\n"));
}

/// Appends what keeps the connection alive: a comment, or an id alone, which no `EventSource`
/// shows but all resume from.
pub(in crate::live) fn write_sign_of_life(cursor: Option<Cursor>, out: &mut Vec<u8>) {
    match cursor {
        Some(cursor) => append(out, format_args!("id: {cursor}\n\n")),
        None => out.extend_from_slice(b":\n\n"),
    }
}

/// Appends `welcome`. It moves the subscriber's place only where nothing is replayed: whoever is
/// cut off during a replay resumes from where it was before.
pub(in crate::live) fn write_welcome(
    session: (&str, u64),
    ping_seconds: u64,
    (cursor, is_replaying): (Cursor, bool),
    out: &mut Vec<u8>,
) {
    append(out, format_args!("event: welcome\n"));
    if !is_replaying {
        append(out, format_args!("id: {cursor}\n"));
    }
    append(out, format_args!("data: "));
    let mut data = Vec::new();
    weir::write_welcome(session, ping_seconds, Some(cursor), &mut data);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\n\n");
}

/// Appends one `message` per event of `piece`.
pub(in crate::live) fn write_piece(epoch: Epoch, piece: &Piece, out: &mut Vec<u8>) {
    for (seq, line) in piece.lines() {
        append(out, format_args!("event: message\nid: {epoch}.{seq}\ndata: "));
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends one `gap` per pattern.
pub(in crate::live) fn write_gap(patterns: &[Pattern], missed: &Missed, out: &mut Vec<u8>) {
    for pattern in patterns {
        append(out, format_args!("event: gap\nid: {}\ndata: ", missed.until));
        let mut data = Vec::new();
        weir::write_gap(pattern, missed, &mut data);
        out.extend_from_slice(&data);
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends the `error` after which the stream ends.
pub(in crate::live) fn write_error(refused: &Refused<'_>, out: &mut Vec<u8>) {
    append(out, format_args!("event: error\ndata: "));
    let mut data = Vec::new();
    weir::write_error(refused, &mut data);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\n\n");
}

/// Appends `bye`, and the time after which to come back, for `EventSource` too.
pub(in crate::live) fn write_bye(after: u64, out: &mut Vec<u8>) {
    append(out, format_args!("event: bye\nretry: {after}\ndata: "));
    let mut data = Vec::new();
    weir::write_bye("drain", after, &mut data);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\n\n");
}

fn append(out: &mut Vec<u8>, text: Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes any bytes");
}
