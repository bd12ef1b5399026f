//! Which web pages may connect: a page of a foreign origin only where the settings name it.
//!
//! Browsers name the page's origin with every WebSocket handshake and every cross-origin request;
//! others send none and are not concerned.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{StatusCode, Uri};

use crate::net::{Reply, problem};

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origin of the page that asks, if there is one and it may.
///
/// # Errors
/// The refusal, if it may not.
pub(crate) fn check(headers: &HeaderMap, allowed: &[String]) -> Result<Option<HeaderValue>, Reply> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_welcome = origin.to_str().is_ok_and(|origin| {
        allowed.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
            || is_own(origin, host)
    });
    if is_welcome {
        return Ok(Some(origin.clone()));
    }
    let detail = "pages of this origin may not connect; add it to `origins`";
    Err(problem(StatusCode::FORBIDDEN, "forbidden", detail))
}

/// Lets the page of `origin` read `reply`.
pub(crate) fn grant(reply: &mut Reply, origin: Option<HeaderValue>) {
    reply.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("retry-after");
        reply.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Answers a preflight.
pub(crate) fn preflight(origin: Option<HeaderValue>) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    grant(&mut reply, origin);
    let headers = reply.headers_mut();
    let allowed = HeaderValue::from_static("last-event-id, cache-control, authorization");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    reply
}

/// Whether the page was served from the same host, or both it and the daemon are on this machine.
fn is_own(origin: &str, host: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let Some(authority) = origin.authority() else { return false };
    if authority.as_str().eq_ignore_ascii_case(host) {
        return true;
    }
    let Ok(host) = host.parse::<hyper::http::uri::Authority>() else { return false };
    is_loopback(authority.host()) && is_loopback(host.host())
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}
