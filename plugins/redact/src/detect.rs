//! Finds personal data in text: e-mail addresses, card numbers, IP addresses.
//!
//! A text goes in, the byte ranges of what was found come out, ascending and apart.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use serde::Deserialize;

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    /// An e-mail address.
    Email,
    /// A payment card number: 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1).
    Card,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
}

/// Finds what `detectors` look for.
pub fn find(detectors: &[Detector], text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for detector in detectors {
        match detector {
            Detector::Email => words(text, is_email_char, &mut found, as_email),
            Detector::Card => words(text, is_card_char, &mut found, as_card),
            Detector::Ipv4 => words(text, is_ipv4_char, &mut found, as_ipv4),
            Detector::Ipv6 => words(text, is_ipv6_char, &mut found, as_ipv6),
        }
    }
    found.sort_by_key(|range| range.start);
    let mut end = 0;
    found.retain(|range| {
        let is_apart = range.start >= end;
        if is_apart {
            end = range.end;
        }
        is_apart
    });
    found
}

/// Adds the part of each run of characters that `part` recognises.
fn words(
    text: &str,
    is_part: fn(char) -> bool,
    found: &mut Vec<Range<usize>>,
    part: fn(&str) -> Option<Range<usize>>,
) {
    let mut at = 0;
    for word in text.split(|c| !is_part(c)) {
        if let Some(range) = part(word) {
            found.push(at + range.start..at + range.end);
        }
        let next = at + word.len();
        at = next + text[next..].chars().next().map_or(0, char::len_utf8);
    }
}

fn is_email_char(c: char) -> bool {
    c.is_alphanumeric() || "@.!#$%&'*+/=?^_`{|}~-".contains(c)
}

fn as_email(word: &str) -> Option<Range<usize>> {
    let start = word.len() - word.trim_start_matches(['.', '\'', '-']).len();
    let end = word.trim_end_matches(|c: char| !c.is_alphanumeric()).len();
    let (local, domain) = word.get(start..end)?.rsplit_once('@')?;
    let (_, top) = domain.rsplit_once('.')?;
    let is_name =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    let is_email = !local.is_empty()
        && !local.contains('@')
        && domain.split('.').all(is_name)
        && top.len() > 1
        && top.chars().all(char::is_alphabetic);
    is_email.then_some(start..end)
}

fn is_card_char(c: char) -> bool {
    c.is_ascii_digit() || c == ' ' || c == '-'
}

fn as_card(word: &str) -> Option<Range<usize>> {
    let start = word.find(|c: char| c.is_ascii_digit())?;
    let end = word.rfind(|c: char| c.is_ascii_digit())? + 1;
    let digits: Vec<u32> = word.chars().filter_map(|c| c.to_digit(10)).collect();
    ((13..=19).contains(&digits.len()) && luhn(&digits)).then_some(start..end)
}

/// The Luhn check: from the right, every second digit counts double, the sum ends in 0.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum % 10 == 0 && digits.iter().any(|digit| *digit != 0)
}

fn is_ipv4_char(c: char) -> bool {
    c.is_alphanumeric() || c == '.'
}

fn as_ipv4(word: &str) -> Option<Range<usize>> {
    let trimmed = word.trim_matches('.');
    let start = word.len() - word.trim_start_matches('.').len();
    trimmed.parse::<Ipv4Addr>().ok().map(|_| start..start + trimmed.len())
}

fn is_ipv6_char(c: char) -> bool {
    c.is_alphanumeric() || c == ':' || c == '.'
}

fn as_ipv6(word: &str) -> Option<Range<usize>> {
    let trimmed = word.trim_end_matches('.');
    let is_address = trimmed.matches(':').count() > 1 && trimmed.parse::<Ipv6Addr>().is_ok();
    is_address.then_some(0..trimmed.len())
}
