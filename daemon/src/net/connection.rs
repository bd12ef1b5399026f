//! One connection: HTTP/1.1 from the handshake to its end, within its deadlines.
//!
//! A socket comes in; each request goes to the endpoint that the routes in force name. A reload
//! is not noticed here, a drain is: the request at hand is answered, then the connection closes.

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::Service;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::pace::{Deadlines, Pace, Phase, Socket};
use super::stats::{Cut, ListenerStats};
use super::{Peer, ReplyFuture, Request, SharedRoutes, problem};
use crate::budget::{Budget, Stage};

/// Largest head; many proxies send no larger ones either.
const HEAD_MAX: usize = 16 << 10;

/// Largest read buffer of a connection: a head, or a piece of a body.
const BUFFER_MAX: usize = 32 << 10;

/// Longest path and query.
const TARGET_MAX: usize = 8 << 10;

/// Between a reply and the next request while memory is tight.
const IDLE_TIGHT: Duration = Duration::from_secs(1);

/// What a connection is told whose head was too slow.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What all connections of one listener share.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) routes: SharedRoutes,
    pub(super) deadlines: Deadlines,
    pub(super) stats: Arc<ListenerStats>,
    pub(super) budget: Arc<Budget>,
    is_draining: AtomicBool,
    /// Told once when the drain begins; every connection waits for it.
    draining: Notify,
}

impl Site {
    pub(super) fn new(
        name: String,
        routes: SharedRoutes,
        deadlines: Deadlines,
        (stats, budget): (Arc<ListenerStats>, Arc<Budget>),
    ) -> Self {
        let is_draining = AtomicBool::new(false);
        Self { name, routes, deadlines, stats, budget, is_draining, draining: Notify::new() }
    }

    /// The deadlines in force: with little memory left, nobody keeps a connection for long unused.
    fn deadlines(&self) -> Deadlines {
        let Deadlines { head, idle, write } = self.deadlines;
        let is_tight = self.budget.stage() >= Stage::Tight;
        Deadlines { head, idle: if is_tight { idle.min(IDLE_TIGHT) } else { idle }, write }
    }

    /// Asks every connection to close after the request at hand.
    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
        self.draining.notify_waiters();
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<Site>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.closed();
    }
}

type Http = UpgradeableConnection<TokioIo<Socket>, Conversation>;

/// Speaks HTTP on `stream` until either end has enough.
pub(super) async fn converse(stream: TcpStream, peer: Peer, site: Arc<Site>) {
    site.stats.opened();
    let _open = Open(Arc::clone(&site));
    let pace = Arc::new(Pace::new());
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&pace)));
    let conversation = Conversation { site: Arc::clone(&site), pace: Arc::clone(&pace), peer };
    let mut http = Builder::new()
        // The pace keeps the deadlines, without a timer per request.
        .header_read_timeout(None)
        .max_header_size(HEAD_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(socket, conversation)
        .with_upgrades();
    match drive(&mut http, &pace, &site).await {
        End::Closed(Ok(())) => {}
        End::Closed(Err(error)) => {
            if error.is_parse() {
                site.stats.cut(Cut::Malformed);
            }
            debug!(%error, listener = site.name, "connection ended early");
        }
        End::Cut(cut) => {
            site.stats.cut(cut);
            if let (Cut::SlowHead, Some(parts)) = (cut, http.into_parts()) {
                parts.io.inner().last_words(TOO_SLOW);
            }
        }
    }
}

enum End {
    Closed(Result<(), hyper::Error>),
    Cut(Cut),
}

/// Runs the connection, watching its pace and the drain.
async fn drive(http: &mut Http, pace: &Pace, site: &Site) -> End {
    let mut drain =
        Drain { told: pin!(site.draining.notified()), is_waiting: false, is_over: false };
    let sleep = pin!(sleep_until(Instant::now() + site.deadlines.head));
    let mut alarm = Alarm { sleep, is_set: false };
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(end) = Pin::new(&mut *http).poll(cx) {
                return Poll::Ready(End::Closed(end));
            }
            if !drain.begins(cx, site) {
                break;
            }
            Pin::new(&mut *http).graceful_shutdown();
        }
        alarm.poll(cx, pace, &site.deadlines()).map(End::Cut)
    })
    .await
}

