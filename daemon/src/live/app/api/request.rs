//! A request to the HTTP API: its body read, its signature checked, its path taken apart.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use url::form_urlencoded;

use super::{APPS, Denial};
use crate::auth::signature::Signed;
use crate::budget::{Budget, Lease};
use crate::live::app::{App, Refused};
use crate::net::{BodyError, BodyLimits, Request, read_body};
use crate::units::now_micros;

/// Room for the names around the data of a batch.
const BATCH_ROOM: usize = 64 << 10;

/// Most events in a batch.
pub(super) const BATCH_MAX: usize = 10;

/// A request that may be answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// The segments of the path below the app's, decoded.
    pub(super) path: Vec<String>,
    pub(super) query: String,
    pub(super) body: Bytes,
}

impl Asked {
    /// The words of the parameter `info`.
    pub(super) fn info(&self) -> Vec<String> {
        let info = parameter(&self.query, "info").unwrap_or_default();
        info.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

/// Reads a request to `app`.
pub(super) async fn read(
    app: &App,
    request: Request,
    budget: &Arc<Budget>,
) -> Result<Asked, Denial> {
    let settings = app.settings();
    if !settings.enabled {
        return Err(Denial::new(StatusCode::FORBIDDEN, "the app is disabled"));
    }
    let (head, body) = request.into_parts();
    let bytes_max = BATCH_MAX * 2 * settings.limits.event_len_max + BATCH_ROOM;
    let limits = BodyLimits { bytes_max, decompressed_max: bytes_max, ..BodyLimits::default() };
    let mut lease = Lease::new(budget);
    let body = read_body(&head.headers, body, &limits, &mut lease)
        .await
        .map_err(|error| unread(&error))?;
    let query = head.uri.query().unwrap_or_default();
    let path = head.uri.path();
    let signed = format!("{}{path}", settings.path_prefix);
    let request = Signed { method: &head.method, path: &signed, query, body: &body };
    request.check(&settings.credentials, now_micros() / 1_000_000).map_err(|error| {
        app.counts.refuse(Refused::Signature);
        Denial::new(StatusCode::UNAUTHORIZED, error.to_string())
    })?;
    let below = match path.strip_prefix(APPS) {
        Some(rest) => rest.split_once('/').map_or("", |(_, below)| below),
        None => path.trim_start_matches('/'),
    };
    let path = below.trim_end_matches('/').split('/').map(decoded).collect::<Option<_>>();
    let path = path.ok_or_else(|| Denial::bad("the path is not percent-encoded UTF-8"))?;
    Ok(Asked { method: head.method, path, query: query.to_owned(), body })
}

/// The parameter `name` of a query.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut all = form_urlencoded::parse(query.as_bytes());
    all.find(|(known, _)| known == name).map(|(_, value)| value)
}

fn unread(error: &BodyError) -> Denial {
    let status = match error {
        BodyError::TooLarge(_) | BodyError::Bomb(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        BodyError::Malformed(_) | BodyError::Broken(_) => StatusCode::BAD_REQUEST,
    };
    Denial::new(status, error.to_string())
}

/// A segment of a path without its percent-encoding.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}
