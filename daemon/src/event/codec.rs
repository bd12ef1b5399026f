//! The two encodings that CloudEvents wrap attributes and data in: percent signs and base64.

use std::borrow::Cow;
use std::str;

/// Undoes the percent-encoding of the HTTP binding.
pub(super) fn percent_decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    if !value.contains(&b'%') {
        return str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let hex = |digit: Option<&u8>| digit.and_then(|digit| char::from(*digit).to_digit(16));
        let pair = hex(after.first()).zip(hex(after.get(1)));
        match (byte, pair) {
            (b'%', Some((high, low))) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Decodes base64 with or without padding, in the standard alphabet.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padded = text.len() - text.iter().rev().take_while(|byte| **byte == b'=').count();
    if text.len() - padded > 2 || padded % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(padded / 4 * 3 + 2);
    for group in text[..padded].chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
