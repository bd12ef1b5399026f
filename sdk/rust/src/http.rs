//! Requests to servers elsewhere. A step grants each of them by name:
//! `grants = ["http:api.example.com"]` for `https://api.example.com`.
//!
//! ```
//! # use weir_plugin::{Failure, http};
//! # use std::time::Duration;
//! fn plan_of(user: &str) -> Result<String, Failure> {
//!     let url = format!("https://api.example.com/plans/{user}");
//!     let response = http::get(url).timeout(Duration::from_millis(200)).send()?;
//!     Ok(response.text()?.to_owned())
//! }
//! ```
//!
//! The pipeline waits for each request, up to `limits.http` for all of a batch, so ask for many
//! events at once where the server lets you. Answers with `Cache-Control: max-age` are kept by the
//! daemon and given again. There are no requests in [`configure`](crate::Plugin::configure).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::action::Failure;
#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::http as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fakes::http as host;

/// A request to be sent.
#[must_use = "a request is nothing until it is sent"]
pub struct Request(host::Request);

/// What a server answered, whatever the status; redirects are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, their names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no response. As a [`Failure`] it is one that may pass by itself, but for
/// [`Denied`](Self::Denied).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The step does not grant the server, its address is private, or the request is not allowed.
    Denied,
    /// There was no whole response in time.
    Timeout,
    /// The request or the response is larger than the step allows.
    TooLarge,
    /// The batch has spent its time or its number of requests.
    BudgetExhausted,
    /// Nobody answers, or not as expected.
    Transport(String),
}

/// A request for what is at `url`.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A request that sends `body`.
pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", url).body(body)
}

impl Request {
    /// A request without headers and body, for as long as the batch has time.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        let (method, url) = (method.to_owned(), url.into());
        let (headers, body, timeout_ms) = (Vec::new(), None, 0);
        Self(host::Request { method, url, headers, body, timeout_ms })
    }

    /// Adds a header. Those that cut messages, such as `content-length`, and `host` are denied.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = Some(body.into());
        self
    }

    /// Sets how long it may take; what is left to the batch is the most in any case.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        self
    }

    /// Sends it and waits for the response.
    ///
    /// # Errors
    /// If there is none.
    pub fn send(self) -> Result<Response, Error> {
        let sent = host::send(&self.0).map_err(Error::from)?;
        Ok(Response { status: sent.status, headers: sent.headers, body: sent.body })
    }
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(known, it)| known.eq_ignore_ascii_case(name).then_some(it.as_str()))
    }

    /// The body as text.
    ///
    /// # Errors
    /// A failure that may pass by itself, if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Failure::transient(format!("the response is not UTF-8: {error}")))
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// A failure that may pass by itself, if it is not JSON or not of this shape.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::transient(format!("the response is not as expected: {error}"))
        })
    }
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied => Self::Denied,
            host::Error::Timeout => Self::Timeout,
            host::Error::TooLarge => Self::TooLarge,
            host::Error::BudgetExhausted => Self::BudgetExhausted,
            host::Error::Transport(why) => Self::Transport(why),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied => Self::internal(error.to_string()),
            _ => Self::transient(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("the request is not granted to this step"),
            Self::Timeout => f.write_str("the server did not answer in time"),
            Self::TooLarge => f.write_str("the request or the response is too large"),
            Self::BudgetExhausted => f.write_str("the batch has no requests or no time left"),
            Self::Transport(why) => write!(f, "the request failed: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without headers, which may hold credentials.
        f.debug_struct("Request").field("method", &self.0.method).finish_non_exhaustive()
    }
}
