//! Records of packed events as JSON lines, which is how people and programs read a journal.

use super::settings::Stored;
use crate::event::encode::{CHANNEL_MARK, write_cloudevent, write_string, write_time};
use crate::event::pack::{UnpackError, unpack};

/// Appends one JSON line for each event of `stored` from number `from` on, at most `limit` lines:
/// its number, when it was stored, its channel if it has one, and the event itself. Answers the
/// number to go on with.
///
/// # Errors
/// If the record holds something else than events.
pub fn write_lines(
    stored: &Stored,
    from: u64,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<u64, UnpackError> {
    let batch = unpack(&stored.record.bytes)?;
    let numbered = (stored.seq..).zip(batch.iter());
    let mut next = from.max(stored.seq);
    for (seq, event) in numbered.skip_while(|(seq, _)| *seq < from).take(limit) {
        out.extend_from_slice(format!(r#"{{"seq":{seq},"stored":""#).as_bytes());
        write_time(stored.at, out);
        out.push(b'"');
        if let Some(channel) = event.extension(CHANNEL_MARK) {
            out.extend_from_slice(br#","channel":"#);
            write_string(channel, out);
        }
        out.extend_from_slice(br#","event":"#);
        write_cloudevent(&event, out);
        out.extend_from_slice(b"}\n");
        next = seq + 1;
    }
    Ok(next)
}
