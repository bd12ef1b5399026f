//! Asks the admin API of a running daemon: one request, one connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::Exit;
use crate::tasks::Tasks;

/// How long the daemon may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to answer; more than any request keeps it busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(150);
/// Largest answer; the admin API pages what may be larger.
const ANSWER_MAX: usize = 256 << 20;

/// The admin API at an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    address: SocketAddr,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer to work with.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// Nobody answers there.
    #[error("no daemon answers at {0}: {1}; is it running, and is that its admin address?")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// It takes too long.
    #[error("the daemon at {0} does not answer in time")]
    TimedOut(SocketAddr),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// Whoever answers is no daemon of this version.
    #[error("what answers at {0} is no weir daemon of this version: {1}")]
    Foreign(SocketAddr, String),
    /// What was answered cannot be printed.
    #[error("the answer cannot be printed: {0}")]
    Print(#[from] io::Error),
}

impl ClientError {
    /// The exit code that it amounts to.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable(..) => Exit::Unreachable,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Refused(_) => Exit::Refused,
            Self::Foreign(..) => Exit::GaveUp,
            // Who reads no further has what they wanted.
            Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Print(_) => Exit::GaveUp,
        }
    }
}

/// What the daemon says about a request that it refuses.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Asks for `path`, and reads the JSON of the answer.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
    ) -> Result<T, ClientError> {
        let reply = self.send(method, path)?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| ClientError::Foreign(self.address, error.to_string()))
    }

    /// Asks for `path` and waits for the whole answer.
    pub(super) fn send(&self, method: &str, path: &str) -> Result<Reply, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ClientError::Unreachable(self.address, error))?;
        let answer = async { timeout(ANSWER_LIMIT, self.exchange(method, path)).await };
        runtime.block_on(answer).unwrap_or(Err(ClientError::TimedOut(self.address)))
    }

    async fn exchange(&self, method: &str, path: &str) -> Result<Reply, ClientError> {
        let foreign =
            |error: &dyn std::fmt::Display| ClientError::Foreign(self.address, error.to_string());
        let connected = timeout(CONNECT_LIMIT, TcpStream::connect(self.address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|error| ClientError::Unreachable(self.address, error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| foreign(&error))?;
        // Ends with the answer, at the latest with the command.
        drop(Tasks::default().spawn(connection));
        let request = Request::builder().method(method).uri(path);
        let request = request.header(HOST, self.address.to_string()).body(Body::empty());
        let request = request.map_err(|error| foreign(&error))?;
        let reply = sender.send_request(request).await.map_err(|error| foreign(&error))?;
        let (head, body) = reply.into_parts();
        let body = to_bytes(Body::new(body), ANSWER_MAX).await.map_err(|error| foreign(&error))?;
        if head.status.is_success() {
            return Ok(Reply { headers: head.headers, body });
        }
        match serde_json::from_slice(&body) {
            Ok(Problem { detail }) => Err(ClientError::Refused(detail)),
            Err(_) => Err(foreign(&format_args!("status {}", head.status))),
        }
    }
}
