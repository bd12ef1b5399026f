//! JSON Web Tokens (RFC 7519): what a subscriber shows to say what it may do.
//!
//! A token comes in, its [`Claims`] or the reason to refuse it go out. A key decides which algorithm
//! its tokens have; what the token says about that is only compared, so `none` and a public key taken
//! for a secret never pass.

mod keys;
mod refresh;
mod ring;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hyper::Uri;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Notify;

use self::keys::Keys;
use crate::tasks::{Stop, Tasks};

pub use self::keys::KeysError;

/// Longest token that is looked at.
pub const TOKEN_LEN_MAX: usize = 8 << 10;

/// Shortest secret: as many bytes as the signatures that it makes (RFC 7518, 3.2).
pub const SECRET_LEN_MIN: usize = 32;

/// How far an issuer's clock may be ahead.
const SKEW: f64 = 60.0;

/// What a token must say beside its signature and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Who must have issued it, if that matters.
    pub issuer: Option<String>,
    /// For whom it must be, if that matters.
    pub audience: Option<String>,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Whom it is about.
    pub subject: Option<String>,
    /// What others may know of it, as JSON.
    pub info: Option<String>,
    /// The channels and patterns that its bearer may subscribe to.
    pub channels: Vec<String>,
    /// The types of events that its bearer may publish, and patterns of them.
    pub publish: Vec<String>,
    /// Until when it is good.
    pub until: SystemTime,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is no token at all, or says things in another form than expected.
    #[error("this is no JSON Web Token that is read here")]
    Malformed,
    /// No key makes such signatures, as with `none`.
    #[error("the token is signed in a way that is not taken here")]
    Algorithm,
    /// The key that it names is not known.
    #[error("no known key has signed the token")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// The keys have not been fetched yet.
    #[error("the keys that tokens are checked with are not known yet")]
    NoKeys,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It has not begun.
    #[error("the token is not valid yet")]
    Early,
    /// It is not from the issuer, or for the audience, that is asked for.
    #[error("the token is of another issuer or for another audience")]
    Foreign,
}

/// The claims on the wire.
#[derive(Debug, Deserialize)]
struct Body {
    sub: Option<String>,
    info: Option<serde_json::Value>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
    exp: f64,
    nbf: Option<f64>,
}

/// Checks tokens.
pub struct Verifier {
    keys: ArcSwap<Keys>,
    origin: Origin,
    terms: Terms,
    /// Told when a token names a key that is not known.
    wanted: Notify,
}

/// Where keys come from.
#[derive(Debug)]
enum Origin {
    Settings,
    File(PathBuf),
    Url(Uri),
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys may be secrets.
        f.debug_struct("Verifier")
            .field("origin", &self.origin)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Checks tokens that are signed with `secret` (HS256).
    pub fn of_secret(secret: &[u8], terms: Terms) -> Self {
        Self::new(Keys::of_secret(secret), Origin::Settings, terms)
    }

    /// Checks tokens that are signed with a key of the JWK set in `file` (RS256, `EdDSA`, HS256).
    ///
    /// # Errors
    /// If the file cannot be read or holds no such key.
    pub fn of_file(file: &Path, terms: Terms) -> Result<Self, KeysError> {
        Ok(Self::new(Keys::read(file)?, Origin::File(file.to_owned()), terms))
    }

    /// Checks tokens that are signed with a key of the JWK set at `url`, once it has been fetched.
    pub fn of_url(url: Uri, terms: Terms) -> Self {
        Self::new(Keys::none(), Origin::Url(url), terms)
    }

    fn new(keys: Keys, origin: Origin, terms: Terms) -> Self {
        static CRYPTOGRAPHY: Once = Once::new();
        CRYPTOGRAPHY.call_once(|| {
            ring::PROVIDER.install_default().expect("nobody else installs one");
        });
        Self { keys: ArcSwap::from_pointee(keys), origin, terms, wanted: Notify::new() }
    }

    /// Reads the keys again whenever they change, until `stop` is asked.
    pub fn start(self: &Arc<Self>, tasks: &Tasks, stop: &Stop) {
        let (verifier, stop) = (Arc::clone(self), stop.clone());
        match self.origin {
            Origin::Settings => {}
            Origin::File(_) | Origin::Url(_) => drop(tasks.spawn(refresh::run(verifier, stop))),
        }
    }

    /// What `token` says.
    ///
    /// # Errors
    /// If it is not good now.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|error| refusal(error.kind()))?;
        let keys = self.keys.load();
        if keys.is_empty() {
            return Err(TokenError::NoKeys);
        }
        let mut verdict = TokenError::UnknownKey;
        for key in keys.named(header.kid.as_deref()) {
            if key.algorithm != header.alg {
                verdict = TokenError::Algorithm;
                continue;
            }
            let validation = self.validation(header.alg);
            match decode::<Body>(token, &key.key, &validation) {
                Ok(data) => return claims(data.claims),
                Err(error) => verdict = refusal(error.kind()),
            }
            // Another key of the set may have made it.
            if verdict != TokenError::Signature {
                break;
            }
        }
        if verdict == TokenError::UnknownKey {
            self.wanted.notify_one();
        }
        Err(verdict)
    }

    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_aud = self.terms.audience.is_some();
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.terms.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.terms.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

fn claims(body: Body) -> Result<Claims, TokenError> {
    let now = get_current_timestamp() as f64;
    if body.nbf.is_some_and(|nbf| nbf > now + SKEW) {
        return Err(TokenError::Early);
    }
    // What is beyond the clock is as good as never.
    let until = Duration::try_from_secs_f64(body.exp).ok();
    let until = until.and_then(|until| SystemTime::UNIX_EPOCH.checked_add(until));
    let until = until.ok_or(TokenError::Malformed)?;
    let info = body.info.map(|info| info.to_string());
    let Body { sub: subject, channels, publish, .. } = body;
    Ok(Claims { subject, info, channels, publish, until })
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::Early,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenError::Foreign,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::MissingAlgorithm => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}
