//! `GET /live/{hub}/sse`: a subscription as server-sent events, resumable by `Last-Event-ID`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::hub::{Hub, Start};
use super::message::FRAME_LEN_MAX;
use super::origins;
use super::pattern::Pattern;
use super::protocol::{sse, weir};
use super::subscription::{Next, Subscription};
use crate::net::{Reply, Request, problem};
use crate::tasks::Stop;
use crate::units::now_micros;

/// How often a silent connection gets a comment, so that nobody takes it for dead.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Browsers reconnect after this, spread so that a herd does not come at once.
const RETRY_MILLIS: std::ops::Range<u64> = 1_000..3_000;

/// Answers a subscription.
pub(super) fn answer(hub: &Arc<Hub>, request: &Request, stop: Stop) -> Reply {
    let origin = match origins::check(request.headers(), &hub.settings().origins) {
        Ok(origin) => origin,
        Err(refusal) => return refusal,
    };
    match *request.method() {
        Method::GET => {}
        Method::OPTIONS => return origins::preflight(origin),
        _ => return problem(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "subscribe with GET"),
    }
    let mut reply = match open(hub, request.uri().query(), request.headers(), stop) {
        Ok(stream) => Reply::new(Body::from_stream(stream)),
        Err(why) => problem(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    if reply.status() == StatusCode::OK {
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        headers.insert(unbuffered, HeaderValue::from_static("no"));
    }
    origins::grant(&mut reply, origin);
    reply
}

/// What a query says: which channels, from where.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) patterns: Vec<Pattern>,
    pub(super) start: Start,
}

impl Query {
    /// Reads `channel`, `since` and `last`; `resume` is the header `Last-Event-ID`, which wins.
    pub(super) fn read(query: Option<&str>, resume: Option<&str>) -> Result<Self, String> {
        let mut patterns = Vec::new();
        let (mut since, mut last) = (None, None);
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match key.as_ref() {
                "channel" => {
                    let pattern = Pattern::new(&value).map_err(|error| error.to_string())?;
                    if !patterns.contains(&pattern) {
                        patterns.push(pattern);
                    }
                }
                "since" => since = Some(value.into_owned()),
                "last" => {
                    let number = value.parse().map_err(|_same| "`last` is not a number")?;
                    last = Some(number);
                }
                _ => return Err(format!("unknown parameter `{key}`; known: channel, since, last")),
            }
        }
        if patterns.is_empty() {
            return Err("name at least one `channel`, for example `?channel=orders`".to_owned());
        }
        let start = match resume {
            Some(cursor) => weir::start(Some(cursor), None),
            None => weir::start(since.as_deref(), last),
        };
        Ok(Self { patterns, start: start? })
    }
}

fn open(
    hub: &Arc<Hub>,
    query: Option<&str>,
    headers: &HeaderMap,
    stop: Stop,
) -> Result<EventStream, String> {
    let resume = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let resume = resume.filter(|cursor| !cursor.is_empty());
    let Query { patterns, start } = Query::read(query, resume)?;
    let mut subscription = Subscription::new(Arc::clone(hub));
    let joined = subscription.join(&patterns, start).map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    sse::write_retry(fastrand::u64(RETRY_MILLIS), &mut head);
    // The cursor of a replay is that of its events; until then the subscriber keeps its own.
    let cursor = match start {
        Start::Since(since) if joined.missed.is_none() => since,
        _ if joined.replayed > 0 => joined.cursor,
        _ => joined.cursor,
    };
    let session = format!("{:016x}", fastrand::u64(..));
    sse::write_welcome((&session, now_micros() / 1_000), cursor, &mut head);
    if let Some(missed) = &joined.missed {
        sse::write_gap(&patterns, missed, &mut head);
    }
    let mut comments = interval(COMMENT_EVERY);
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    comments.reset();
    let mut stop = stop;
    let stopped = Box::pin(async move { stop.asked().await });
    Ok(EventStream { subscription, head: Some(head), comments, stopped, has_ended: false })
}

/// The body of the reply.
struct EventStream {
    subscription: Subscription,
    /// What comes first.
    head: Option<Vec<u8>>,
    comments: Interval,
    /// Resolves when the daemon says goodbye.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
}

impl Stream for EventStream {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Bytes::from(head))));
        }
        match self.subscription.poll_next(cx, FRAME_LEN_MAX) {
            Poll::Ready(Next::Burst(gap, pieces)) => {
                let epoch = self.subscription.hub().cursor().epoch;
                let mut out = Vec::with_capacity(FRAME_LEN_MAX);
                if let Some(gap) = gap {
                    sse::write_gap(&gap.channels, &gap.missed, &mut out);
                }
                pieces.iter().for_each(|piece| sse::write_piece(epoch, piece, &mut out));
                self.comments.reset();
                return Poll::Ready(Some(Ok(Bytes::from(out))));
            }
            Poll::Ready(Next::Cut) => {
                self.has_ended = true;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if self.stopped.as_mut().poll(cx).is_ready() {
            self.has_ended = true;
            return Poll::Ready(None);
        }
        if self.comments.poll_tick(cx).is_ready() {
            let mut out = Vec::new();
            sse::write_comment(&mut out);
            return Poll::Ready(Some(Ok(Bytes::from(out))));
        }
        Poll::Pending
    }
}
