//! Finds e-mail addresses, card numbers and IP addresses in a text.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use serde::Deserialize;

/// How many digits a card number has.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// How many digits each group of a card number has, but for the last.
const CARD_GROUP_MIN: usize = 3;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Detector {
    Email,
    Card,
    Ipv4,
    Ipv6,
}

/// A part of a text that a detector recognises.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) detector: Detector,
    pub(crate) span: Range<usize>,
}

/// What `detectors` find, in order and without overlap; where two overlap, the first and longest.
pub(crate) fn find(detectors: &[Detector], text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for detector in detectors {
        let spans = detector.spans(text);
        found.extend(spans.into_iter().map(|span| Found { detector: *detector, span }));
    }
    found.sort_by_key(|found| (found.span.start, usize::MAX - found.span.end));
    let mut end = 0;
    found.retain(|found| {
        let is_clear = found.span.start >= end;
        if is_clear {
            end = found.span.end;
        }
        is_clear
    });
    found
}

/// The detector that recognises `text` as a whole.
pub(crate) fn whole(text: &str) -> Option<Detector> {
    // By its bytes only one of them can recognise it, if any.
    let (mut may_be_card, mut may_be_ipv4, mut may_be_ipv6) = (true, true, false);
    for byte in text.bytes() {
        match byte {
            b'@' => return is_email(text).then_some(Detector::Email),
            b'0'..=b'9' => {}
            b' ' | b'-' => may_be_ipv4 = false,
            b'.' => may_be_card = false,
            _ => {
                (may_be_card, may_be_ipv4) = (false, false);
                may_be_ipv6 |= byte == b':';
            }
        }
    }
    let likely = match (may_be_card, may_be_ipv4) {
        (true, _) => Detector::Card,
        (false, true) => Detector::Ipv4,
        (false, false) if may_be_ipv6 => Detector::Ipv6,
        (false, false) => return None,
    };
    likely.spans(text).contains(&(0..text.len())).then_some(likely)
}

impl Detector {
    fn spans(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Email => emails(text),
            Self::Card => cards(text),
            Self::Ipv4 => ipv4s(text),
            Self::Ipv6 => ipv6s(text),
        }
    }
}

fn emails(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices('@') {
        let local = &text[from.min(at)..at];
        let kept = local.trim_end_matches(is_local);
        let local = local[kept.len()..].trim_start_matches('.');
        let domain = text[at + 1..].trim_start_matches(is_domain);
        let domain = &text[at + 1..text.len() - domain.len()];
        let domain = domain.trim_end_matches(['.', '-']);
        if !local.is_empty() && is_host(domain) {
            from = at + 1 + domain.len();
            spans.push(at - local.len()..from);
        }
    }
    spans
}

/// Whether `emails` would find the whole text.
fn is_email(text: &str) -> bool {
    let Some(at) = text.bytes().position(|byte| byte == b'@') else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let is_local = !local.is_empty() && !local.starts_with('.') && is_all(local, LOCAL);
    is_local && is_all(domain, DOMAIN) && is_host(domain)
}

/// Whether a domain ends in a name such as `.com`.
fn is_host(domain: &str) -> bool {
    let dot = domain.bytes().rposition(|byte| byte == b'.');
    dot.is_some_and(|dot| {
        let top = &domain[dot + 1..];
        dot > 0 && top.chars().nth(1).is_some() && is_all(top, TOP)
    })
}

/// What of the first 128 characters may be in the parts of an address, a bit for each part.
const ADDRESS: [u8; 128] = {
    let mut table = [0; 128];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() {
            table[at] = LOCAL | DOMAIN;
        }
        if byte.is_ascii_alphabetic() {
            table[at] |= TOP;
        }
        at += 1;
    }
    let (others, mut at) = (b"!#$%&'*+/=?^_`{|}~.-", 0);
    while at < others.len() {
        table[others[at] as usize] |= LOCAL;
        at += 1;
    }
    table[b'.' as usize] |= DOMAIN;
    table[b'-' as usize] |= DOMAIN;
    table
};
const LOCAL: u8 = 1;
const DOMAIN: u8 = 2;
const TOP: u8 = 4;

fn is_local(character: char) -> bool {
    is_part(character, LOCAL)
}

fn is_domain(character: char) -> bool {
    is_part(character, DOMAIN)
}

fn is_part(character: char, part: u8) -> bool {
    let known = ADDRESS.get(character as usize).map(|parts| parts & part != 0);
    known.unwrap_or_else(|| match part {
        TOP => character.is_alphabetic(),
        _ => character.is_alphanumeric(),
    })
}

