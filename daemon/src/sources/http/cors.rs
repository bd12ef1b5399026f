//! Which pages of other sites may publish, and what their browsers are told.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
    HeaderValue, ORIGIN, VARY,
};
use url::{Host, Url};

use crate::component::BuildError;
use crate::net::Reply;

/// The headers that publishing pages may set if a browser does not say which it wants to.
const HEADERS: HeaderValue = HeaderValue::from_static("content-type, content-encoding");

/// How long browsers may remember a preflight: two hours, the most that Chromium does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins that may publish.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    allows_all: bool,
    origins: Vec<HeaderValue>,
}

/// A request that may go on.
#[derive(Debug)]
pub(super) struct Grant {
    /// What `access-control-allow-origin` says, for requests from pages of other origins.
    origin: Option<HeaderValue>,
    /// Whether the reply depends on the origin.
    varies: bool,
}

impl Cors {
    /// Checks the origins of a pipeline file.
    pub(super) fn new(origins: &[String]) -> Result<Self, BuildError> {
        let mut cors = Self { allows_all: false, origins: Vec::new() };
        for origin in origins {
            if origin == "*" {
                cors.allows_all = true;
                continue;
            }
            let value = HeaderValue::from_str(origin).ok().filter(|_| is_origin(origin));
            let Some(value) = value else {
                let message = format!("`{origin}` is not an origin");
                let help = "an origin is `https://shop.example.com`, with the port if it is not \
                            the usual one, and without a path; `*` means all";
                return Err(BuildError::new("W0202", message).help(help));
            };
            cors.origins.push(value);
        }
        Ok(cors)
    }

    /// Whether a request with these headers may go on; `None` if its page may not publish.
    pub(super) fn grant(&self, headers: &HeaderMap) -> Option<Grant> {
        let varies = !self.origins.is_empty() && !self.allows_all;
        let Some(origin) = headers.get(ORIGIN) else { return Some(Grant { origin: None, varies }) };
        let granted = if self.allows_all {
            Some(HeaderValue::from_static("*"))
        } else if self.origins.contains(origin) {
            Some(origin.clone())
        } else if is_same_origin(origin, headers) {
            None
        } else {
            return None;
        };
        Some(Grant { origin: granted, varies })
    }
}

impl Grant {
    /// Lets the page read `reply`.
    pub(super) fn put(self, mut reply: Reply) -> Reply {
        let headers = reply.headers_mut();
        if self.varies {
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static("retry-after");
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        reply
    }

    /// Answers the preflight that asked with the headers `asked`.
    pub(super) fn preflight(&self, asked: &HeaderMap, reply: &mut Reply) {
        if self.origin.is_none() {
            return;
        }
        let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(HEADERS);
        let headers = reply.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

/// Whether `text` is what a browser sends as `origin`.
fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let has_host = matches!(url.host(), Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)));
    has_host && url.origin().ascii_serialization() == text
}

/// Whether the page came from the host that it publishes to.
fn is_same_origin(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return false };
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority == Some(host.as_bytes())
}
