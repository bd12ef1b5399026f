//! Good tokens are taken, and nothing else is.

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::keys::{Keys, KeysError};
use super::{Claims, Origin, Terms, TokenError, Verifier};
use crate::tasks::{Stopper, Tasks};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// An RSA key of 2,048 bits; nobody has its other half.
const MODULUS: &str = concat!(
    "riNKAW-wPn0UwTPBD4D7vodc08r9uqfEhpUaZwSm3VtHlfdhLANlZFWugxF4U-N4R4jlrVNRaJ_z1ReB8Io_UL",
    "Vshdi-0sWZq8zmrc6P2X2MxYOeuMJvv8sN8BsJ6lKv9lU0Z5l-3Wt8aoiaWkfKqC2p7LK6RmHYIdmUcFAwQnXd",
    "D-20l5p8MjCmc_sNuHdTzVQ_fLUOgeMtlDu4Ze_jKLfQh0vho_XmPblyFMu56VJqGc37FDKUMRLrSxosoEIed6",
    "TipljDFoDkW6-muQ0KRPLoZUZTJAjCBfuAOMGOTHHLr__c5iQiD7bmaZvOwtYRof-W3Xhpdb46ox7JfAodaQ",
);

/// What it signed for `ada`, until the year 2100.
const RS256: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhZGEiLCJjaGFubmVscyI6WyJvcmRlcnMiXSwiZ",
    "XhwIjo0MTAyNDQ0ODAwfQ.Z28HXDJ_jGW9rTd5Myiq9Cz7PoXW_xDgzTcJoeEkw84VLwzt3RRzdi1LyWu20oca",
    "XczwQh2FYy9aW7ej43IUJqIfSZlSTdPc5Rz4jp4gBmOmMwXuxcsX9ZbHxDohaabBbY1XmHyDa5u8oRz_fX9Mj1",
    "Y8yjOAxgy_aKBXQZ_fYhsPjFL3lu9vdWknb252eEKQIIFnrN-zQjVmY2ES53HsAORZEz1pXaK6E-_c0NfkmIXM",
    "iJ9cf2mLF374ZWyWlloePTgG4qt845AwjAP3HNpA3QC8MdcqPv86BnLXyeEwv9dwFcNEJKypxTHMak92737xRp",
    "qm2u2V3PiSnf8Iq6Vmxg",
);

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn with_secret(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn hs256(claims: &Value) -> String {
    token(&json!({"alg": "HS256"}), claims, |message| with_secret(SECRET, message))
}

fn verifier() -> Verifier {
    Verifier::of_secret(SECRET, Terms::default())
}

fn of_set(set: &Value) -> Verifier {
    Verifier::new(
        Keys::parse(set.to_string().as_bytes()).unwrap(),
        Origin::Settings,
        Terms::default(),
    )
}

fn pair() -> Ed25519KeyPair {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap()
}

fn eddsa(kid: &str, pair: &Ed25519KeyPair) -> String {
    let claims = json!({"channels": ["a"], "exp": in_seconds(60)});
    let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
    token(&json!({"alg": "EdDSA", "kid": kid}), &claims, sign)
}

fn ed_jwk(kid: &str, pair: &Ed25519KeyPair) -> Value {
    let x = encode(pair.public_key());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
}

fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": MODULUS, "e": "AQAB"})
}

#[test]
fn a_secret_signs() {
    let exp = in_seconds(60);
    let token = hs256(&json!({"sub": "ada", "channels": ["a", "b.*"], "exp": exp, "more": [1]}));
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(exp.unsigned_abs());
    let channels = vec!["a".to_owned(), "b.*".to_owned()];
    let publish = Vec::new();
    let expected = Claims { subject: Some("ada".to_owned()), info: None, channels, publish, until };
    assert_eq!(verifier().verify(&token), Ok(expected));
}

#[test]
fn keys_of_a_set_sign() {
    let pair = pair();
    let verifier = of_set(&json!({"keys": [rsa_jwk(), ed_jwk("ed", &pair), {"kty": "EC"}]}));
    assert_eq!(verifier.verify(RS256).unwrap().subject.as_deref(), Some("ada"));
    assert_eq!(verifier.verify(&eddsa("ed", &pair)).unwrap().channels, ["a"]);
    assert_eq!(verifier.verify(&eddsa("other", &pair)), Err(TokenError::UnknownKey));
    assert_eq!(verifier.verify(&eddsa("rsa", &pair)), Err(TokenError::Algorithm));
    assert_eq!(verifier.verify(&eddsa("ed", &self::pair())), Err(TokenError::Signature));
}