/// Whether all of `text` may be in this part of an address.
fn is_all(text: &str, part: u8) -> bool {
    let is_fit = |byte: &u8| ADDRESS.get(usize::from(*byte)).is_some_and(|it| it & part != 0);
    match text.as_bytes().iter().position(|byte| !is_fit(byte)) {
        None => true,
        Some(at) => text.as_bytes()[at] >= 128 && text[at..].chars().all(|it| is_part(it, part)),
    }
}

fn cards(text: &str) -> Vec<Range<usize>> {
    let groups = digit_groups(text);
    let mut spans = Vec::new();
    let mut first = 0;
    while first < groups.len() {
        match card_from(text, &groups[first..]) {
            Some(len) => {
                spans.push(groups[first].start..groups[first + len - 1].end);
                first += len;
            }
            None => first += 1,
        }
    }
    spans
}

/// The runs of digits that stand apart from letters.
fn digit_groups(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut groups = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let group = at..at + len;
        at += len.max(1);
        if len > 0 && !is_word_before(text, group.start) && !is_word_after(text, group.end) {
            groups.push(group);
        }
    }
    groups
}

/// How many of the groups, from the first on, are one card number; the most that can be.
fn card_from(text: &str, groups: &[Range<usize>]) -> Option<usize> {
    let mut digits: Vec<u8> = Vec::new();
    let mut longest = None;
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            let before = &groups[index - 1];
            let is_joined = matches!(&text[before.end..group.start], " " | "-");
            if !is_joined || before.len() < CARD_GROUP_MIN {
                break;
            }
        }
        digits.extend(text[group.clone()].bytes().map(|digit| digit - b'0'));
        if digits.len() > *CARD_DIGITS.end() {
            break;
        }
        if is_card(&digits) {
            longest = Some(index + 1);
        }
    }
    longest
}

fn is_card(digits: &[u8]) -> bool {
    CARD_DIGITS.contains(&digits.len()) && has_issuer(digits) && has_luhn_digit(digits)
}

/// Whether an issuer of cards gives out numbers that start so and are as long. Without this one of
/// ten timestamps and order numbers would pass for a card.
fn has_issuer(digits: &[u8]) -> bool {
    let start =
        |len: usize| digits[..len].iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let len = digits.len();
    match (start(1), start(2), start(4)) {
        // Visa.
        (4, ..) => matches!(len, 13 | 16 | 19),
        // American Express.
        (_, 34 | 37, _) => len == 15,
        // Diners Club.
        (_, 36 | 38 | 39, _) | (_, _, 3000..=3059 | 3095) => (14..=19).contains(&len),
        // JCB.
        (_, _, 3528..=3589) => (16..=19).contains(&len),
        // Mastercard.
        (_, 51..=55, _) | (_, _, 2221..=2720) => len == 16,
        // Mir.
        (_, _, 2200..=2204) => (16..=19).contains(&len),
        // Maestro, Discover, UnionPay, RuPay.
        (_, 50 | 56..=58, _) | (6 | 8, ..) => len <= 19 && (len >= 16 || start(1) != 8),
        _ => false,
    }
}

fn has_luhn_digit(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn ipv4s(text: &str) -> Vec<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    runs(text, is_part)
        .filter_map(|run| {
            let address = text[run.clone()].trim_end_matches('.');
            let start = run.start;
            address.parse::<Ipv4Addr>().ok().map(|_| start..start + address.len())
        })
        .collect()
}

fn ipv6s(text: &str) -> Vec<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    runs(text, is_part)
        .filter_map(|run| {
            let run_text = &text[run.clone()];
            let has_digit = run_text.bytes().any(|byte| byte.is_ascii_digit());
            if !has_digit || run_text.bytes().filter(|byte| *byte == b':').count() < 2 {
                return None;
            }
            // In prose a full stop or a colon may follow.
            let candidates =
                [run_text.trim_end_matches('.'), run_text.trim_end_matches([':', '.'])];
            let address = candidates.into_iter().find(|it| it.parse::<Ipv6Addr>().is_ok())?;
            Some(run.start..run.start + address.len())
        })
        .collect()
}

/// The longest runs of such bytes that no letter or digit touches.
fn runs(text: &str, is_part: impl Fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            at += bytes[start..].iter().take_while(|byte| is_part(**byte)).count();
            if at == start {
                at += 1;
            } else if !is_word_before(text, start) && !is_word_after(text, at) {
                return Some(start..at);
            }
        }
        None
    })
}

fn is_word_before(text: &str, at: usize) -> bool {
    text[..at].chars().next_back().is_some_and(is_word)
}

fn is_word_after(text: &str, at: usize) -> bool {
    text[at..].chars().next().is_some_and(is_word)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
