//! Bytes out: one event as a structured CloudEvent in JSON.
//!
//! JSON data is embedded as the publisher wrote it, text becomes a JSON string, anything else is
//! base64. Whatever the data is, what comes out is one valid JSON object without a line break.

use serde::de::IgnoredAny;

use super::Event;

/// The attribute that carries the channel of an event on the disk. No publisher can name one so, and
/// it is no part of the event.
pub const CHANNEL_MARK: &str = ".channel";

/// Attribute names that an extension attribute cannot take: those of CloudEvents, and the mark.
const RESERVED: [&str; 11] = [
    CHANNEL_MARK,
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// Room for the member names and the numbers of one event.
const OVERHEAD: usize = 192;

const MICROS_PER_DAY: u64 = 86_400_000_000;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How data is written, decided by its media type and its bytes.
enum Form {
    Json,
    Text,
    Base64,
}

/// Appends `event` to `out` as a structured CloudEvent in JSON, on one line.
pub fn write_cloudevent(event: &Event<'_>, out: &mut Vec<u8>) {
    let data = event.data();
    out.reserve(OVERHEAD + data.len());
    out.extend_from_slice(br#"{"specversion":"1.0","id":"#);
    write_string(event.id(), out);
    write_member("source", event.source(), out);
    write_member("type", event.event_type(), out);
    if let Some(subject) = event.subject() {
        write_member("subject", subject, out);
    }
    out.extend_from_slice(br#","time":""#);
    write_time(event.time(), out);
    out.push(b'"');
    if let Some(content_type) = event.content_type() {
        write_member("datacontenttype", content_type, out);
    }
    for (name, value) in event.extensions() {
        if !RESERVED.contains(&name) {
            write_member(name, value, out);
        }
    }
    if !data.is_empty() {
        write_data(data, event.content_type(), out);
    }
    out.push(b'}');
}

/// Appends `text` to `out` as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON and a vector takes any bytes");
}

/// Appends an RFC 3339 time in UTC; `micros` counts from the Unix epoch.
pub fn write_time(micros: u64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_date(micros / MICROS_PER_DAY);
    let of_day = micros % MICROS_PER_DAY;
    let seconds = of_day / 1_000_000;
    write_digits(year, 4, out);
    out.push(b'-');
    write_digits(month, 2, out);
    out.push(b'-');
    write_digits(day, 2, out);
    out.push(b'T');
    write_digits(seconds / 3_600, 2, out);
    out.push(b':');
    write_digits(seconds / 60 % 60, 2, out);
    out.push(b':');
    write_digits(seconds % 60, 2, out);
    out.push(b'.');
    let fraction = of_day % 1_000_000;
    if fraction.is_multiple_of(1_000) {
        write_digits(fraction / 1_000, 3, out);
    } else {
        write_digits(fraction, 6, out);
    }
    out.push(b'Z');
}

/// Whether data of this media type is JSON; CloudEvents takes an absent one for JSON.
pub fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let ends_with = |suffix: &str| {
        let at = essence.len().checked_sub(suffix.len());
        at.and_then(|at| essence.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    ends_with("/json") || ends_with("+json")
}

fn write_member(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name, out);
    out.push(b':');
    write_string(value, out);
}

/// Appends a comma and the member `data` or `data_base64` to `out`, on one line.
pub fn write_data(data: &[u8], content_type: Option<&str>, out: &mut Vec<u8>) {
    let text = str::from_utf8(data).ok();
    let form = text.map_or(Form::Base64, |text| form(text, content_type));
    match form {
        Form::Json => {
            out.extend_from_slice(br#","data":"#);
            // A line break in valid JSON is white space: inside a string it is escaped.
            let flat = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
            out.extend(data.iter().map(flat));
        }
        Form::Text => {
            out.extend_from_slice(br#","data":"#);
            write_string(text.expect("only UTF-8 is written as text"), out);
        }
        Form::Base64 => {
            out.extend_from_slice(br#","data_base64":""#);
            write_base64(data, out);
            out.push(b'"');
        }
    }
}

fn form(text: &str, content_type: Option<&str>) -> Form {
    if is_json(content_type) {
        let is_valid = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return if is_valid { Form::Json } else { Form::Base64 };
    }
    let is_text = content_type
        .and_then(|content_type| content_type.get(..5))
        .is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    if is_text { Form::Text } else { Form::Base64 }
}

/// Appends `data` in base64, with padding.
pub fn write_base64(data: &[u8], out: &mut Vec<u8>) {
    for chunk in data.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > chunk.len() { b'=' } else { letter });
        }
    }
}

fn write_digits(number: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = number;
    for place in out[start..].iter_mut().rev() {
        // The remainder is a single digit.
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counts years from March, so that the leap day is the last of its year, and eras of 400 years.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests;
