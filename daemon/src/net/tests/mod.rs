//! The listener against raw sockets: what it reads as a request, and how long it waits; files.

mod assets;
mod patience;
mod smuggling;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    BodyLimits, Deadlines, Endpoint, Listener, ListenerLimits, ListenerStats, Mount, Peer, Reply,
    ReplyFuture, Request, Routes, SharedRoutes, problem, read_body,
};
use crate::budget::Lease;
use crate::tasks::{Stopper, Tasks};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Deadlines that do not come in a test.
const NEVER: Duration = Duration::from_secs(600);

/// Answers with the body that it read, or for ever on `/forever`.
#[derive(Debug)]
struct Echo;

impl Endpoint for Echo {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        Box::pin(async move {
            if request.uri().path() == "/forever" {
                let piece = Bytes::from(vec![b'x'; 64 << 10]);
                let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
                return Reply::new(Body::from_stream(endless));
            }
            if request.uri().path() == "/quiet" {
                return Reply::new(Body::from_stream(stream::pending::<std::io::Result<Bytes>>()));
            }
            let (head, body) = request.into_parts();
            let mut lease = Lease::new(&Arc::default());
            match read_body(&head.headers, body, &BodyLimits::default(), &mut lease).await {
                Ok(body) => Reply::new(Body::from(body)),
                Err(error) => problem(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
            }
        })
    }
}

/// A listener that serves `Echo` at `/echo`, `/forever` and `/quiet`.
struct Site {
    address: SocketAddr,
    routes: SharedRoutes,
    stats: Arc<ListenerStats>,
    tasks: Tasks,
    stopper: Stopper,
}

fn routes(paths: &[&str]) -> Routes {
    let mut routes = Routes::default();
    for path in paths {
        let listener = "test".to_owned();
        let is_free =
            routes.add(Mount { listener, path: (*path).to_owned(), endpoint: Arc::new(Echo) });
        assert!(is_free);
    }
    routes
}

impl Site {
    async fn new() -> Self {
        let deadlines = Deadlines { head: NEVER, idle: NEVER, write: NEVER };
        Self::with(ListenerLimits { connections_max: 100, deadlines }).await
    }

    async fn with(limits: ListenerLimits) -> Self {
        let routes = Arc::new(ArcSwap::from_pointee(routes(&["/echo", "/forever", "/quiet"])));
        let listener = Listener::bind("test", "127.0.0.1:0").await.unwrap().with_limits(limits);
        let (address, stats) = (listener.local_addr().unwrap(), listener.stats());
        let (tasks, stopper) = (Tasks::default(), Stopper::default());
        listener.serve(Arc::clone(&routes), &tasks, stopper.stop());
        Self { address, routes, stats, tasks, stopper }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that comes back for `bytes` until the listener closes. Does not close itself.
    async fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The listener may have closed already.
        drop(stream.write_all(bytes).await);
        rest(&mut stream).await
    }
}

/// What still comes until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut reply)).await.unwrap();
    drop(read);
    String::from_utf8_lossy(&reply).into_owned()
}

/// One whole reply with this body from a connection that stays open.
async fn reply(stream: &mut TcpStream, body: &str) -> String {
    let mut reply = Vec::new();
    let end = format!("\r\n\r\n{body}");
    let read = async {
        while !reply.ends_with(end.as_bytes()) {
            assert!(stream.read_buf(&mut reply).await.unwrap() > 0, "closed early");
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(reply).unwrap()
}
