//! One message of the stream as bytes: who sent it, in which life of the stream, and records of
//! events.
//!
//! ```text
//! version u8 · kind u8 · node u64 · number u64 · epoch u32 · at u64 · records: (events u32 · length u32 · bytes)*
//! ```
//! All little-endian.

use crate::store::Record;

const VERSION: u8 = 1;

/// What is before the records.
const HEAD_LEN: usize = 30;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// It shows its sender how far the stream has come, and others that it is there.
    Hello = 0,
    /// It brings events.
    Events = 1,
    /// It brings who came and went.
    Presence = 2,
    /// It brings what is told once, to whoever is there.
    Signals = 3,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// The daemon that sent it, in this run of it.
    pub(super) node: u64,
    /// The sender's count.
    pub(super) number: u64,
    /// The life of the stream as the sender knows it; 0 in a hello.
    pub(super) epoch: u32,
    /// When it was sent, in microseconds since 1970.
    pub(super) at: u64,
}

/// A message that was read.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) head: Head,
    records: &'a [u8],
}

impl Head {
    /// The message with `records`.
    pub(super) fn write(&self, records: &[Record]) -> Vec<u8> {
        let len: usize = records.iter().map(|record| record.bytes.len() + 8).sum();
        let mut out = Vec::with_capacity(HEAD_LEN + len);
        out.extend([VERSION, self.kind as u8]);
        out.extend(self.node.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.at.to_le_bytes());
        for record in records {
            let len = u32::try_from(record.bytes.len()).expect("a pipeline bounds its batches");
            out.extend(record.events.to_le_bytes());
            out.extend(len.to_le_bytes());
            out.extend(&record.bytes);
        }
        out
    }
}

impl<'a> Envelope<'a> {
    /// Reads a message; `None` if it is none of a daemon that this one understands.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version, kind] = take(&mut rest)?;
        let kinds = [Kind::Hello, Kind::Events, Kind::Presence, Kind::Signals];
        let kind = kinds.into_iter().find(|known| *known as u8 == kind);
        let kind = kind.filter(|_| version == VERSION)?;
        let head = Head {
            kind,
            node: u64::from_le_bytes(take(&mut rest)?),
            number: u64::from_le_bytes(take(&mut rest)?),
            epoch: u32::from_le_bytes(take(&mut rest)?),
            at: u64::from_le_bytes(take(&mut rest)?),
        };
        Some(Self { head, records: rest })
    }

    /// The records, each with how many events it has; ends early where the bytes are damaged.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let events = u32::from_le_bytes(take(&mut rest)?);
            let len = u32::from_le_bytes(take(&mut rest)?) as usize;
            let (bytes, after) = rest.split_at_checked(len)?;
            rest = after;
            Some((events, bytes))
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}