#[test]
fn what_is_not_signed_as_it_must_be_is_refused() {
    let claims = json!({"channels": ["**"], "exp": in_seconds(60)});
    let sign = |message: &[u8]| with_secret(SECRET, message);
    for alg in ["none", "None", "HS1", "nOnE"] {
        let none = token(&json!({ "alg": alg }), &claims, |_| Vec::new());
        let refused = verifier().verify(&none).unwrap_err();
        assert!(matches!(refused, TokenError::Malformed | TokenError::Algorithm), "{alg}");
    }
    for alg in ["HS384", "HS512", "RS256", "EdDSA"] {
        let other = token(&json!({ "alg": alg }), &claims, sign);
        assert_eq!(verifier().verify(&other), Err(TokenError::Algorithm), "{alg}");
    }
    // A public key is no secret.
    let public = URL_SAFE_NO_PAD.decode(MODULUS).unwrap();
    let forged = token(&json!({"alg": "HS256", "kid": "rsa"}), &claims, |message| {
        with_secret(&public, message)
    });
    let set = of_set(&json!({"keys": [rsa_jwk()]}));
    assert_eq!(set.verify(&forged), Err(TokenError::Algorithm));
    let forged = token(&json!({"alg": "HS256"}), &claims, |message| with_secret(b"guess", message));
    assert_eq!(verifier().verify(&forged), Err(TokenError::Signature));
    // One bit of the claims.
    let good = hs256(&claims);
    let (head, tail) = good.split_once('.').unwrap();
    let changed = encode(json!({"channels": ["**"], "exp": in_seconds(600)}).to_string());
    let (_, signature) = tail.split_once('.').unwrap();
    let changed = format!("{head}.{changed}.{signature}");
    assert_eq!(verifier().verify(&changed), Err(TokenError::Signature));
    let long = "a".repeat(9_000);
    for odd in ["", "a", "a.b", "a.b.c", "....", "\u{0}.\u{0}.\u{0}", &long] {
        assert_eq!(verifier().verify(odd), Err(TokenError::Malformed), "{odd:.20}");
    }
}

#[test]
fn claims_bound_a_token() {
    let verify = |claims: Value| verifier().verify(&hs256(&claims)).map(|_claims| ());
    assert_eq!(verify(json!({"exp": in_seconds(-1)})), Err(TokenError::Expired));
    assert_eq!(verify(json!({"channels": ["a"]})), Err(TokenError::Malformed), "it never ends");
    let soon = json!({"exp": in_seconds(999), "nbf": in_seconds(500)});
    assert_eq!(verify(soon), Err(TokenError::Early));
    assert_eq!(verify(json!({"exp": in_seconds(9), "nbf": in_seconds(5)})), Ok(()));
    for odd in [json!("soon"), json!(null), json!(1e300), json!([1])] {
        assert!(verify(json!({ "exp": odd })).is_err(), "{odd}");
    }
    assert_eq!(verify(json!({"exp": in_seconds(9), "channels": "a"})), Err(TokenError::Malformed));
    let terms = |issuer: Option<&str>, audience: Option<&str>| Terms {
        issuer: issuer.map(str::to_owned),
        audience: audience.map(str::to_owned),
    };
    let strict = Verifier::of_secret(SECRET, terms(Some("us"), Some("weir")));
    let good = json!({"exp": in_seconds(9), "iss": "us", "aud": ["x", "weir"]});
    assert!(strict.verify(&hs256(&good)).is_ok());
    let foreign = json!({"exp": in_seconds(9), "iss": "them", "aud": "weir"});
    assert_eq!(strict.verify(&hs256(&foreign)), Err(TokenError::Foreign));
    let silent = json!({"exp": in_seconds(9), "iss": "us"});
    assert!(strict.verify(&hs256(&silent)).is_err());
}

#[test]
fn a_set_without_a_useful_key_is_none() {
    let parse = |text: &str| Keys::parse(text.as_bytes()).err();
    assert!(matches!(parse("[]"), Some(KeysError::Malformed)));
    assert!(matches!(parse(r#"{"keys":[{"kty":"EC"}]}"#), Some(KeysError::Useless)));
    let short = r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#;
    assert!(matches!(parse(short), Some(KeysError::Useless)));
    let many = json!({"keys": vec![rsa_jwk(); 65]}).to_string();
    assert!(matches!(parse(&many), Some(KeysError::Large)));
    let debug = format!("{:?}", verifier());
    assert!(!debug.contains("0123"), "{debug}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_changes_the_keys() {
    let file = std::env::temp_dir().join(format!("weir-keys-{:016x}.json", fastrand::u64(..)));
    let (old, new) = (pair(), pair());
    fs::write(&file, json!({"keys": [ed_jwk("1", &old)]}).to_string()).unwrap();
    let verifier = std::sync::Arc::new(Verifier::of_file(&file, Terms::default()).unwrap());
    let (tasks, stopper) = (Tasks::default(), Stopper::default());
    verifier.start(&tasks, &stopper.stop());
    assert!(verifier.verify(&eddsa("1", &old)).is_ok());
    fs::write(&file, "half wri").unwrap();
    tokio::time::sleep(2 * super::refresh::LOOK).await;
    assert!(verifier.verify(&eddsa("1", &old)).is_ok(), "broken keys change nothing");
    fs::write(&file, json!({"keys": [ed_jwk("2", &new)]}).to_string()).unwrap();
    tokio::time::sleep(2 * super::refresh::LOOK).await;
    assert!(verifier.verify(&eddsa("2", &new)).is_ok(), "the new key is taken");
    assert_eq!(verifier.verify(&eddsa("1", &old)), Err(TokenError::UnknownKey));
    stopper.ask();
    assert_eq!(tasks.ended(Duration::from_secs(10)).await, 0);
    fs::remove_file(&file).unwrap();
}
