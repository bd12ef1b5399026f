//! Answers that may be given again for a while, shared by the instances of a step.
//!
//! Only what a server says is good for a time (`Cache-Control: max-age`) is kept, for no longer, and
//! only for the very same question: its headers belong to it, so what varies with them is right.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hyper::header::{AGE, CACHE_CONTROL, HeaderValue, SET_COOKIE, VARY};
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use crate::net::{Answer, Question};

/// Bytes that the answers of one step may take together.
const BYTES_MAX: usize = 4 << 20;

/// Longest time that an answer is kept, whatever its server says.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 256;

/// Answers by question; what came first goes first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<String, Entry>,
    /// The keys with the number of their entry, oldest first.
    order: VecDeque<(u64, String)>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    answer: Answer,
    until: Instant,
    bytes: usize,
}

/// What identifies `question`, if its answer may be kept at all.
pub(super) fn key(question: &Question) -> Option<String> {
    let Question { method, url, headers, body, .. } = question;
    if *method != Method::GET || !body.is_empty() || directives(headers).next().is_some() {
        return None;
    }
    let mut lines: Vec<String> =
        headers.iter().map(|(name, it)| format!("{name}:{it:?}")).collect();
    lines.sort();
    Some(format!("{url}\n{}", lines.join("\n")))
}

impl Cache {
    /// The answer to the question with this key, if there is one that is still good.
    pub(super) fn get(&self, key: &str, now: Instant) -> Option<Answer> {
        let entry = self.entries.get(key)?;
        (now < entry.until).then(|| entry.answer.clone())
    }

    /// Keeps `answer` for as long as it says that it is good.
    pub(super) fn put(&mut self, key: String, answer: &Answer, now: Instant) {
        self.forget(&key);
        let Some(time) = freshness(answer) else { return };
        let headers = answer.headers.iter().map(|(name, it)| name.as_str().len() + it.len());
        let bytes = ENTRY_BYTES + 2 * key.len() + answer.body.len() + headers.sum::<usize>();
        if bytes > BYTES_MAX {
            return;
        }
        while self.bytes + bytes > BYTES_MAX {
            let Some((number, oldest)) = self.order.pop_front() else { break };
            if self.entries.get(&oldest).is_some_and(|entry| entry.number == number) {
                self.forget(&oldest);
            }
        }
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.order.push_back((number, key.clone()));
        let (answer, until) = (answer.clone(), now + time);
        self.entries.insert(key, Entry { number, answer, until, bytes });
    }

    fn forget(&mut self, key: &str) {
        if let Some(old) = self.entries.remove(key) {
            self.bytes -= old.bytes;
            self.order.retain(|(number, _)| *number != old.number);
        }
    }
}

/// How long `answer` may be given again.
fn freshness(answer: &Answer) -> Option<Duration> {
    let headers = &answer.headers;
    let is_plain = answer.status == StatusCode::OK.as_u16() && !headers.contains_key(SET_COOKIE);
    let varies = |value: &HeaderValue| value.as_bytes().contains(&b'*');
    if !is_plain || headers.get_all(VARY).iter().any(varies) {
        return None;
    }
    let mut max_age = None;
    for directive in directives(headers) {
        match directive.split_once('=') {
            None if matches!(directive.as_str(), "no-store" | "no-cache" | "private") => {
                return None;
            }
            Some(("no-cache" | "private", _)) => return None,
            Some(("max-age", value)) => max_age = value.trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok());
    let left = Duration::from_secs(max_age?.saturating_sub(age.unwrap_or(0)));
    (!left.is_zero()).then(|| left.min(AGE_MAX))
}

/// What the headers say about keeping, in small letters.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|it| it.trim().to_ascii_lowercase())
}
