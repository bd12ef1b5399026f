//! The inside of JSON strings: escapes taken out and put in.

/// Appends what the inside of a JSON string says.
///
/// What cannot be text, half of a surrogate pair, becomes U+FFFD, as it does in browsers.
pub fn push_unescaped(inside: &str, out: &mut String) {
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, len) = escape(&rest[at..]);
        out.push(character);
        rest = rest.get(at + len..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// Appends `text` as a JSON string.
pub fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => {
                out.push_str("\\u00");
                let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
                out.extend([digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.push_str(&text[done..]);
    out.push('"');
}

/// The character that the escape at the start of `text` stands for, and how long it is.
fn escape(text: &str) -> (char, usize) {
    let character = match text.as_bytes().get(1) {
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode(text),
        _ => return (text[1..].chars().next().unwrap_or('\\'), 2),
    };
    (character, 2)
}

/// The character of `\u1234`, or of two of them that are one character.
fn unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 6) };
    let pair = unit(6).map(|second| [first, second]);
    let joined = pair.and_then(|pair| char::decode_utf16(pair).next()?.ok());
    match joined {
        Some(character) if u32::from(character) > 0xffff => (character, 12),
        _ => (char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}
