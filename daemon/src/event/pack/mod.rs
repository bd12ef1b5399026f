//! A batch as bytes for the disk: versioned, its columns verbatim.
//!
//! Whatever the bytes are, [`unpack`] answers a batch whose columns fit together or an error, and
//! holds no more memory than a small multiple of what it was given.

use thiserror::Error;

use super::{Batch, Blobs, Extensions, NONE, Texts};

const VERSION: u8 = 1;

/// Bytes that are no packed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("these bytes are no batch of events that this version can read")]
pub struct UnpackError;

/// The batch as bytes.
pub fn pack(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes() + 64 * batch.len() + 64);
    out.push(VERSION);
    texts(&batch.dictionary, &mut out);
    texts(&batch.ids, &mut out);
    for column in [&batch.sources, &batch.types, &batch.subjects, &batch.content_types] {
        numbers(column, &mut out);
    }
    for column in [&batch.times, &batch.arrivals] {
        out.extend(column.iter().flat_map(|time| time.to_le_bytes()));
    }
    numbers(&batch.data.ends, &mut out);
    bytes(&batch.data.bytes, &mut out);
    out.push(u8::from(batch.extensions.is_some()));
    if let Some(extensions) = &batch.extensions {
        strings(&extensions.names, &mut out);
        numbers(&extensions.row_ends, &mut out);
        numbers(&extensions.name_of, &mut out);
        texts(&extensions.values, &mut out);
    }
    out
}

/// The batch in `packed`.
///
/// # Errors
/// If these are not exactly the bytes of a batch.
pub fn unpack(packed: &[u8]) -> Result<Batch, UnpackError> {
    let mut rest = Rest(packed);
    if rest.take(1)? != [VERSION] {
        return Err(UnpackError);
    }
    let dictionary = rest.texts()?;
    let ids = rest.texts()?;
    let rows = ids.ends.len();
    let mut batch = Batch { ids, ..Batch::default() };
    let known = |column: &Vec<u32>, may_be_none: bool| {
        let is_known =
            |index: &u32| (*index as usize) < dictionary.len() || (may_be_none && *index == NONE);
        check(column.len() == rows && column.iter().all(is_known))
    };
    batch.sources = rest.numbers()?;
    batch.types = rest.numbers()?;
    batch.subjects = rest.numbers()?;
    batch.content_types = rest.numbers()?;
    known(&batch.sources, false)?;
    known(&batch.types, false)?;
    known(&batch.subjects, true)?;
    known(&batch.content_types, true)?;
    batch.dictionary = dictionary;
    batch.times = rest.times(rows)?;
    batch.arrivals = rest.times(rows)?;
    batch.data = Blobs { ends: rest.numbers()?, bytes: rest.bytes()?.to_vec() };
    check(batch.data.ends.len() == rows && fits(&batch.data.ends, batch.data.bytes.len()))?;
    batch.extensions = match rest.take(1)? {
        [0] => None,
        [1] => Some(rest.extensions(rows)?),
        _ => return Err(UnpackError),
    };
    check(rest.0.is_empty())?;
    Ok(batch)
}

fn number(value: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&super::columns::end(value).to_le_bytes());
}

fn numbers(column: &[u32], out: &mut Vec<u8>) {
    number(column.len(), out);
    out.extend(column.iter().flat_map(|value| value.to_le_bytes()));
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    number(value.len(), out);
    out.extend_from_slice(value);
}

fn texts(column: &Texts, out: &mut Vec<u8>) {
    numbers(&column.ends, out);
    bytes(column.text.as_bytes(), out);
}

fn strings(items: &[String], out: &mut Vec<u8>) {
    let mut column = Texts::default();
    items.iter().for_each(|item| column.push(item));
    texts(&column, out);
}

fn check(holds: bool) -> Result<(), UnpackError> {
    if holds { Ok(()) } else { Err(UnpackError) }
}

/// Whether `ends` never descend and cut exactly `len` items.
fn fits(ends: &[u32], len: usize) -> bool {
    ends.is_sorted() && ends.last().map_or(0, |end| *end as usize) == len
}

/// What has not been read yet.
struct Rest<'p>(&'p [u8]);

impl<'p> Rest<'p> {
    fn take(&mut self, len: usize) -> Result<&'p [u8], UnpackError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(UnpackError)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize, UnpackError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(UnpackError)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*taken) as usize)
    }

    fn numbers(&mut self) -> Result<Vec<u32>, UnpackError> {
        let len = self.number()?.checked_mul(4).ok_or(UnpackError)?;
        let (chunks, _) = self.take(len)?.as_chunks::<4>();
        Ok(chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect())
    }

    fn times(&mut self, rows: usize) -> Result<Vec<u64>, UnpackError> {
        let (chunks, _) = self.take(rows.checked_mul(8).ok_or(UnpackError)?)?.as_chunks::<8>();
        Ok(chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect())
    }

    fn bytes(&mut self) -> Result<&'p [u8], UnpackError> {
        let len = self.number()?;
        self.take(len)
    }

    fn texts(&mut self) -> Result<Texts, UnpackError> {
        let ends = self.numbers()?;
        let text = str::from_utf8(self.bytes()?).map_err(|_error| UnpackError)?;
        check(fits(&ends, text.len()))?;
        check(ends.iter().all(|end| text.is_char_boundary(*end as usize)))?;
        Ok(Texts { ends, text: text.to_owned() })
    }

    fn strings(&mut self) -> Result<Vec<String>, UnpackError> {
        let column = self.texts()?;
        Ok((0..column.ends.len()).map(|index| column.get(index).to_owned()).collect())
    }

    fn extensions(&mut self, rows: usize) -> Result<Extensions, UnpackError> {
        let names = self.strings()?;
        let (row_ends, name_of) = (self.numbers()?, self.numbers()?);
        let values = self.texts()?;
        let is_known = name_of.iter().all(|name| (*name as usize) < names.len());
        check(is_known && row_ends.len() == rows && fits(&row_ends, name_of.len()))?;
        check(values.ends.len() == name_of.len())?;
        Ok(Extensions { names, row_ends, name_of, values })
    }
}

#[cfg(test)]
mod tests;
