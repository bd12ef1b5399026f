//! What the daemon serves to browsers: the JavaScript client always, and on request
//! (`weir run --demo`) two pages that use it, a shop and a dashboard that shows its visitors live.
//!
//! All files are compiled in and need no build step.

pub mod client;

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use crate::net::{Asset, Endpoint, Mount, Peer, ReplyFuture, Request, problem};

/// Where the shop is.
pub const PATH: &str = "/demo";

/// Only this origin's own files and connections.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'self'; base-uri 'none'");

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// Serves the pages on `listener`.
pub fn mounts(listener: &str) -> Vec<Mount> {
    let mount = |path: &str| Mount {
        listener: listener.to_owned(),
        path: path.to_owned(),
        endpoint: Arc::new(Page),
    };
    [PATH, "/demo/*"].map(mount).into()
}

#[derive(Debug)]
struct Page;

impl Endpoint for Page {
    fn call(self: Arc<Self>, request: Request, _: Peer) -> ReplyFuture {
        let mut reply = match find(request.uri().path()) {
            Some(asset) => asset.reply(request.method(), request.headers()),
            None => problem(StatusCode::NOT_FOUND, "not_found", "no such file of the demo"),
        };
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
        Box::pin(std::future::ready(reply))
    }
}

/// The file at `path`.
fn find(path: &str) -> Option<Asset> {
    let (media_type, text) = match path.trim_end_matches('/') {
        PATH => (HTML, include_str!("../../../sdk/js/examples/shop.html")),
        "/demo/shop.js" => (SCRIPT, include_str!("../../../sdk/js/examples/shop.js")),
        "/demo/dashboard" => (HTML, include_str!("../../../sdk/js/examples/dashboard.html")),
        "/demo/dashboard.js" => (SCRIPT, include_str!("../../../sdk/js/examples/dashboard.js")),
        "/demo/style.css" => (STYLE, include_str!("../../../sdk/js/examples/style.css")),
        "/demo/icon.svg" => (ICON, include_str!("../../../sdk/js/examples/icon.svg")),
        _ => return None,
    };
    Some(Asset { media_type, text })
}
