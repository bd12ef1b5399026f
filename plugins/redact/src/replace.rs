//! What takes the place of what was found.

use std::fmt;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::detect::{self, Detector};

/// How many bytes of a hash are shown, as two hexadecimal digits each: enough to tell billions of
/// values apart, and short enough to read.
const HASH_BYTES: usize = 8;
/// What masks a value without a shape to hint at.
const MASK: &str = "***";
/// How many digits of a card number a mask shows, as receipts do.
const CARD_SHOWN: usize = 4;
/// From how many characters before the `@` on a mask shows the first.
const LOCAL_SHOWN_MIN: usize = 3;

/// The `action` of the config.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Replacement {
    /// A mask that hints at the shape.
    #[default]
    Mask,
    /// A salted hash, the same for the same value.
    Hash,
    /// Nothing.
    Remove,
}

/// Makes what takes the place of values.
pub(crate) struct Replacer {
    action: Replacement,
    /// The hash of the salt, to go on from.
    salted: Sha256,
}

impl Replacer {
    pub(crate) fn new(action: Replacement, salt: &str) -> Self {
        Self { action, salted: Sha256::new_with_prefix(salt) }
    }

    /// For a part of a text.
    pub(crate) fn part(&self, detector: Detector, found: &str, out: &mut String) {
        match self.action {
            Replacement::Mask => mask(detector, found, out),
            Replacement::Hash => self.hash(found, out),
            Replacement::Remove => {}
        }
    }

    /// Whether whole fields are taken away.
    pub(crate) fn removes(&self) -> bool {
        self.action == Replacement::Remove
    }

    /// For a whole field that stays.
    pub(crate) fn field(&self, content: &str, out: &mut String) {
        match self.action {
            Replacement::Mask => match detect::whole(content) {
                Some(detector) => mask(detector, content, out),
                None => out.push_str(MASK),
            },
            Replacement::Hash => self.hash(content, out),
            Replacement::Remove => {}
        }
    }

    /// For a JSON number, if it is something to detect: JSON.
    pub(crate) fn number(&self, detectors: &[Detector], number: &str) -> Option<String> {
        if !detectors.contains(&Detector::Card) || detect::whole(number) != Some(Detector::Card) {
            return None;
        }
        if self.action == Replacement::Remove {
            return Some("null".to_owned());
        }
        let mut quoted = "\"".to_owned();
        self.part(Detector::Card, number, &mut quoted);
        quoted.push('"');
        Some(quoted)
    }

    fn hash(&self, value: &str, out: &mut String) {
        let digest = self.salted.clone().chain_update(value).finalize();
        for byte in &digest[..HASH_BYTES] {
            for half in [byte >> 4, byte & 0xf] {
                out.push(char::from_digit(half.into(), 16).expect("half a byte is one digit"));
            }
        }
    }
}

impl fmt::Debug for Replacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacer").field("action", &self.action).finish_non_exhaustive()
    }
}

fn mask(detector: Detector, found: &str, out: &mut String) {
    match detector {
        Detector::Email => {
            let at = found.bytes().rposition(|byte| byte == b'@').unwrap_or(found.len());
            let (local, domain) = found.split_at(at);
            if local.chars().nth(LOCAL_SHOWN_MIN - 1).is_some() {
                out.extend(local.chars().next());
            }
            out.push_str(MASK);
            out.push_str(domain);
        }
        Detector::Card => {
            let digits = found.chars().filter(char::is_ascii_digit).count();
            let mut passed = 0;
            out.extend(found.chars().map(|character| {
                passed += usize::from(character.is_ascii_digit());
                let is_hidden = character.is_ascii_digit() && passed + CARD_SHOWN <= digits;
                if is_hidden { '*' } else { character }
            }));
        }
        Detector::Ipv4 => {
            for part in found.split('.').take(2) {
                out.push_str(part);
                out.push('.');
            }
            out.push_str("*.*");
        }
        Detector::Ipv6 => {
            for part in found.split(':').take(2) {
                out.push_str(part);
                out.push(':');
            }
            out.push('*');
        }
    }
}
