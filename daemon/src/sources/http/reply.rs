//! Replies: the only place of this source that decides on HTTP statuses, with `net::status_of`.
//!
//! What became of each event comes in; results for batches, the same object alone for one event,
//! and problem JSON for a request that failed as a whole go out. None of them says `no-store`:
//! browsers then never give back what a page may keep in flight while it is closed.

use std::time::Duration;

use axum::body::Body;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};

use super::cors::Grant;
use super::request::Refused;
use crate::ack::{Answer, Code, Refusal};
use crate::event::Texts;
use crate::net::{BodyError, ENCODINGS, Reply, problem, status_of};
use crate::sources::guard;

/// What a result of an event without trouble takes, roughly.
const RESULT_LEN: usize = 64;

/// The methods of a source.
const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// The reply for one event.
pub(super) fn single(ids: &Texts, answers: &[Answer]) -> Reply {
    let answer = &answers[0];
    let mut body = Vec::with_capacity(RESULT_LEN);
    answer.write_result(Some(ids.get(0)), &mut body);
    let status = status(answer);
    with_pause(results(status, body), is_retryable(status))
}

/// The reply for several events: those taken, and those refused before, in the order they came.
pub(super) fn batch(ids: &Texts, answers: &[Answer], refused: &[Refused]) -> Reply {
    let mut body = Vec::with_capacity(RESULT_LEN * (answers.len() + refused.len()) + 16);
    body.extend_from_slice(b"{\"results\":[");
    let mut common = None;
    let mut is_mixed = false;
    let mut may_retry = false;
    let mut add = |id: Option<&str>, answer: &Answer| {
        if common.is_some() {
            body.push(b',');
        }
        answer.write_result(id, &mut body);
        let status = status(answer);
        is_mixed |= *common.get_or_insert(status) != status;
        may_retry |= is_retryable(status);
    };
    let mut refused = refused.iter().peekable();
    let mut place = 0;
    for (row, answer) in answers.iter().enumerate() {
        while let Some(other) = refused.next_if(|other| other.place == place) {
            add(other.id.as_deref(), &other.answer);
            place += 1;
        }
        add(Some(ids.get(row)), answer);
        place += 1;
    }
    for other in refused {
        add(other.id.as_deref(), &other.answer);
    }
    body.extend_from_slice(b"]}");
    let status = if is_mixed { StatusCode::MULTI_STATUS } else { common.unwrap_or(StatusCode::OK) };
    with_pause(results(status, body), may_retry)
}

/// The reply for a request that was refused as a whole.
pub(super) fn refused(refusal: &Refusal) -> Reply {
    let status = status_of(refusal.code);
    with_pause(problem(status, refusal.code.name(), &refusal.message), is_retryable(status))
}

/// The reply for one event that was refused before it entered the pipeline.
pub(super) fn one(refused: &Refused) -> Reply {
    let mut body = Vec::with_capacity(RESULT_LEN);
    refused.answer.write_result(refused.id.as_deref(), &mut body);
    results(status(&refused.answer), body)
}

/// The reply to a publisher that is beyond its rate, and may be in it again after `wait`.
pub(super) fn too_much(wait: Duration) -> Reply {
    let mut reply = refused(&guard::too_much(wait));
    let seconds = wait.as_secs() + 1 + fastrand::u64(..=1);
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}

/// The reply for a request whose body could not be read.
pub(super) fn unread(error: &BodyError) -> Reply {
    let (status, code) = match error {
        BodyError::TooLarge(_) | BodyError::Bomb(_) => {
            (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge.name())
        }
        BodyError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded.name()),
        BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
        BodyError::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unsupported.name()),
        BodyError::Malformed(_) | BodyError::Broken(_) => {
            (StatusCode::BAD_REQUEST, Code::BadRequest.name())
        }
    };
    let mut reply = with_pause(problem(status, code, &error.to_string()), is_retryable(status));
    let headers = reply.headers_mut();
    // The rest of the body is of no interest.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers.insert(ACCEPT_ENCODING, ENCODINGS);
    }
    reply
}

/// The reply while the daemon takes no events for want of memory.
pub(super) fn overloaded() -> Reply {
    unread(&BodyError::Overloaded)
}

/// The reply to a page whose origin may not publish.
pub(super) fn forbidden_origin() -> Reply {
    problem(StatusCode::FORBIDDEN, "forbidden", "pages of this origin may not publish here")
}

/// The reply to a request with `OPTIONS`.
pub(super) fn options(grant: &Grant, asked: &HeaderMap) -> Reply {
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply.headers_mut().insert(ALLOW, METHODS);
    grant.preflight(asked, &mut reply);
    reply
}

/// The reply to a request that does not publish.
pub(super) fn wrong_method() -> Reply {
    let detail = "events are published with POST";
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    reply.headers_mut().insert(ALLOW, METHODS);
    reply
}

fn results(status: StatusCode, body: Vec<u8>) -> Reply {
    let mut reply = Reply::new(Body::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// Whether trying again after a pause may help.
fn is_retryable(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Tells a publisher that may try again when to do so, not all at the same time.
fn with_pause(mut reply: Reply, may_retry: bool) -> Reply {
    if may_retry {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=5)));
    }
    reply
}

fn status(answer: &Answer) -> StatusCode {
    match answer.code() {
        Some(code) => status_of(code),
        None if answer.is_kept() => StatusCode::ACCEPTED,
        None => StatusCode::OK,
    }
}
