//! The keys that tokens are signed with: one secret, or a JWK set (RFC 7517).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::SECRET_LEN_MIN;
use crate::net::ClientError;

/// Largest JWK set.
pub(super) const LEN_MAX: u64 = 256 << 10;

/// Keys in one set.
const KEYS_MAX: usize = 64;

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// They cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] ClientError),
    /// It is too large.
    #[error("a set of keys has at most {KEYS_MAX} keys and {LEN_MAX} bytes")]
    Large,
    /// It is no set of keys.
    #[error("this is no JWK set, an object with an array `keys`")]
    Malformed,
    /// Nothing in it can check a signature.
    #[error("no key in it is for RS256, EdDSA or HS256")]
    Useless,
}

/// A set of keys.
#[derive(PartialEq)]
pub(super) struct Keys(Vec<Key>);

/// One key, which makes one kind of signature.
pub(super) struct Key {
    name: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// What it was read from, to see whether it has changed.
    text: Value,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        let key = DecodingKey::from_secret(secret);
        Self(vec![Key { name: None, algorithm: Algorithm::HS256, key, text: Value::Null }])
    }

    /// What is known before the first set has been fetched.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read(file: &Path) -> Result<Self, KeysError> {
        let mut text = Vec::new();
        File::open(file)?.take(LEN_MAX + 1).read_to_end(&mut text)?;
        Self::parse(&text)
    }

    /// The keys of a set that are of use here; what else is in it is for others.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeysError> {
        if text.len() as u64 > LEN_MAX {
            return Err(KeysError::Large);
        }
        let set: Set = serde_json::from_slice(text).map_err(|_error| KeysError::Malformed)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeysError::Large);
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(Key::new).collect();
        if keys.is_empty() { Err(KeysError::Useless) } else { Ok(Self(keys)) }
    }

    /// The keys that may have signed a token which names its key so. One that names none, and keys
    /// without a name, may be any.
    pub(super) fn named(&self, name: Option<&str>) -> impl Iterator<Item = &Key> {
        let is_meant = move |key: &&Key| {
            name.is_none_or(|name| key.name.as_deref().is_none_or(|known| known == name))
        };
        self.0.iter().filter(is_meant)
    }
}

impl Key {
    fn new(text: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(text.clone()).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
            return None;
        }
        if let AlgorithmParameters::OctetKey(parameters) = &jwk.algorithm
            && parameters.value.len() * 3 / 4 < SECRET_LEN_MIN
        {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let (algorithm, name) = match key.family() {
            AlgorithmFamily::Hmac => (Algorithm::HS256, KeyAlgorithm::HS256),
            AlgorithmFamily::Rsa => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmFamily::Ed => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
            AlgorithmFamily::Ec => return None,
        };
        let is_ours = jwk.common.key_algorithm.as_ref().is_none_or(|own| *own == name);
        is_ours.then_some(Self { name: jwk.common.key_id, algorithm, key, text })
    }
}
