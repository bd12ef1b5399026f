//! Where a listener meets a hub: `/live/{hub}/ws`, `/live/{hub}/sse` and `/live/{hub}/history`.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::{Instant, sleep, timeout};
use url::form_urlencoded;

use super::access::{Admission, Denied, Reason, bearer};
use super::cursor::Cursor;
use super::hub::{Hub, Start};
use super::hubs::Hubs;
use super::message::{FRAME_LEN_MAX, Piece};
use super::pattern::Pattern;
use super::protocol::weir;
use super::session::{self, SocketLimits, Terms};
use super::stream::reached;
use super::subscription::{Next, Subscription};
use super::{origins, stream, upgrade};
use crate::net::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request, problem};
use crate::tasks::{Stop, Tasks};
use crate::units::Time;

/// How long the other end may take to change protocols once it was told to.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a subscriber's socket may hold: commands are short, and there are many sockets.
const LIMITS: SocketLimits = SocketLimits { read_len: 1 << 10, message_len_max: 256 << 10 };

/// Events of the history in one reply if nothing is asked for.
const HISTORY_EVENTS: usize = 100;

/// Bytes of the history in one reply.
const HISTORY_LEN_MAX: usize = 1 << 20;

/// The longest that a request for the history waits; proxies cut silent ones after a minute.
const WAIT_MAX: Duration = Duration::from_secs(50);

/// What `EventSource` sends when it connects again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The paths of all hubs on one listener; sessions run in `tasks` until `stop` is asked.
pub fn mounts(hubs: &Hubs, listener: &str, tasks: &Tasks, stop: &Stop) -> Vec<Mount> {
    let doors = [("ws", Door::WebSocket), ("sse", Door::Sse), ("history", Door::History)];
    let of_hub = |(name, hub): (&str, &Arc<Hub>)| {
        doors.map(|(path, door)| Mount {
            listener: listener.to_owned(),
            path: format!("/live/{name}/{path}"),
            endpoint: Arc::new(Live {
                hub: Arc::clone(hub),
                door,
                tasks: tasks.clone(),
                stop: stop.clone(),
            }),
        })
    };
    hubs.iter().flat_map(of_hub).collect()
}

/// Whether one may subscribe to `hub` yet.
///
/// # Errors
/// The refusal, while its history is not there.
pub(crate) fn check_open(hub: &Hub) -> Result<(), Reply> {
    if hub.is_open() {
        return Ok(());
    }
    Err(unavailable("the history of this hub is not open yet"))
}

/// Runs a session in `tasks` once its handshake is through.
pub(crate) fn start_session(socket: OnUpgrade, terms: Terms, tasks: &Tasks) {
    drop(tasks.spawn(async move {
        if let Ok(Ok(upgraded)) = timeout(UPGRADE_TIMEOUT, socket).await {
            session::run(upgraded, terms).await;
        }
    }));
}

#[derive(Debug, Clone, Copy)]
enum Door {
    WebSocket,
    Sse,
    History,
}

#[derive(Debug)]
struct Live {
    hub: Arc<Hub>,
    door: Door,
    tasks: Tasks,
    stop: Stop,
}

impl Endpoint for Live {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        Box::pin(async move { self.answer(request).await.unwrap_or_else(|refusal| refusal) })
    }
}

impl Live {
    async fn answer(&self, request: Request) -> Result<Reply, Reply> {
        let origin = origins::check(request.headers(), &self.hub.settings().origins)
            .inspect_err(|_refusal| self.hub.refusals().count(Reason::Origin))?;
        if matches!(self.door, Door::WebSocket) {
            check_open(&self.hub)?;
            let (reply, socket) = upgrade::accept(request)?;
            start_session(socket, self.terms(), &self.tasks);
            return Ok(reply);
        }
        if request.method() == Method::OPTIONS {
            return Ok(origins::preflight(origin));
        }
        let mut reply = self.read(&request).await.unwrap_or_else(|refusal| refusal);
        origins::grant(&mut reply, origin);
        Ok(reply)
    }

    fn terms(&self) -> Terms {
        Terms {
            hub: Some(Arc::clone(&self.hub)),
            keeper: Some(Arc::clone(&self.hub)),
            intake: None,
            limits: LIMITS,
            goodbye: self.stop.clone(),
            gone: None,
        }
    }

