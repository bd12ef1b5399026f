//! Deadlines, caps, reloads and drains.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{NEVER, PATIENCE, Site, reply, rest, routes};
use crate::net::{Cut, Deadlines, ListenerLimits};

const SHORT: Duration = Duration::from_millis(50);
const HELLO: &[u8] = b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello";
const OPEN_ENDED: Deadlines = Deadlines { head: NEVER, idle: NEVER, write: NEVER };

async fn site(deadlines: Deadlines) -> Site {
    Site::with(ListenerLimits { connections_max: 100, deadlines }).await
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            yield_now().await;
        }
    };
    within(wait).await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

#[tokio::test]
async fn a_slow_head_is_answered_408() {
    let site = site(Deadlines { head: SHORT, ..OPEN_ENDED }).await;
    let told = site.talk(b"GET /echo HTTP/1.1\r\nhost:").await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    let silent = site.talk(b"").await;
    assert!(silent.starts_with("HTTP/1.1 408 "), "{silent}");
    assert_eq!(site.stats.cuts(Cut::SlowHead), 2);
    until(|| site.stats.open() == 0).await;
}

#[tokio::test]
async fn a_second_head_has_its_own_deadline() {
    let site = site(Deadlines { head: SHORT, ..OPEN_ENDED }).await;
    let mut stream = site.connect().await;
    stream.write_all(HELLO).await.unwrap();
    reply(&mut stream, "hello").await;
    stream.write_all(b"POST /ec").await.unwrap();
    let told = rest(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let site = site(Deadlines { idle: SHORT, ..OPEN_ENDED }).await;
    let mut busy = site.connect().await;
    busy.write_all(b"GET /quiet HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let mut stream = site.connect().await;
    stream.write_all(HELLO).await.unwrap();
    let told = rest(&mut stream).await;
    assert!(told.ends_with("hello"), "{told}");
    assert_eq!(site.stats.cuts(Cut::Idle), 1);
    assert_eq!(site.stats.open(), 1);
}

#[tokio::test]
async fn a_publisher_that_reads_no_reply_is_cut() {
    let site = site(Deadlines { write: SHORT, ..OPEN_ENDED }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1_024).unwrap();
    let mut stream = socket.connect(site.address).await.unwrap();
    stream.write_all(b"GET /forever HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    until(|| site.stats.cuts(Cut::SlowRead) == 1 && site.stats.open() == 0).await;
}

#[tokio::test]
async fn connections_over_the_cap_are_told_so() {
    let site = Site::with(ListenerLimits { connections_max: 1, deadlines: OPEN_ENDED }).await;
    let mut first = site.connect().await;
    first.write_all(HELLO).await.unwrap();
    reply(&mut first, "hello").await;
    let told = site.talk(b"").await;
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after"), "{told}");
    assert_eq!(site.stats.refused(), 1);
    drop(first);
    until(|| site.stats.open() == 0).await;
    let mut second = site.connect().await;
    second.write_all(HELLO).await.unwrap();
    reply(&mut second, "hello").await;
}

#[tokio::test]
async fn routes_change_under_an_open_connection() {
    let site = Site::new().await;
    let mut stream = site.connect().await;
    stream.write_all(HELLO).await.unwrap();
    reply(&mut stream, "hello").await;
    site.routes.store(Arc::new(routes(&["/other"])));
    stream.write_all(HELLO).await.unwrap();
    let gone =
        b"POST /other HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nconnection: close\r\n\r\nnew";
    stream.write_all(gone).await.unwrap();
    let told = rest(&mut stream).await;
    assert!(told.contains(" 404 ") && told.contains("not_found"), "{told}");
    assert!(told.ends_with("new"), "{told}");
    let replies: Vec<_> = site.stats.replies().collect();
    assert_eq!(replies, [(200, 2), (404, 1)]);
}

#[tokio::test]
async fn requests_may_be_pipelined() {
    let site = Site::new().await;
    let last =
        b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let told = site.talk(&[HELLO, HELLO, last].concat()).await;
    assert_eq!(told.matches("HTTP/1.1 200 ").count(), 3, "{told}");
    assert_eq!(site.stats.requests(), 3);
}

#[tokio::test]
async fn a_drain_answers_what_is_at_hand_and_closes_the_rest() {
    let site = Site::new().await;
    let mut idle = site.connect().await;
    idle.write_all(HELLO).await.unwrap();
    reply(&mut idle, "hello").await;
    let mut busy = site.connect().await;
    busy.write_all(&HELLO[..HELLO.len() - 1]).await.unwrap();
    until(|| site.stats.requests() == 2).await;
    site.stopper.ask();
    assert_eq!(rest(&mut idle).await, "");
    busy.write_all(b"o").await.unwrap();
    let told = rest(&mut busy).await;
    assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("hello"), "{told}");
    assert!(told.contains("connection: close"), "{told}");
    drop((idle, busy));
    assert_eq!(site.tasks.ended(PATIENCE).await, 0);
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn a_reply_arrives_although_the_body_is_not_read() {
    let site = Site::new().await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", 8 << 20);
    let mut stream = site.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let sent = stream.write_all(&vec![b'x'; 200 << 10]).await;
    drop(sent);
    let told = rest(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("larger"), "{told}");
}
