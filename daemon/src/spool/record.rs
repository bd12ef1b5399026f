//! A batch of events as bytes for the disk, and back. The data is kept verbatim.
//!
//! The journal's checksum tells damage; reading still trusts no length, so that bytes of another
//! origin cost an error and no more memory than they have themselves.

use crate::event::{Batch, Draft};

/// Marks an absent text.
const ABSENT: u32 = u32::MAX;

/// Why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is not a batch of events")]
pub(super) struct Malformed;

/// The bytes of `batch`.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes() + 96 * batch.len());
    for event in batch.iter() {
        out.extend_from_slice(&event.time().to_le_bytes());
        out.extend_from_slice(&event.arrival().to_le_bytes());
        for text in [event.id(), event.source(), event.event_type()] {
            put(&mut out, Some(text.as_bytes()));
        }
        put(&mut out, event.subject().map(str::as_bytes));
        put(&mut out, event.content_type().map(str::as_bytes));
        let extensions: Vec<_> = event.extensions().collect();
        out.extend_from_slice(&len(extensions.len()).to_le_bytes());
        for (name, value) in extensions {
            put(&mut out, Some(name.as_bytes()));
            put(&mut out, Some(value.as_bytes()));
        }
        put(&mut out, Some(event.data()));
    }
    out
}

/// The batch in `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Result<Batch, Malformed> {
    let mut rest = Reader(bytes);
    let mut batch = Batch::default();
    let mut extensions = Vec::new();
    while !rest.0.is_empty() {
        let (time, arrival) = (rest.u64()?, rest.u64()?);
        let [id, source, event_type] = [rest.some()?, rest.some()?, rest.some()?];
        let (subject, content_type) = (rest.text()?, rest.text()?);
        extensions.clear();
        for _ in 0..rest.u32()? {
            extensions.push((rest.some()?, rest.some()?));
        }
        let data = rest.blob()?.ok_or(Malformed)?;
        let extensions = &extensions[..];
        batch.push(&Draft {
            id,
            source,
            event_type,
            subject,
            content_type,
            time,
            arrival,
            data,
            extensions,
        });
    }
    Ok(batch)
}

fn len(len: usize) -> u32 {
    u32::try_from(len).expect("edges bound a batch far below 4 GiB")
}

fn put(out: &mut Vec<u8>, blob: Option<&[u8]>) {
    out.extend_from_slice(&blob.map_or(ABSENT, |blob| len(blob.len())).to_le_bytes());
    out.extend_from_slice(blob.unwrap_or_default());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take(4)?.try_into().map(u32::from_le_bytes).or(Err(Malformed))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take(8)?.try_into().map(u64::from_le_bytes).or(Err(Malformed))
    }

    fn blob(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.u32()? {
            ABSENT => Ok(None),
            size => self.take(size as usize).map(Some),
        }
    }

    fn text(&mut self) -> Result<Option<&'a str>, Malformed> {
        self.blob()?.map(std::str::from_utf8).transpose().or(Err(Malformed))
    }

    fn some(&mut self) -> Result<&'a str, Malformed> {
        self.text()?.ok_or(Malformed)
    }
}
