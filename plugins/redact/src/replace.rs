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
    pub(crate) fn part(&self, detector: Detector, found: &str) -> String {
        match self.action {
            Replacement::Mask => mask(detector, found),
            Replacement::Hash => self.hash(found),
            Replacement::Remove => String::new(),
        }
    }

    /// For a whole field; `None` if it is to go.
    pub(crate) fn field(&self, content: &str) -> Option<String> {
        match self.action {
            Replacement::Mask => {
                let detector = detect::whole(content);
                Some(detector.map_or_else(|| MASK.to_owned(), |it| mask(it, content)))
            }
            Replacement::Hash => Some(self.hash(content)),
            Replacement::Remove => None,
        }
    }

    /// For a JSON number, if it is something to detect: JSON.
    pub(crate) fn number(&self, detectors: &[Detector], number: &str) -> Option<String> {
        if !detectors.contains(&Detector::Card) || detect::whole(number) != Some(Detector::Card) {
            return None;
        }
        Some(match self.action {
            Replacement::Remove => "null".to_owned(),
            Replacement::Mask | Replacement::Hash => {
                format!("\"{}\"", self.part(Detector::Card, number))
            }
        })
    }

    fn hash(&self, value: &str) -> String {
        let digest = self.salted.clone().chain_update(value).finalize();
        digest[..HASH_BYTES].iter().fold(String::new(), |mut hash, byte| {
            for half in [byte >> 4, byte & 0xf] {
                hash.push(char::from_digit(half.into(), 16).expect("half a byte is one digit"));
            }
            hash
        })
    }
}

impl fmt::Debug for Replacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacer").field("action", &self.action).finish_non_exhaustive()
    }
}

fn mask(detector: Detector, found: &str) -> String {
    match detector {
        Detector::Email => {
            let (local, domain) = found.rsplit_once('@').unwrap_or((found, ""));
            let is_long = local.chars().count() >= LOCAL_SHOWN_MIN;
            let first = local.chars().next().filter(|_| is_long);
            format!("{}{MASK}@{domain}", first.map(String::from).unwrap_or_default())
        }
        Detector::Card => {
            let digits = found.chars().filter(char::is_ascii_digit).count();
            let mut passed = 0;
            let masked = found.chars().map(|character| {
                passed += usize::from(character.is_ascii_digit());
                let is_hidden = character.is_ascii_digit() && passed + CARD_SHOWN <= digits;
                if is_hidden { '*' } else { character }
            });
            masked.collect()
        }
        Detector::Ipv4 => {
            let network: Vec<&str> = found.split('.').take(2).collect();
            format!("{}.*.*", network.join("."))
        }
        Detector::Ipv6 => {
            let network: Vec<&str> = found.split(':').take(2).collect();
            format!("{}:*", network.join(":"))
        }
    }
}
