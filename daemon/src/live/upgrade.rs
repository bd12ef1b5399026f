//! The WebSocket handshake (RFC 6455 §4.2) on a request that a listener accepted.

use axum::body::Body;
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::protocol::weir::SUBPROTOCOL;
use crate::net::{Reply, Request, problem};

/// The only version of the protocol there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Length of a key: 16 bytes in base64.
const KEY_LEN: usize = 24;

/// Accepts a handshake: answers the reply to send and the socket to come.
///
/// # Errors
/// The refusal, if `request` is no handshake.
pub(crate) fn accept(mut request: Request) -> Result<(Reply, OnUpgrade), Reply> {
    if request.method() != Method::GET {
        let mut reply =
            problem(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "a WebSocket starts with GET");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Err(reply);
    }
    let headers = request.headers();
    let is_upgrade = request.version() >= Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket");
    if !is_upgrade || headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let detail = "this path speaks WebSocket, version 13, over HTTP/1.1";
        let mut reply = problem(StatusCode::UPGRADE_REQUIRED, "bad_request", detail);
        let headers = reply.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
        return Err(reply);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let Some(key) = key else {
        let detail = "`Sec-WebSocket-Key` is not 16 bytes in base64";
        return Err(problem(StatusCode::BAD_REQUEST, "bad_request", detail));
    };
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let has_protocol = has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = reply.headers_mut();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is a header value"));
    if has_protocol {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok((reply, hyper::upgrade::on(&mut request)))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == KEY_LEN && key.ends_with(b"==") && key[..KEY_LEN - 2].iter().all(is_digit)
}
