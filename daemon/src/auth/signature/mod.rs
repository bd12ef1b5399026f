//! Signatures of the Pusher protocol: HMAC-SHA256 in hexadecimal, compared in constant time.
//!
//! An application's server signs what a client may subscribe to, and its own requests.

use std::fmt;
use std::fmt::Write as _;

use hmac::{Hmac, Mac as _};
use hyper::Method;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use thiserror::Error;
use url::form_urlencoded;

/// How old or young a signed request may be, in seconds.
const WINDOW: u64 = 600;

/// The only version of request signatures there is.
const VERSION: &str = "1.0";

/// Longest query that is read.
const QUERY_LEN_MAX: usize = 8 << 10;

/// A secret that is shared with an application's server.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret, so that it is never printed.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// The signature of `parts`, one after the other.
    pub fn sign(&self, parts: &[&[u8]]) -> String {
        hex(&self.mac(parts).finalize().into_bytes())
    }

    /// Whether `signature` is that of `parts`.
    pub fn verifies(&self, parts: &[&[u8]], signature: &str) -> bool {
        unhex(signature).is_some_and(|bytes| self.mac(parts).verify_slice(&bytes).is_ok())
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes());
        let mut mac = mac.expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What an application's server and the daemon know each other by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the application; public.
    pub key: String,
    /// Known to the application's server and the daemon only.
    pub secret: Secret,
}

impl Credentials {
    /// Whether `auth`, as in `key:signature`, is for `parts`, joined by `:`.
    ///
    /// # Errors
    /// Whether the key or the signature is another.
    pub fn check(&self, auth: &str, parts: &[&str]) -> Result<(), SignatureError> {
        let (key, signature) = auth.split_once(':').ok_or(SignatureError::Malformed)?;
        if key != self.key {
            return Err(SignatureError::Key);
        }
        if !self.secret.verifies(&[parts.join(":").as_bytes()], signature) {
            return Err(SignatureError::Mismatch);
        }
        Ok(())
    }
}

/// Why a signature does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// A parameter is missing.
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    /// Not `key:signature`.
    #[error("`auth` is not `key:signature`")]
    Malformed,
    /// Made with the key of another app.
    #[error("the key is that of no app here")]
    Key,
    /// Another version of signatures.
    #[error("`auth_version` is not {VERSION}")]
    Version,
    /// Too long ago, or not yet.
    #[error("`auth_timestamp` is more than {WINDOW} s from the daemon's time")]
    Timestamp,
    /// Not the body that was signed.
    #[error("`body_md5` is not that of the body")]
    Body,
    /// Not the query that was signed.
    #[error("the query is too long")]
    Query,
    /// Made with another secret, or for something else.
    #[error("the signature is not valid")]
    Mismatch,
}

/// A request to the HTTP API.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path as it was signed, percent-encoded as it came.
    pub path: &'a str,
    /// Its query.
    pub query: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// Checks the signature; `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, credentials: &Credentials, now: u64) -> Result<(), SignatureError> {
        if self.query.len() > QUERY_LEN_MAX {
            return Err(SignatureError::Query);
        }
        let mut parameters: Vec<(String, _)> = form_urlencoded::parse(self.query.as_bytes())
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        parameters.sort();
        let find = |wanted: &'static str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| &**value).ok_or(SignatureError::Missing(wanted))
        };
        if find("auth_key")? != credentials.key {
            return Err(SignatureError::Key);
        }
        if find("auth_version")? != VERSION {
            return Err(SignatureError::Version);
        }
        let time: u64 =
            find("auth_timestamp")?.parse().map_err(|_not_a_number| SignatureError::Timestamp)?;
        if time.abs_diff(now) > WINDOW {
            return Err(SignatureError::Timestamp);
        }
        match find("body_md5") {
            Ok(digest) if digest.eq_ignore_ascii_case(&hex(&Md5::digest(self.body))) => {}
            Err(_) if self.body.is_empty() => {}
            Ok(_) => return Err(SignatureError::Body),
            Err(missing) => return Err(missing),
        }
        let mut text = format!("{}\n{}\n", self.method, self.path);
        let signed = parameters.iter().filter(|(name, _)| name != "auth_signature");
        for (index, (name, value)) in signed.enumerate() {
            let comma = if index == 0 { "" } else { "&" };
            write!(text, "{comma}{name}={value}").expect("a string takes everything");
        }
        let signature = find("auth_signature")?;
        let is_valid = credentials.secret.verifies(&[text.as_bytes()], signature);
        is_valid.then_some(()).ok_or(SignatureError::Mismatch)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
