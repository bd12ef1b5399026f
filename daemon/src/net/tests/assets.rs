//! Files that are compiled in.

use hyper::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, StatusCode};

use crate::net::Asset;

const FILE: Asset = Asset { media_type: "text/javascript; charset=utf-8", text: "export {}" };

#[test]
fn whoever_has_a_file_does_not_get_it_again() {
    let first = FILE.reply(&Method::GET, &HeaderMap::new());
    let tag = &first.headers()[ETAG];
    assert_eq!(first.headers()["content-type"], FILE.media_type);
    assert_eq!(first.headers()["cache-control"], "no-cache", "keep it, but ask");

    let asked = |known: &str| {
        let known = HeaderValue::from_str(known).unwrap();
        FILE.reply(&Method::GET, &HeaderMap::from_iter([(IF_NONE_MATCH, known)])).status()
    };
    let tag = tag.to_str().unwrap();
    for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        assert_eq!(asked(known), StatusCode::NOT_MODIFIED, "{known}");
    }
    assert_eq!(asked("\"other\""), StatusCode::OK);

    let other = Asset { text: "export { }", ..FILE }.reply(&Method::GET, &HeaderMap::new());
    assert_ne!(other.headers()[ETAG], first.headers()[ETAG]);
    let refused = FILE.reply(&Method::POST, &HeaderMap::new());
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}
