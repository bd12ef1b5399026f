//! JSON Web Tokens as an application's server makes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// A token that says `claims`, signed with `secret`.
pub fn hs256(secret: &str, claims: &Value) -> String {
    sign(secret, &json!({"alg": "HS256", "typ": "JWT"}), claims)
}

/// A token that says `claims`, signed with `secret`, which is called `kid` in a set of keys.
pub fn hs256_of(kid: &str, secret: &str, claims: &Value) -> String {
    sign(secret, &json!({"alg": "HS256", "kid": kid}), claims)
}

/// A set of keys with one, called `kid`.
pub fn key_set(kid: &str, secret: &str) -> Value {
    json!({"keys": [{"kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(secret)}]})
}

fn sign(secret: &str, header: &Value, claims: &Value) -> String {
    let signed = head(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token that says `claims` and that nobody signed.
pub fn unsigned(claims: &Value) -> String {
    format!("{}.", head(&json!({"alg": "none"}), claims))
}

fn head(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
