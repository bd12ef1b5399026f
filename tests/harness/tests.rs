//! The harness against servers that answer by the book, so that a failing test blames the daemon.

use std::net::SocketAddr;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::audience::{Audience, Dialect};
use crate::{Connection, Subscriber, within};

/// Answers each request on one connection with the next of `replies`, byte by byte.
async fn canned(replies: &'static [&'static str]) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody connects");
        for reply in replies {
            read_head(&mut stream).await;
            for byte in reply.as_bytes() {
                stream.write_all(&[*byte]).await.expect("the reader is there");
            }
        }
    });
    (address, server)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
}

#[tokio::test]
async fn replies_are_read_in_any_pieces() {
    let replies = &[
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-A: b\r\n\r\n{}",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 207 Multi\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"\r\n5;x=y\r\na\":1}\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nno!",
    ];
    let (address, _server) = canned(replies).await;
    let mut connection = Connection::open(address).await.expect("it listens");
    let mut call = async || connection.call("GET", "/", &[], b"").await.expect("a reply");
    let first = call().await;
    assert_eq!((first.status(), first.text().as_str()), (200, "{}"));
    assert_eq!(first.header("x-a"), Some("b"));
    let second = call().await;
    assert_eq!((second.status(), second.json()), (207, json!({"a": 1})));
    assert_eq!(call().await.status(), 204);
    let request = crate::http::request("GET", "/", &[], b"");
    assert_eq!(connection.exchange(&request).await.expect("a reply"), 503);
    assert!(within("the end", connection.is_closed()).await);
}

#[tokio::test]
async fn an_event_stream_is_read_to_its_end() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
        1d\r\nevent: welcome\nid: e.1\ndata: \r\n4\r\n{}\n\n\r\n8\r\n: hush\n\n\r\n\
        34\r\nid: e.2\ndata: {\"channel\":\"a\",\"event\":{\"data\":[1]}}\n\n\r\n0\r\n\r\n";
    let (address, _server) = canned(Box::leak(Box::new([stream]))).await;
    let mut page = Subscriber::sse(address, "/", &[]).await;
    assert_eq!(page.cursor(), "e.1");
    assert_eq!(page.expect("[1]").await["channel"], "a");
    assert_eq!(page.cursor(), "e.2");
    assert_eq!(page.next().await, None);
}

/// Speaks the subprotocol that was asked for.
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let name = "sec-websocket-protocol";
    if let Some(protocol) = request.headers().get(name) {
        response.headers_mut().insert(name, protocol.clone());
    }
    Ok(response)
}

#[tokio::test]
async fn a_frame_may_hold_many_objects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let mut server = JoinSet::new();
    server.spawn(async move {
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.expect("somebody connects");
            let mut socket = accept_hdr_async(stream, agree).await.expect("a handshake");
            let texts = [
                "{\"type\":\"welcome\",\"cursor\":\"e.1\"}",
                "{\"type\":\"subok\"}",
                "{\"type\":\"event\",\"event\":{\"data\":\"~1\"}}\n{\"type\":\"ping\"}\n{\"type\":\"event\",\"event\":{\"data\":\"~2\"}}\n",
            ];
            for text in texts {
                socket.send(Message::text(text)).await.expect("the reader is there");
            }
            let frame = CloseFrame { code: 1012.into(), reason: "drain".into() };
            socket.close(Some(frame)).await.expect("the reader is there");
        }
    });
    let mut page = Subscriber::websocket(address, "/").await;
    page.frame("subok").await;
    page.expect("\"~1\"").await;
    page.expect("\"~2\"").await;
    assert_eq!(page.next().await, None);
    assert_eq!(page.close_code(), Some(1012));

    let audience = Audience::open(address, 1, &Dialect::websocket("main", &["a"]), b'~').await;
    audience.receives(2).await;
    audience.leave().await;
}