    async fn read(&self, request: &Request) -> Result<Reply, Reply> {
        if request.method() != Method::GET {
            let detail = "this path answers GET";
            let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "bad_request", detail);
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, OPTIONS"));
            return Err(reply);
        }
        check_open(&self.hub)?;
        let Wanted { patterns, start, token, wait } =
            wanted(request.uri().query(), request.headers())?;
        let mut admission = Admission::new(Arc::clone(&self.hub));
        if let Some(token) = bearer(request.headers(), token.as_deref()) {
            admission.show(token).map_err(|denied| turn_away(&denied))?;
        }
        admission.check(&patterns).map_err(|denied| turn_away(&denied))?;
        match self.door {
            Door::History => self.history(&patterns, start, (wait, admission.deadline())).await,
            Door::WebSocket | Door::Sse => self.sse(&patterns, start, admission),
        }
    }

    fn sse(
        &self,
        patterns: &[Pattern],
        start: Start,
        admission: Admission,
    ) -> Result<Reply, Reply> {
        let mut subscription = Subscription::new(Arc::clone(&self.hub));
        let joined = subscription.join(patterns, start).map_err(bad_request)?;
        let body =
            stream::body(subscription, (patterns, start, joined), admission, self.stop.clone());
        let mut reply = Reply::new(body);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let buffering = HeaderName::from_static("x-accel-buffering");
        headers.insert(buffering, HeaderValue::from_static("no"));
        Ok(reply)
    }

    /// A part of the history; whoever wants more asks again with the cursor. If there is nothing
    /// yet, it comes once there is, or after `wait`.
    async fn history(
        &self,
        patterns: &[Pattern],
        start: Start,
        (wait, deadline): (Duration, Option<Instant>),
    ) -> Result<Reply, Reply> {
        let is_open = start == Start::Live && wait.is_zero();
        let start = if is_open { Start::Last(HISTORY_EVENTS) } else { start };
        let mut subscription = Subscription::new(Arc::clone(&self.hub));
        let joined = subscription.join(patterns, start).map_err(bad_request)?;
        let mut gaps = Vec::new();
        weir::write_gaps(patterns, joined.missed.as_ref(), &mut gaps);
        let mut events = Events { cursor: joined.cursor, text: Vec::new() };
        if joined.missed.is_none() && joined.replayed == 0 && !wait.is_zero() {
            let mut stop = self.stop.clone();
            let first = tokio::select! {
                first = subscription.next(FRAME_LEN_MAX) => Some(first),
                () = sleep(wait) => None,
                () = reached(deadline) => None,
                () = stop.asked() => None,
            };
            match first {
                Some(Next::Burst(None, pieces)) => events.add(&pieces),
                // Whoever asks again from here is told what is missing.
                Some(Next::Burst(Some(_), _) | Next::Cut) => {}
                None => events.cursor = subscription.reached().unwrap_or(joined.cursor),
            }
        }
        let cx = Context::from_waker(Waker::noop());
        while events.text.len() < HISTORY_LEN_MAX
            && let Poll::Ready(Next::Burst(None, pieces)) =
                subscription.poll_next(&cx, FRAME_LEN_MAX)
        {
            events.add(&pieces);
        }
        let Events { cursor, text: events } = events;
        let mut body = format!(r#"{{"cursor":"{cursor}","gaps":["#).into_bytes();
        body.extend_from_slice(&gaps);
        body.extend_from_slice(br#"],"events":["#);
        body.extend_from_slice(&events);
        body.extend_from_slice(b"]}");
        let mut reply = Reply::new(Body::from(body));
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(CONTENT_TYPE, json);
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(reply)
    }
}

/// The events of a reply.
struct Events {
    /// Where to read on.
    cursor: Cursor,
    /// JSON objects with commas between them.
    text: Vec<u8>,
}

impl Events {
    fn add(&mut self, pieces: &[Piece]) {
        for (_, line) in pieces.iter().flat_map(Piece::lines) {
            self.text.extend_from_slice(if self.text.is_empty() { b"" } else { b"," });
            self.text.extend_from_slice(line);
        }
        let last = pieces.last().map_or(0, Piece::last);
        // More may follow than fits into the reply.
        self.cursor.seq =
            if self.text.len() < HISTORY_LEN_MAX { self.cursor.seq.max(last) } else { last };
    }
}

/// What a request asks for.
struct Wanted {
    patterns: Vec<Pattern>,
    start: Start,
    token: Option<String>,
    /// How long to wait for the first event.
    wait: Duration,
}

/// The channels, the start and the token that a request names.
fn wanted(query: Option<&str>, headers: &HeaderMap) -> Result<Wanted, Reply> {
    let mut patterns: Vec<Pattern> = Vec::new();
    let (mut since, mut last, mut token) = (None, None, None);
    let mut wait = Duration::ZERO;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "channel" => {
                let pattern = Pattern::new(&value).map_err(bad_request)?;
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
            }
            "token" => token = Some(value.into_owned()),
            "since" => since = Some(value),
            "wait" => wait = value.parse::<Time>().map_err(bad_request)?.0.min(WAIT_MAX),
            "last" => last = Some(value.parse::<u32>().map_err(bad_request)?),
            _ => {}
        }
    }
    if patterns.is_empty() {
        return Err(bad_request("name at least one channel, as in `?channel=orders`"));
    }
    // What `EventSource` saw last is newer than what its page started with.
    if let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
        let cursor = id.to_str().ok().and_then(|id| id.parse().ok());
        let start = Start::Since(cursor.unwrap_or(Cursor::UNKNOWN));
        return Ok(Wanted { patterns, start, token, wait });
    }
    let start = weir::start(since.as_deref(), last).map_err(bad_request)?;
    Ok(Wanted { patterns, start, token, wait })
}

/// The reply to who may not do what was asked.
pub(crate) fn turn_away(denied: &Denied) -> Reply {
    if denied.is_passing() {
        return unavailable(&denied.to_string());
    }
    let is_forbidden = matches!(denied, Denied::Channel(_));
    let status = if is_forbidden { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    let mut reply = problem(status, denied.code(), &denied.to_string());
    if !is_forbidden {
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}

fn unavailable(detail: &str) -> Reply {
    let mut reply = problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
    // Not all at the same time.
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=5)));
    reply
}

fn bad_request(what: impl std::fmt::Display) -> Reply {
    problem(StatusCode::BAD_REQUEST, "bad_request", &what.to_string())
}