/// Notices the drain of a listener, once.
struct Drain<'a, F> {
    told: Pin<&'a mut F>,
    is_waiting: bool,
    is_over: bool,
}

impl<F: Future<Output = ()>> Drain<'_, F> {
    /// Whether the drain has just begun. Waits for it the first time, later looks at a flag:
    /// a connection's task never changes its waker.
    fn begins(&mut self, cx: &mut Context<'_>, site: &Site) -> bool {
        if self.is_over {
            return false;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.is_over = self.told.as_mut().poll(cx).is_ready();
        }
        self.is_over |= site.is_draining.load(Ordering::SeqCst);
        self.is_over
    }
}

/// One timer per connection, moved only when it must fire earlier.
struct Alarm<'a> {
    sleep: Pin<&'a mut Sleep>,
    /// Whether the timer knows whom to wake.
    is_set: bool,
}

impl Alarm<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, pace: &Pace, deadlines: &Deadlines) -> Poll<Cut> {
        loop {
            let due = pace.due(deadlines);
            if let Some((at, _)) = due
                && at < self.sleep.deadline()
            {
                self.sleep.as_mut().reset(at);
                self.is_set = false;
            }
            if self.is_set && !self.sleep.is_elapsed() {
                return Poll::Pending;
            }
            self.is_set = true;
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let next = match due {
                Some((at, cut)) if at <= now => return Poll::Ready(cut),
                Some((at, _)) => at,
                None => now + deadlines.idle,
            };
            self.sleep.as_mut().reset(next);
            self.is_set = false;
        }
    }
}

/// Takes the requests of one connection to their endpoints.
struct Conversation {
    site: Arc<Site>,
    pace: Arc<Pace>,
    peer: Peer,
}

impl Service<Request> for Conversation {
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request) -> Answering {
        self.site.stats.asked();
        self.pace.enter(Phase::Busy);
        Answering {
            reply: self.route(request),
            site: Arc::clone(&self.site),
            turn: Some(Turn(Arc::clone(&self.pace))),
        }
    }
}

impl Conversation {
    fn route(&self, request: Request) -> ReplyFuture {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > TARGET_MAX {
            let reply = problem(StatusCode::URI_TOO_LONG, "too_large", "the URI is too long");
            return Box::pin(ready(reply));
        }
        let routes = self.site.routes.load();
        match routes.find(&self.site.name, request.uri().path()) {
            Some(endpoint) => Arc::clone(endpoint).call(request, self.peer),
            None => {
                let reply = problem(StatusCode::NOT_FOUND, "not_found", "nothing is served here");
                Box::pin(ready(reply))
            }
        }
    }
}

/// A request whose endpoint has not answered yet.
struct Answering {
    reply: ReplyFuture,
    site: Arc<Site>,
    turn: Option<Turn>,
}

impl Future for Answering {
    type Output = Result<Response<Answered>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.reply.as_mut().poll(cx).map(|mut reply| {
            let status = reply.status();
            this.site.stats.answered(status);
            let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
            if let Some(Turn(pace)) = &this.turn {
                pace.refuse(status.is_client_error() || is_unavailable);
            }
            // Whoever is served keeps the connection: a new one would cost both ends more.
            if is_unavailable && this.site.budget.stage() >= Stage::Tight {
                let close = HeaderValue::from_static("close");
                reply.headers_mut().entry(CONNECTION).or_insert(close);
            }
            let turn = this.turn.take();
            Ok(reply.map(|body| Answered { body, _turn: turn }))
        })
    }
}

/// The time from a request's head to the end of its reply.
struct Turn(Arc<Pace>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// A reply's body; the connection is busy until it is gone.
struct Answered {
    body: Body,
    _turn: Option<Turn>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
