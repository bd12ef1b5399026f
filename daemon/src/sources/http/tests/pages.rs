//! Pages of other sites, and settings that a pipeline file cannot mean.

use std::sync::Arc;

use super::{Site, build};
use crate::ack::Account;
use crate::component::Host;
use crate::edge::Outlet;

const PREFLIGHT: &str = "OPTIONS /in HTTP/1.1\r\nhost: h\r\naccess-control-request-method: POST\r\n\
                         access-control-request-headers: content-encoding,ce-type\r\n";

#[tokio::test]
async fn pages_of_listed_origins_may_publish() {
    let site = Site::new("cors = [\"https://shop.example.com\"]").await;
    let reply = site.post("origin: https://shop.example.com\r\n", "1").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://shop.example.com"));
    assert_eq!(reply.header("access-control-expose-headers"), Some("retry-after"));
    assert_eq!(reply.header("vary"), Some("origin"));
    let preflight =
        site.ask(&format!("{PREFLIGHT}origin: https://shop.example.com\r\n"), b"").await;
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    assert_eq!(preflight.header("access-control-max-age"), Some("7200"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("content-encoding,ce-type"));
}

#[tokio::test]
async fn pages_of_other_origins_may_not() {
    let site = Site::new("cors = [\"https://shop.example.com\"]").await;
    for origin in
        ["https://evil.example", "null", "http://shop.example.com", "https://shop.example.com.evil"]
    {
        let headers = format!("origin: {origin}\r\ncontent-type: text/plain\r\n");
        let reply = site.post(&headers, "1").await;
        reply.is_problem(403, "forbidden");
        assert_eq!(reply.header("access-control-allow-origin"), None);
        let preflight = site.ask(&format!("{PREFLIGHT}origin: {origin}\r\n"), b"").await;
        assert_eq!(preflight.status, 403);
    }
    assert_eq!(site.balance().received, 0);
    let own = site.post("origin: http://h\r\n", "1").await;
    assert_eq!((own.status, own.header("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn a_star_lets_every_page_publish() {
    let site = Site::new("cors = [\"*\"]").await;
    let reply = site.post("origin: https://any.example\r\n", "{").await;
    reply.is_problem(400, "bad_request");
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("vary"), None);
}

#[test]
fn settings_that_make_no_sense_are_faults() {
    let host = Arc::new(Host { listeners: vec!["public".to_owned()], ..Host::default() });
    let outlet = Outlet::new(Arc::new(Account::default()));
    for (settings, code) in [
        ("cors = [\"shop.example.com\"]", "W0202"),
        ("cors = [\"https://shop.example.com/\"]", "W0202"),
        ("attributes = { type = \"{{subject}}\" }", "W0202"),
        ("attributes = { Type = \"x\" }", "W0202"),
        ("attributes = { time = \"{{data.t}}\" }", "W0202"),
        ("max_events = 0", "W0114"),
        ("listener = \"privat\"", "W0302"),
    ] {
        let error = build(settings, &host, &outlet).unwrap_err();
        assert_eq!(error.code, code, "{settings}: {error}");
        assert!(error.help.is_some(), "{settings}");
    }
}
