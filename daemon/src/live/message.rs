//! Encoded events, shared by everybody who gets them.
//!
//! An event is encoded once, as the JSON object of the `event` frame. What a batch brings to one
//! channel becomes [`Piece`]s: objects one per line, so that a piece is a frame as it stands.

use std::io::Write as _;

use bytes::Bytes;

use super::cursor::{Cursor, Epoch};
use super::pattern::Channel;
use crate::event::Event;
use crate::event::encode::{write_cloudevent, write_string};

/// A frame is not packed beyond this. Large enough to make a system call cheap per event, small
/// enough to keep what a connection holds small.
pub const FRAME_LEN_MAX: usize = 16 << 10;

/// Events of one channel with consecutive numbers, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The number of the first event.
    pub first: u64,
    /// How many events there are.
    pub count: u32,
    /// One JSON object per event, one per line, no line break at the end.
    pub text: Bytes,
}

impl Piece {
    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// The objects with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.first..).zip(self.text.split(|byte| *byte == b'\n'))
    }
}

/// An event for a channel.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// Where it goes.
    pub channel: Channel<'a>,
    /// What goes there.
    pub event: Event<'a>,
}

/// Posts encoded as far as it goes without their numbers.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The events as JSON, one after the other.
    events: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Encoded {
    pub(super) fn new(posts: &[Post<'_>]) -> Self {
        let mut encoded = Self { events: Vec::new(), ends: Vec::with_capacity(posts.len()) };
        for post in posts {
            write_cloudevent(&post.event, &mut encoded.events);
            encoded.ends.push(encoded.events.len());
        }
        encoded
    }

    fn event(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.events[start..self.ends[index]]
    }
}

/// Writes the events of one channel into pieces.
pub(super) struct Writer<'a> {
    encoded: &'a Encoded,
    head: Vec<u8>,
    text: Vec<u8>,
    /// Where each object starts in `text`.
    starts: Vec<usize>,
    first: u64,
}

/// A finished piece, and each of its events alone, for the history.
pub(super) struct Written {
    pub(super) piece: Piece,
    pub(super) singles: Vec<Piece>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(encoded: &'a Encoded, channel: Channel<'_>, epoch: Epoch) -> Self {
        let mut head = br#"{"type":"event","channel":"#.to_vec();
        write_string(channel.as_str(), &mut head);
        head.extend_from_slice(br#","cursor":""#);
        write!(head, "{epoch}.").expect("a vector takes any bytes");
        Self { encoded, head, text: Vec::new(), starts: Vec::new(), first: 0 }
    }

    /// Adds the event at `index` of the batch as number `seq`; answers a piece that is full.
    pub(super) fn add(&mut self, index: usize, seq: u64) -> Option<Written> {
        let event = self.encoded.event(index);
        let len = self.head.len() + event.len() + 32;
        let is_full = !self.text.is_empty() && self.text.len() + len > FRAME_LEN_MAX;
        let full = if is_full { self.finish() } else { None };
        if self.text.is_empty() {
            self.first = seq;
        } else {
            self.text.push(b'\n');
        }
        self.starts.push(self.text.len());
        self.text.reserve(len);
        self.text.extend_from_slice(&self.head);
        write_number(seq, &mut self.text);
        self.text.extend_from_slice(br#"","event":"#);
        self.text.extend_from_slice(event);
        self.text.push(b'}');
        full
    }

    /// The piece with what was added since the last one.
    pub(super) fn finish(&mut self) -> Option<Written> {
        if self.text.is_empty() {
            return None;
        }
        let starts = std::mem::take(&mut self.starts);
        let count = u32::try_from(starts.len()).expect("an edge bounds the events of a batch");
        let text = Bytes::from(std::mem::take(&mut self.text));
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([text.len()]);
        let singles = (self.first..).zip(starts.iter().zip(ends));
        let singles = singles
            .map(|(seq, (start, end))| Piece {
                first: seq,
                count: 1,
                text: text.slice(*start..end),
            })
            .collect();
        Some(Written { piece: Piece { first: self.first, count, text }, singles })
    }
}

/// Events that a subscriber cannot get any more, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Why.
    pub reason: GapReason,
    /// The place after which events may be missing.
    pub from: Cursor,
    /// The last event that may be missing.
    pub until: Cursor,
}

/// Why events are missing, as subscribers see it on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The history no longer holds them.
    Expired,
    /// The daemon was started anew since.
    Restarted,
    /// The subscriber took too long.
    Slow,
}

impl GapReason {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Restarted => "restarted",
            Self::Slow => "slow",
        }
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        // The remainder is a single digit.
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
