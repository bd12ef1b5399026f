//! Files that are compiled in, served with a tag so that nobody fetches the same bytes twice.

use axum::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, StatusCode};

use super::{Reply, problem};

/// Browsers keep the file and ask each time whether it is still the same.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// A file that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its media type.
    pub media_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

impl Asset {
    /// The reply to a request for it: the file, or that the asker has it.
    pub fn reply(&self, method: &Method, headers: &HeaderMap) -> Reply {
        if method != Method::GET && method != Method::HEAD {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET");
        }
        let tag = self.tag();
        let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, &tag));
        let mut reply = Reply::new(Body::empty());
        if is_known {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *reply.body_mut() = Body::from(self.text);
            let media_type = HeaderValue::from_static(self.media_type);
            reply.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        let value = HeaderValue::try_from(tag).expect("a quoted number is a header value");
        reply.headers_mut().insert(ETAG, value);
        reply.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
        reply
    }

    /// A strong tag: 64 bits of FNV-1a over the bytes, which is plenty between builds of one file.
    fn tag(&self) -> String {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = self.text.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        format!("\"{hash:016x}\"")
    }
}

/// Whether a list of tags, as `if-none-match` has it, names `tag`.
fn names(known: &HeaderValue, tag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}
