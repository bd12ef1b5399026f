//! Where a listener meets a hub: `/live/{hub}/ws`, `/live/{hub}/sse` and `/live/{hub}/history`.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::timeout;
use url::form_urlencoded;

use super::cursor::Cursor;
use super::hub::{Hub, Hubs, Start};
use super::message::FRAME_LEN_MAX;
use super::pattern::Pattern;
use super::protocol::weir;
use super::session::{self, SocketLimits, Terms};
use super::subscription::{Next, Subscription};
use super::{origins, stream, upgrade};
use crate::net::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request, problem};
use crate::tasks::{Stop, Tasks};

/// How long the other end may take to change protocols once it was told to.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a subscriber's socket may hold: commands are short, and there are many sockets.
const LIMITS: SocketLimits = SocketLimits { read_len: 1 << 10, message_len_max: 256 << 10 };

/// Events of the history in one reply if nothing is asked for.
const HISTORY_EVENTS: usize = 100;

/// Bytes of the history in one reply.
const HISTORY_LEN_MAX: usize = 1 << 20;

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
        Box::pin(async move { self.answer(request).unwrap_or_else(|refusal| refusal) })
    }
}

impl Live {
    fn answer(&self, request: Request) -> Result<Reply, Reply> {
        let origin = origins::check(request.headers(), &self.hub.settings().origins)?;
        if matches!(self.door, Door::WebSocket) {
            let (reply, socket) = upgrade::accept(request)?;
            start_session(socket, self.terms(), &self.tasks);
            return Ok(reply);
        }
        if request.method() == Method::OPTIONS {
            return Ok(origins::preflight(origin));
        }
        let mut reply = self.read(&request).unwrap_or_else(|refusal| refusal);
        origins::grant(&mut reply, origin);
        Ok(reply)
    }

    fn terms(&self) -> Terms {
        Terms {
            hub: Some(Arc::clone(&self.hub)),
            intake: None,
            limits: LIMITS,
            goodbye: self.stop.clone(),
            gone: None,
        }
    }

    fn read(&self, request: &Request) -> Result<Reply, Reply> {
        if request.method() != Method::GET {
            let detail = "this path answers GET";
            let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "bad_request", detail);
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, OPTIONS"));
            return Err(reply);
        }
        let (patterns, start) = wanted(request.uri().query(), request.headers())?;
        match self.door {
            Door::History => self.history(&patterns, start),
            Door::WebSocket | Door::Sse => self.sse(&patterns, start),
        }
    }

    fn sse(&self, patterns: &[Pattern], start: Start) -> Result<Reply, Reply> {
        let mut subscription = Subscription::new(Arc::clone(&self.hub));
        let joined = subscription.join(patterns, start).map_err(bad_request)?;
        let body = stream::body(subscription, (patterns, start, joined), self.stop.clone());
        let mut reply = Reply::new(body);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let buffering = HeaderName::from_static("x-accel-buffering");
        headers.insert(buffering, HeaderValue::from_static("no"));
        Ok(reply)
    }

    /// A part of the history; whoever wants more asks again with the cursor.
    fn history(&self, patterns: &[Pattern], start: Start) -> Result<Reply, Reply> {
        let start = if start == Start::Live { Start::Last(HISTORY_EVENTS) } else { start };
        let mut subscription = Subscription::new(Arc::clone(&self.hub));
        let joined = subscription.join(patterns, start).map_err(bad_request)?;
        let mut events = Vec::new();
        let mut gaps = Vec::new();
        weir::write_gaps(patterns, joined.missed.as_ref(), &mut gaps);
        let mut cursor = joined.cursor;
        let cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Next::Burst(None, pieces)) =
            subscription.poll_next(&cx, FRAME_LEN_MAX)
        {
            for piece in &pieces {
                for (_, line) in piece.lines() {
                    events.extend_from_slice(if events.is_empty() { b"" } else { b"," });
                    events.extend_from_slice(line);
                }
            }
            let last = pieces.last().map_or(0, super::message::Piece::last);
            cursor.seq = cursor.seq.max(last);
            if events.len() >= HISTORY_LEN_MAX {
                cursor.seq = last;
                break;
            }
        }
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

/// The channels and the start that a request names.
fn wanted(query: Option<&str>, headers: &HeaderMap) -> Result<(Vec<Pattern>, Start), Reply> {
    let mut patterns: Vec<Pattern> = Vec::new();
    let (mut since, mut last) = (None, None);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "channel" => {
                let pattern = Pattern::new(&value).map_err(bad_request)?;
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
            }
            "since" => since = Some(value),
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
        return Ok((patterns, Start::Since(cursor.unwrap_or(Cursor::UNKNOWN))));
    }
    let start = weir::start(since.as_deref(), last).map_err(bad_request)?;
    Ok((patterns, start))
}

fn bad_request(what: impl std::fmt::Display) -> Reply {
    problem(StatusCode::BAD_REQUEST, "bad_request", &what.to_string())
}
