//! Problem documents: what a whole request is told when it fails (RFC 9457).
//!
//! Endpoints decide on a status, a code from the contract and words; the reply comes out.

use axum::body::Body;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::Reply;
use crate::ack::Code;

/// Media type of a problem document.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The document on the wire.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
}

/// A reply that says why a request failed; `code` is the machine's word, `detail` the person's.
pub fn problem(status: StatusCode, code: &str, detail: &str) -> Reply {
    let title = status.canonical_reason().unwrap_or("Error");
    let document = Problem { r#type: "about:blank", title, status: status.as_u16(), code, detail };
    let body = serde_json::to_vec(&document).expect("strings and a number are JSON");
    let mut reply = Reply::new(Body::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
    reply
}

/// The status that a verdict has over HTTP.
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Unroutable => StatusCode::BAD_GATEWAY,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::Draining | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}
