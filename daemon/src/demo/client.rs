//! `/client.js`: the JavaScript client, so that a page needs neither npm nor a build step.
//!
//! The file is built from `sdk/js` and committed, so that building the daemon needs no Node.

use std::sync::Arc;

use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue};

use crate::net::{Asset, Endpoint, Mount, Peer, ReplyFuture, Request};

/// Where the client is.
pub const PATH: &str = "/client.js";

/// The client, as `npm run build` in `sdk/js` leaves it.
const CLIENT: Asset = Asset {
    media_type: "text/javascript; charset=utf-8",
    text: include_str!("../../../sdk/js/dist/client.js"),
};

/// Serves the client on `listener`.
pub fn mount(listener: &str) -> Mount {
    Mount { listener: listener.to_owned(), path: PATH.to_owned(), endpoint: Arc::new(Client) }
}

#[derive(Debug)]
struct Client;

impl Endpoint for Client {
    fn call(self: Arc<Self>, request: Request, _: Peer) -> ReplyFuture {
        let mut reply = CLIENT.reply(request.method(), request.headers());
        // Pages of any origin import it; it holds no secret.
        let all = HeaderValue::from_static("*");
        reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, all);
        Box::pin(std::future::ready(reply))
    }
}
