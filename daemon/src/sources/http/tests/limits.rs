//! Bodies that are too large, too slow, or not what they say.

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Site;

const LINES: &str = "content-type: application/x-ndjson\r\n";

async fn all(mut encoder: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoder.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn compressed_bodies_are_read_once() {
    let site = Site::new("").await;
    let text = r#"{"a":"compressed"}"#.as_bytes();
    for (encoding, body) in [
        ("gzip", all(GzipEncoder::new(text)).await),
        ("x-gzip", all(GzipEncoder::new(text)).await),
        ("zstd", all(ZstdEncoder::new(text)).await),
        ("br", all(BrotliEncoder::new(text)).await),
        ("deflate", all(ZlibEncoder::new(text)).await),
        ("identity", text.to_vec()),
    ] {
        let reply = site.post(&format!("content-encoding: {encoding}\r\n"), &body).await;
        assert_eq!(reply.status, 200, "{encoding}: {}", reply.body);
        if encoding != "identity" {
            let cut = &body[..body.len() - 3];
            let reply = site.post(&format!("content-encoding: {encoding}\r\n"), cut).await;
            reply.is_problem(400, "bad_request");
            let doubled = [body.as_slice(), b"trailing"].concat();
            let reply = site.post(&format!("content-encoding: {encoding}\r\n"), doubled).await;
            reply.is_problem(400, "bad_request");
        }
    }
    assert!(site.taken(|event| event.data() == text).into_iter().all(|is_same| is_same));
    assert_eq!(site.balance().delivered, 6);
}

#[tokio::test]
async fn bombs_do_not_go_off() {
    let site = Site::new("").await;
    let zeros = vec![b'0'; 16 << 20];
    for (encoding, body) in [
        ("gzip", all(GzipEncoder::new(zeros.as_slice())).await),
        ("zstd", all(ZstdEncoder::new(zeros.as_slice())).await),
        ("br", all(BrotliEncoder::new(zeros.as_slice())).await),
        ("deflate", all(ZlibEncoder::new(zeros.as_slice())).await),
    ] {
        let reply = site.post(&format!("content-encoding: {encoding}\r\n"), &body).await;
        reply.is_problem(413, "too_large");
    }
    let once = all(GzipEncoder::new(zeros.as_slice())).await;
    let twice = all(GzipEncoder::new(once.as_slice())).await;
    let reply = site.post("content-encoding: gzip, gzip\r\n", &twice).await;
    reply.is_problem(415, "unsupported");
    assert_eq!(reply.header("accept-encoding"), Some("gzip, zstd, br, deflate"));
    let reply = site.post("content-encoding: gzip\r\ncontent-encoding: gzip\r\n", &twice).await;
    reply.is_problem(415, "unsupported");
    site.post("content-encoding: compress\r\n", "{}").await.is_problem(415, "unsupported");
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let site = Site::new("max_body = \"1KiB\"").await;
    let reply = site.post("", vec![b' '; 4 << 20]).await;
    reply.is_problem(413, "too_large");
    assert_eq!(reply.header("connection"), Some("close"));
    let announced = "POST /in HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999\r\n";
    site.ask(announced, b"").await.is_problem(413, "too_large");
    let chunked = "POST /in HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n";
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
    site.ask(chunked, chunk.repeat(64).as_bytes()).await.is_problem(413, "too_large");
    let fits = format!("{}7", " ".repeat(1_023));
    assert_eq!(site.post("", fits).await.status, 200);
}

#[tokio::test]
async fn a_request_holds_so_many_events_and_an_event_so_many_bytes() {
    let site = Site::new("max_events = 3\nmax_event = \"8B\"").await;
    site.post(LINES, "1\n2\n3\n4").await.is_problem(413, "too_large");
    let reply = site.post(LINES, "1\n123456789\n3").await;
    assert_eq!(reply.status, 207);
    assert!(reply.body.contains("\"too_large\""), "{}", reply.body);
    site.post("", "123456789").await.is_problem(413, "too_large");
    assert_eq!(site.balance().received, 2);
}

#[tokio::test]
async fn a_body_arrives_in_any_pieces() {
    let site = Site::new("").await;
    let chunked = "POST /in HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n";
    let body = b"3\r\n{\"a\r\n1\r\n\"\r\n4;ext=1\r\n: 1}\r\n0\r\ntrailer: x\r\n\r\n";
    assert_eq!(site.ask(chunked, body).await.status, 200);
    let large = format!("\"{}\"", "x".repeat(200_000));
    assert_eq!(site.post("", &large).await.status, 200);
    let taken = site.taken(|event| event.data().to_vec());
    assert_eq!(taken, [br#"{"a": 1}"#.to_vec(), large.into_bytes()]);
    let broken = site.ask(chunked, b"3\r\n{\"a\r\nXYZ\r\n").await;
    broken.is_problem(400, "bad_request");
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let site = Site::new("body_timeout = \"50ms\"").await;
    let head = "POST /in HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n";
    let reply = site.ask(head, b"{").await;
    reply.is_problem(408, "too_slow");
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(site.balance().received, 0);
}

#[tokio::test]
async fn only_post_publishes() {
    let site = Site::new("").await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        let reply = site.ask(&format!("{method} /in HTTP/1.1\r\nhost: h\r\n"), b"").await;
        reply.is_problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("POST, OPTIONS"));
    }
    site.post("", "").await.is_problem(400, "bad_request");
    site.post_to("/elsewhere", "", "{}").await.is_problem(404, "not_found");
}
