//! What plugins ask of servers elsewhere: one pool of connections, on a thread of its own.
//!
//! Whoever asks blocks until there is an answer, for as long as the question says, so there are at
//! most as many questions as threads that ask. Nothing here runs beside what serves publishers.
//! Which servers may be asked is decided by whoever asks; which addresses their names may have,
//! here: public ones only, but for `localhost` and addresses that the URL names itself.

mod resolve;
mod special;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::HOST;
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::crypto::ring;
use tokio::runtime;
use tokio::time::timeout;
use tracing::warn;

use self::resolve::{Named, ResolveError, resolved};
use super::client::chain;
use crate::tasks::Tasks;

/// Questions that wait for the thread to see them: each holds a thread that asks, of which there
/// are fewer.
const WAITING_MAX: usize = 1024;

/// Connections that are kept to each server, and for how long.
const IDLE_MAX: usize = 8;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Most bytes and headers of an answer before its body.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;

/// How much longer than a question says its thread waits for word of it.
const GRACE: Duration = Duration::from_millis(250);

/// The way out; everybody who asks shares it. Its thread starts with the first question.
#[derive(Default)]
pub struct Outbound {
    /// Absent where the system gives no thread.
    jobs: OnceLock<Option<tokio::sync::mpsc::Sender<Job>>>,
}

/// A request and its bounds.
#[derive(Debug)]
pub struct Question {
    /// What is done.
    pub method: Method,
    /// To what; `http` or `https`.
    pub url: Uri,
    /// With these headers.
    pub headers: HeaderMap,
    /// And this body.
    pub body: Bytes,
    /// How long the whole exchange may take.
    pub time: Duration,
    /// How many bytes the body of the answer may have.
    pub len_max: usize,
}

/// A response, whatever its status. Redirects are answers like all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, as it was sent.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundError {
    /// The name of the server stands for an address that is not public.
    Private,
    /// No whole answer came in time.
    Slow,
    /// The answer is larger than it may be.
    TooLarge,
    /// Nobody answers, or not as HTTP and TLS have it.
    Exchange(String),
}

/// A question on its way, and who waits.
struct Job {
    question: Question,
    reply: mpsc::SyncSender<Result<Answer, OutboundError>>,
}

type Asking = Client<HttpsConnector<HttpConnector>, Body>;

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

impl Outbound {
    /// Asks and waits; not for a thread of the I/O runtime.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, question: Question) -> Result<Answer, OutboundError> {
        let nobody = || OutboundError::Exchange("the system gives no thread to ask with".into());
        let jobs = self.jobs.get_or_init(start).as_ref().ok_or_else(nobody)?;
        let limit = question.time + GRACE;
        let (reply, answer) = mpsc::sync_channel(1);
        jobs.try_send(Job { question, reply }).map_err(|_busy| OutboundError::Slow)?;
        answer.recv_timeout(limit).unwrap_or(Err(OutboundError::Slow))
    }
}

impl From<ResolveError> for OutboundError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Refused => Self::Private,
            error => Self::Exchange(error.to_string()),
        }
    }
}

/// Starts the thread that asks; it ends when nobody can ask any more.
fn start() -> Option<tokio::sync::mpsc::Sender<Job>> {
    let (sender, jobs) = tokio::sync::mpsc::channel(WAITING_MAX);
    // A group of its own: no drain waits for it.
    let started = Tasks::default().thread("weir-outbound".to_owned(), move || serve(jobs));
    started.inspect_err(|error| warn!(%error, "no thread for the requests of plugins")).ok()?;
    Some(sender)
}

fn serve(mut jobs: tokio::sync::mpsc::Receiver<Job>) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return warn!(%error, "no runtime for the requests of plugins"),
    };
    let tasks = Tasks::default();
    runtime.block_on(async {
        let client = client();
        while let Some(Job { question, reply }) = jobs.recv().await {
            let client = client.clone();
            drop(tasks.spawn(async move {
                let limit = question.time;
                let answer = timeout(limit, exchange(&client, question)).await;
                // Whoever asked may have given up.
                drop(reply.send(answer.unwrap_or(Err(OutboundError::Slow))));
            }));
        }
    });
    // A name may still be looked up, which cannot be cut short.
    runtime.shutdown_background();
}

fn client() -> Asking {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let provider = ring::default_provider();
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
    let builder = builder.unwrap_or_else(|error| {
        warn!(%error, "the system's certificates cannot be read; plugins cannot ask over https");
        let config = rustls::ClientConfig::builder_with_provider(ring::default_provider().into());
        let config = config.with_safe_default_protocol_versions().expect("ring has all of them");
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(config)
    });
    let builder = builder.https_or_http().with_server_name_resolver(Named);
    let connector = builder.enable_http1().wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HEAD_MAX)
        .http1_max_headers(HEADERS_MAX)
        .build(connector)
}

async fn exchange(client: &Asking, question: Question) -> Result<Answer, OutboundError> {
    let Question { method, url, mut headers, body, len_max, .. } = question;
    let host = url.authority().and_then(|authority| authority.as_str().parse().ok());
    headers.extend(host.map(|host| (HOST, host)));
    let mut failure = OutboundError::Private;
    for url in resolved(&url).await? {
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = method.clone();
        (*request.uri_mut(), *request.headers_mut()) = (url, headers.clone());
        match client.request(request).await {
            Ok(reply) => {
                let (head, body) = reply.into_parts();
                let body = collected(body, len_max).await?;
                return Ok(Answer { status: head.status.as_u16(), headers: head.headers, body });
            }
            // Nothing was sent, and another address may answer.
            Err(error) if error.is_connect() => failure = fault(&error),
            Err(error) => return Err(fault(&error)),
        }
    }
    Err(failure)
}

/// The whole body, if it has at most `len_max` bytes.
async fn collected(mut body: Incoming, len_max: usize) -> Result<Bytes, OutboundError> {
    if body.size_hint().lower() > len_max as u64 {
        return Err(OutboundError::TooLarge);
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| fault(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > len_max {
            return Err(OutboundError::TooLarge);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

fn fault(error: &dyn Error) -> OutboundError {
    OutboundError::Exchange(chain(error))
}
