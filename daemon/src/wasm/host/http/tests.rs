//! Which servers a grant names, and which answers are given again.

use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use tokio::time::Instant;

use super::Origin;
use super::cache::{self, Cache};
use crate::net::{Answer, Question};

fn admits(grant: &str, url: &str) -> bool {
    Origin::of_url(&url.parse().unwrap()) == Some(Origin::of(grant).unwrap())
}

#[test]
fn a_grant_is_one_scheme_host_and_port() {
    let https = "http:api.example.com";
    assert!(admits(https, "https://api.example.com/v1?x=y"));
    assert!(admits(https, "https://API.Example.com:443"));
    assert!(admits("http:https://api.example.com", "https://api.example.com/"));
    assert!(admits("http:api.example.com:8443", "https://api.example.com:8443/"));
    assert!(admits("http:http://10.0.0.5:8080", "http://10.0.0.5:8080/x"));
    assert!(admits("http:http://localhost", "http://localhost/"));
    assert!(admits("http:[::1]:81", "https://[0:0::1]:81/"));
    for url in [
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://example.com/",
        "https://x.api.example.com/",
        "https://api.example.com./",
        "https://api.example.com@evil.com/",
        "https://evil@api.example.com/",
        "/v1",
        "ftp://api.example.com/",
    ] {
        assert!(!admits(https, url), "{url}");
    }
}

#[test]
fn a_grant_that_names_no_server_says_why() {
    for (grant, why) in [
        ("http:", "no host"),
        ("http:http://", "no host"),
        ("http:ftp://a", "only `http://`"),
        ("http:a.com/path", "a path"),
        ("http:*.a.com", "a pattern"),
        ("http:user@a.com", "a user"),
        ("http:a.com:", "no port"),
        ("http:a.com:99999", "no port"),
        ("http:a b", "no host and port"),
        ("http:[::1", "no host and port"),
        ("http:[zz]", "neither"),
        ("http:a!b", "neither"),
    ] {
        let error = Origin::of(grant).unwrap_err();
        assert!(error.contains(why), "{grant}: {error}");
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn question(method: Method, pairs: &[(&'static str, &str)]) -> Question {
    Question {
        method,
        url: "https://a.example/x".parse().unwrap(),
        headers: headers(pairs),
        body: Bytes::new(),
        time: Duration::ZERO,
        len_max: 0,
    }
}

fn answer(body: &str, pairs: &[(&'static str, &str)]) -> Answer {
    Answer { status: 200, headers: headers(pairs), body: Bytes::from(body.to_owned()) }
}

#[test]
fn an_answer_is_kept_for_as_long_as_it_says() {
    let now = Instant::now();
    let kept = |pairs: &[(&'static str, &str)]| {
        let mut cache = Cache::default();
        cache.put("k".to_owned(), &answer("x", pairs), now);
        let is_there = |seconds| cache.get("k", now + Duration::from_secs(seconds)).is_some();
        (0..200_000).step_by(10).take_while(|seconds| is_there(*seconds)).count() * 10
    };
    assert_eq!(kept(&[("cache-control", "public, Max-Age=60")]), 60);
    assert_eq!(kept(&[("cache-control", "max-age=60"), ("age", "20")]), 40);
    assert_eq!(kept(&[("cache-control", "max-age=99999999")]), 24 * 60 * 60);
    for pairs in [
        &[][..],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "max-age=-1")],
        &[("cache-control", "max-age=60, no-store")],
        &[("cache-control", "private"), ("cache-control", "max-age=60")],
        &[("cache-control", "no-cache=\"a\", max-age=60")],
        &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
        &[("cache-control", "max-age=60"), ("age", "60")],
    ] {
        assert_eq!(kept(pairs), 0, "{pairs:?}");
    }
}

#[test]
fn only_the_same_question_gets_a_kept_answer() {
    let key = |method, pairs: &[(&'static str, &str)]| cache::key(&question(method, pairs));
    assert!(key(Method::POST, &[]).is_none());
    assert!(key(Method::GET, &[("cache-control", "no-cache")]).is_none());
    let plain = key(Method::GET, &[]).unwrap();
    assert_ne!(plain, key(Method::GET, &[("authorization", "a")]).unwrap());
    let (one, other) = (&[("a", "1"), ("b", "2")], &[("b", "2"), ("a", "1")]);
    assert_eq!(key(Method::GET, one), key(Method::GET, other));
}

#[test]
fn kept_answers_are_bounded_in_bytes() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let large = answer(&"x".repeat(1 << 20), &[("cache-control", "max-age=60")]);
    for key in ["a", "b", "a", "c", "d"] {
        cache.put(key.to_owned(), &large, now);
    }
    // Four do not fit; the oldest goes first, and what was put again is not old.
    let there = ["a", "b", "c", "d"].map(|key| cache.get(key, now).is_some());
    assert_eq!(there, [true, false, true, true]);
    let huge = answer(&"x".repeat(5 << 20), &[("cache-control", "max-age=60")]);
    cache.put("a".to_owned(), &huge, now);
    assert!(cache.get("a", now).is_none(), "the old answer is wrong, the new one too large");
}
