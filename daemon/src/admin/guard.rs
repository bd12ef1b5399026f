//! Keeps other web sites from using the admin plane through somebody's browser.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::net::problem;

/// Refuses requests that come from another site (`Origin`, `Sec-Fetch-Site`) or under a name
/// that is not this host's (DNS rebinding).
pub(super) async fn same_site(request: Request, next: Next) -> Response {
    let refuse = |detail| problem(StatusCode::FORBIDDEN, "forbidden", detail);
    let headers = request.headers();
    if !is_own_name(headers) {
        return refuse("the Host header is neither an address nor `localhost`");
    }
    if is_foreign(headers) {
        return refuse("the request comes from a page of another site");
    }
    next.run(request).await
}

fn is_own_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_cross_fetch =
        text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let host = text("host").unwrap_or_default();
    let is_cross_origin = headers.get(header::ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_none_or(|(_, authority)| authority != host)
    });
    is_cross_fetch || is_cross_origin
}
