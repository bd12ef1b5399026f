//! What the daemon asks of servers elsewhere: one exchange over HTTP or HTTPS, bounded in time and
//! bytes.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::{Request, StatusCode, Uri, http};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use thiserror::Error;
use tokio::time::timeout;

/// How long the whole exchange may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Why an exchange did not do what it should.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers, or not as HTTP and TLS have it.
    #[error("nobody answers as expected: {0}")]
    Exchange(String),
    /// It took too long.
    #[error("no whole answer came within {} s", LIMIT.as_secs())]
    Slow,
    /// A status that is no success. Redirects are not followed: who is asked is who answers.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// The system has no certificates to trust.
    #[error("the system's certificates cannot be read: {0}")]
    Certificates(std::io::Error),
}

/// Asks servers; trusts what the system trusts.
#[derive(Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl HttpClient {
    /// Reads the system's certificates.
    ///
    /// # Errors
    /// If there are none.
    pub fn new() -> Result<Self, ClientError> {
        let builder = HttpsConnectorBuilder::new();
        let builder = builder.with_provider_and_native_roots(ring::default_provider());
        let connector =
            builder.map_err(ClientError::Certificates)?.https_or_http().enable_http1().build();
        // Exchanges are rare: no connection is kept for the next.
        let mut client = Client::builder(TokioExecutor::new());
        Ok(Self { client: client.pool_max_idle_per_host(0).build(connector) })
    }

    /// The document at `url`, if it has at most `len_max` bytes.
    ///
    /// # Errors
    /// Why not.
    pub async fn get(&self, url: &Uri, len_max: usize) -> Result<Bytes, ClientError> {
        let exchange = async {
            let body = self.exchange(Request::get(url).body(Body::empty())).await?;
            let body = to_bytes(body, len_max).await;
            body.map_err(|error| ClientError::Exchange(chain(&error)))
        };
        timeout(LIMIT, exchange).await.unwrap_or(Err(ClientError::Slow))
    }

    /// Sends `request`, of whose answer only the status counts.
    ///
    /// # Errors
    /// If it was not taken.
    pub async fn send(&self, request: http::Result<Request<Body>>) -> Result<(), ClientError> {
        timeout(LIMIT, self.exchange(request)).await.unwrap_or(Err(ClientError::Slow)).map(drop)
    }

    async fn exchange(&self, request: http::Result<Request<Body>>) -> Result<Body, ClientError> {
        let request = request.map_err(|error| ClientError::Exchange(error.to_string()))?;
        let sent = self.client.request(request).await;
        let reply = sent.map_err(|error| ClientError::Exchange(chain(&error)))?;
        if !reply.status().is_success() {
            return Err(ClientError::Status(reply.status()));
        }
        Ok(Body::new(reply.into_body()))
    }
}

/// `url` as logs may show it: a query may hold a secret.
pub fn shown(url: &Uri) -> String {
    format!("{}{}", url.authority().map_or("", |host| host.as_str()), url.path())
}

/// An error with what caused it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
