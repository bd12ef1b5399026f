//! The demo page: publishes what a visitor clicks and shows what subscribers get, live.
//!
//! Served only on request (`weir run --demo`); the files are compiled in and need no build step.

use std::sync::Arc;

use axum::body::Body;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};

use crate::net::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request, problem};

/// Where the page is.
pub const PATH: &str = "/demo";

/// Only this origin's own files and connections.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'self'; base-uri 'none'");

/// Serves the page on `listener`.
pub fn mounts(listener: &str) -> Vec<Mount> {
    let mount = |path: &str| Mount {
        listener: listener.to_owned(),
        path: path.to_owned(),
        endpoint: Arc::new(Page),
    };
    vec![mount(PATH), mount("/demo/*")]
}

#[derive(Debug)]
struct Page;

impl Endpoint for Page {
    fn call(self: Arc<Self>, request: Request, _: Peer) -> ReplyFuture {
        let reply = answer(request.method(), request.uri().path());
        Box::pin(std::future::ready(reply))
    }
}

fn answer(method: &Method, path: &str) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET");
    }
    let (kind, text) = match path {
        PATH | "/demo/" => ("text/html; charset=utf-8", include_str!("page.html")),
        "/demo/app.js" => ("text/javascript; charset=utf-8", include_str!("app.js")),
        "/demo/style.css" => ("text/css; charset=utf-8", include_str!("style.css")),
        _ => return problem(StatusCode::NOT_FOUND, "not_found", "no such file of the demo"),
    };
    let mut reply = Reply::new(Body::from(text));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    reply
}
