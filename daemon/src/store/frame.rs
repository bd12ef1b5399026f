//! A record on the disk: version, checksum, time, number of events, bytes.
//!
//! The checksum covers the sequence number too, so that a record found under a wrong key is
//! damaged as well.

use super::settings::{Record, Stored};

/// The version of this layout.
const VERSION: u8 = 1;
/// Version, checksum, time, events.
const HEADER: usize = 1 + 4 + 8 + 4;

/// What a record takes of a journal's bytes.
pub(super) fn size(record: &Record) -> u64 {
    (HEADER + record.bytes.len()) as u64
}

pub(super) fn encode(seq: u64, at: u64, record: &Record) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + record.bytes.len());
    frame.push(VERSION);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&at.to_le_bytes());
    frame.extend_from_slice(&record.events.max(1).to_le_bytes());
    frame.extend_from_slice(&record.bytes);
    let sum = checksum(seq, &frame);
    frame[1..5].copy_from_slice(&sum.to_le_bytes());
    frame
}

/// The record in `frame`, or `None` if it is damaged.
pub(super) fn decode(seq: u64, frame: &[u8]) -> Option<Stored> {
    let (at, events) = header(frame)?;
    let sum = u32::from_le_bytes(frame[1..5].try_into().ok()?);
    let is_whole = frame[0] == VERSION && sum == checksum(seq, frame) && events > 0;
    is_whole.then(|| Stored { seq, at, record: Record { events, bytes: frame[HEADER..].to_vec() } })
}

/// Time and number of events as `frame` claims them, for books that must be kept of damaged
/// records too.
pub(super) fn header(frame: &[u8]) -> Option<(u64, u32)> {
    let at = u64::from_le_bytes(frame.get(5..13)?.try_into().ok()?);
    let events = u32::from_le_bytes(frame.get(13..17)?.try_into().ok()?);
    Some((at, events))
}

fn checksum(seq: u64, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(&frame[..1]);
    hasher.update(&frame[5..]);
    hasher.finalize()
}
