//! The vectors of the protocol's documentation, and what a forger might try.

use hyper::Method;

use super::{Credentials, Secret, SignatureError, Signed};

const BODY: &[u8] = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
                     &body_md5=ec365a775a4cd0599faeb73354201b6f\
                     &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
const NOW: u64 = 1_353_088_179;

fn credentials() -> Credentials {
    let secret = Secret::new("7ad3773142a6692b25b8");
    Credentials { key: "278d425bdf160c739803".to_owned(), secret }
}

fn check(query: &str, body: &[u8], now: u64) -> Result<(), SignatureError> {
    let signed = Signed { method: &Method::POST, path: "/apps/3/events", query, body };
    signed.check(&credentials(), now)
}

#[test]
fn what_the_documentation_signs_is_valid() {
    assert_eq!(check(QUERY, BODY, NOW), Ok(()));
    let check = |signature: &str, parts: &[&str]| {
        credentials().check(&format!("278d425bdf160c739803:{signature}"), parts)
    };
    let private = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
    assert_eq!(check(private, &["1234.1234", "private-foobar"]), Ok(()));
    let user = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
    assert_eq!(check(user, &["1234.1234", "", "user", "", r#"{"id":"12345"}"#]), Ok(()));
    let replayed = check(private, &["1234.1235", "private-foobar"]);
    assert_eq!(replayed, Err(SignatureError::Mismatch));
}

#[test]
fn what_was_not_signed_is_refused() {
    use SignatureError::{Body, Key, Mismatch, Missing, Timestamp, Version};
    assert_eq!(check(QUERY, BODY, NOW + 600), Ok(()));
    assert_eq!(check(QUERY, BODY, NOW + 601), Err(Timestamp));
    assert_eq!(check(QUERY, BODY, NOW - 601), Err(Timestamp));
    assert_eq!(check(QUERY, b"{}", NOW), Err(Body));
    assert_eq!(check("", BODY, NOW), Err(Missing("auth_key")));
    assert_eq!(check(&format!("{QUERY}&info=a"), BODY, NOW), Err(Mismatch));
    for (from, to, error) in [
        ("auth_key=2", "auth_key=3", Key),
        ("auth_version=1.0", "auth_version=2.0", Version),
        ("auth_timestamp=1353088179", "auth_timestamp=1353088178", Mismatch),
        ("auth_timestamp=1353088179", "auth_timestamp=soon", Timestamp),
        ("&body_md5", "&body_md4", Missing("body_md5")),
        ("auth_signature=d", "auth_signature=e", Mismatch),
        ("auth_signature=da", "auth_signature=g", Mismatch),
        ("&auth_signature", "&signature", Missing("auth_signature")),
    ] {
        assert_eq!(check(&QUERY.replace(from, to), BODY, NOW), Err(error), "{to}");
    }
}

#[test]
fn a_request_without_a_body_needs_no_digest_and_may_have_one() {
    let signed = |query: &str| {
        let text = format!("GET\n/apps/3/channels\n{query}");
        let signature = credentials().secret.sign(&[text.as_bytes()]);
        let query = format!("{query}&auth_signature={signature}");
        let path = "/apps/3/channels";
        Signed { method: &Method::GET, path, query: &query, body: b"" }.check(&credentials(), NOW)
    };
    let plain = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0";
    assert_eq!(signed(plain), Ok(()));
    assert_eq!(signed(&format!("{plain}&body_md5=d41d8cd98f00b204e9800998ecf8427e")), Ok(()));
    assert_eq!(signed(&format!("{plain}&body_md5=00")), Err(SignatureError::Body));
    assert_eq!(signed(&format!("{plain}&info=a,b")), Ok(()), "values are signed decoded");
}

#[test]
fn a_secret_is_never_printed() {
    assert!(!format!("{:?}", credentials()).contains("7ad3773142a6692b25b8"));
}
