//! Bytes that two parsers could read as different requests.

use super::Site;
use crate::net::Cut;

/// What follows each case; answered only if a parser takes the case for shorter than it is.
const SECOND: &str = "GET /second HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// Requests that are ambiguous or broken: each is refused, or read as one request and then closed.
const CASES: [(&str, &str); 40] = [
    ("CL and TE", "content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE and CL", "transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n"),
    ("two CL that differ", "content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    ("a list of CL that differ", "content-length: 1, 2\r\n\r\nab"),
    ("a signed CL", "content-length: +1\r\n\r\na"),
    ("a negative CL", "content-length: -1\r\n\r\na"),
    ("a hexadecimal CL", "content-length: 0x1\r\n\r\na"),
    ("a CL with a space", "content-length: 1 1\r\n\r\na"),
    ("an empty CL", "content-length: \r\n\r\n"),
    ("a CL beyond 64 bits", "content-length: 99999999999999999999\r\n\r\n"),
    ("a space before the colon", "content-length : 1\r\n\r\na"),
    ("a tab before the colon", "content-length\t: 1\r\n\r\na"),
    ("an obsolete fold", "x: a\r\n b\r\n\r\n"),
    ("a fold of the length", "content-length:\r\n 5\r\n\r\nabcde"),
    ("a header without a colon", "nonsense\r\n\r\n"),
    ("a header without a name", ": x\r\n\r\n"),
    ("a bare CR in a header", "x: a\rb\r\n\r\n"),
    ("a NUL in a header", "x: a\0b\r\n\r\n"),
    ("a NUL in a name", "x\0: a\r\n\r\n"),
    ("TE that is not chunked", "transfer-encoding: gzip\r\n\r\n"),
    ("TE identity", "transfer-encoding: identity\r\n\r\n"),
    ("TE where chunked is not last", "transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("TE with a vertical tab", "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("TE in quotes", "transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("TE with a suffix", "transfer-encoding: chunkedx\r\n\r\n0\r\n\r\n"),
    ("TE with a parameter", "transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    ("a chunk size that is no number", "transfer-encoding: chunked\r\n\r\nxyz\r\n"),
    ("a chunk size with 0x", "transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"),
    ("a negative chunk size", "transfer-encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n"),
    ("a signed chunk size", "transfer-encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n"),
    ("a chunk size that overflows", "transfer-encoding: chunked\r\n\r\n10000000000000001\r\na\r\n"),
    ("a chunk longer than its size", "transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size with a bare LF", "transfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"),
    ("a chunk with a bare LF", "transfer-encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n"),
    ("an extension with a bare LF", "transfer-encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n"),
    ("a chunk without a size", "transfer-encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n"),
    ("a size with a space before", "transfer-encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n"),
    (
        "a second TE that says less",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    ("a trailer without a colon", "transfer-encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n"),
    ("a TE of HTTP/1.0 style", "transfer-encoding: \r\n\r\n0\r\n\r\n"),
];

/// Requests that are broken in their first line.
const LINES: [&str; 10] = [
    "GET /echo\r\n\r\n",
    "GET /echo HTTP/2.0\r\n\r\n",
    "GET /echo HTTP/1.1x\r\n\r\n",
    "GET  /echo HTTP/1.1\r\n\r\n",
    "G\0T /echo HTTP/1.1\r\n\r\n",
    "GET /ec ho HTTP/1.1\r\n\r\n",
    "GET /e\x7fcho HTTP/1.1\r\n\r\n",
    " GET /echo HTTP/1.1\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n",
];

#[tokio::test]
async fn ambiguous_requests_are_refused_or_closed_after_one_reply() {
    let site = Site::new().await;
    for (name, case) in CASES {
        let request = format!("POST /echo HTTP/1.1\r\nhost: h\r\n{case}{SECOND}");
        let told = site.talk(request.as_bytes()).await;
        let replies = told.matches("HTTP/1.1 ").count();
        assert_eq!(replies, 1, "{name}: {told}");
        assert!(!told.contains(" 404 "), "{name}: {told}");
    }
    let old = format!("POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SECOND}");
    assert!(site.talk(old.as_bytes()).await.contains(" 400 "));
}

#[tokio::test]
async fn broken_request_lines_are_refused() {
    let site = Site::new().await;
    for line in LINES {
        let told = site.talk(line.as_bytes()).await;
        // Who opens with HTTP/2 would not understand an answer.
        let is_closed = line.starts_with("PRI") && told.is_empty();
        assert!(is_closed || told.starts_with("HTTP/1.1 400 "), "{line:?}: {told}");
    }
    assert_eq!(site.stats.requests(), 0);
    assert_eq!(site.stats.cuts(Cut::Malformed), LINES.len() as u64 - 1);
}

#[tokio::test]
async fn a_bare_lf_never_makes_two_requests_of_one() {
    let site = Site::new().await;
    let request = "POST /echo HTTP/1.1\nhost: h\ncontent-length: 5\nconnection: close\n\nabcde";
    let told = site.talk(request.as_bytes()).await;
    assert!(told.matches("HTTP/1.1 ").count() <= 1, "{told}");
}

#[tokio::test]
async fn equal_lengths_said_twice_are_one() {
    let site = Site::new().await;
    let lengths = "content-length: 1\r\ncontent-length: 1\r\nconnection: close\r\n\r\na";
    let told = site.talk(format!("POST /echo HTTP/1.1\r\nhost: h\r\n{lengths}").as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("\r\n\r\na"), "{told}");
}

#[tokio::test]
async fn heads_are_bounded() {
    let site = Site::new().await;
    let many = "x: y\r\n".repeat(101);
    let told = site.talk(format!("GET /echo HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
    let large = format!("GET /echo HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(17 << 10));
    assert!(site.talk(large.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let endless = format!("GET /echo HTTP/1.1\r\nx: {}", "y".repeat(100 << 10));
    assert!(site.talk(endless.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let target = "a".repeat(9 << 10);
    let long = format!("GET /{target} HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert!(site.talk(long.as_bytes()).await.starts_with("HTTP/1.1 414 "));
}
