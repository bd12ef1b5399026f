//! What every hub serves: `/live/{hub}/ws`, `/live/{hub}/sse` and `/live/{hub}/history`.

use std::sync::Arc;

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};

use super::hub::{Hub, Hubs};
use super::message::FRAME_LEN_MAX;
use super::session::{self, Purpose};
use super::sse::Query;
use super::subscription::{Next, Subscription};
use super::{origins, sse, upgrade};
use crate::net::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request, problem};
use crate::tasks::{Stop, Tasks};

/// Bytes of events that one look into the history answers at most.
const HISTORY_LEN_MAX: usize = 4 << 20;

/// The mounts of all hubs on `listener`; sessions are members of `tasks` and hear `stop`.
pub fn mounts(hubs: &Hubs, listener: &str, tasks: &Tasks, stop: &Stop) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (name, hub) in hubs.iter() {
        for way in [Way::WebSocket, Way::Sse, Way::History] {
            mounts.push(Mount {
                listener: listener.to_owned(),
                path: format!("/live/{name}/{}", way.name()),
                endpoint: Arc::new(Live {
                    hub: Arc::clone(hub),
                    way,
                    tasks: tasks.clone(),
                    stop: stop.clone(),
                }),
            });
        }
    }
    mounts
}

/// The ways to reach a hub.
#[derive(Debug, Clone, Copy)]
enum Way {
    WebSocket,
    Sse,
    History,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Sse => "sse",
            Self::History => "history",
        }
    }
}

#[derive(Debug)]
struct Live {
    hub: Arc<Hub>,
    way: Way,
    tasks: Tasks,
    stop: Stop,
}

impl Endpoint for Live {
    fn call(self: Arc<Self>, request: Request, _: Peer) -> ReplyFuture {
        let reply = match self.way {
            Way::Sse => sse::answer(&self.hub, &request, self.stop.clone()),
            Way::WebSocket => {
                let purpose = Purpose { hub: Some(Arc::clone(&self.hub)), intake: None };
                let allowed = &self.hub.settings().origins;
                connect(request, allowed, purpose, &self.tasks, &self.stop)
            }
            Way::History => history(&self.hub, &request),
        };
        Box::pin(std::future::ready(reply))
    }
}

/// Answers a WebSocket handshake and starts its session.
pub(super) fn connect(
    request: Request,
    allowed: &[String],
    purpose: Purpose,
    tasks: &Tasks,
    stop: &Stop,
) -> Reply {
    if let Err(refusal) = origins::check(request.headers(), allowed) {
        return refusal;
    }
    match upgrade::accept(request) {
        Ok((reply, upgraded)) => {
            drop(tasks.spawn(session::serve(upgraded, purpose, stop.clone())));
            reply
        }
        Err(refusal) => refusal,
    }
}

fn history(hub: &Arc<Hub>, request: &Request) -> Reply {
    let origin = match origins::check(request.headers(), &hub.settings().origins) {
        Ok(origin) => origin,
        Err(refusal) => return refusal,
    };
    if request.method() != Method::GET {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "look with GET");
    }
    let mut reply = match look(hub, request.uri().query()) {
        Ok(text) => {
            let mut reply = Reply::new(Body::from(text));
            reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            reply
        }
        Err(why) => problem(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    origins::grant(&mut reply, origin);
    reply
}

/// The history that `query` asks for, as `{"cursor":…,"events":[…]}`.
fn look(hub: &Arc<Hub>, query: Option<&str>) -> Result<Vec<u8>, String> {
    let Query { patterns, start } = Query::read(query, None)?;
    let mut subscription = Subscription::new(Arc::clone(hub));
    let joined = subscription.join(&patterns, start).map_err(|error| error.to_string())?;
    let mut text = format!(r#"{{"cursor":"{}","events":["#, joined.cursor).into_bytes();
    let mut is_first = true;
    while text.len() < HISTORY_LEN_MAX {
        let next = subscription.next(FRAME_LEN_MAX);
        let Some(Next::Burst(_, pieces)) = futures_util::FutureExt::now_or_never(next) else {
            break;
        };
        for (_, line) in pieces.iter().flat_map(super::message::Piece::lines) {
            if !std::mem::take(&mut is_first) {
                text.push(b',');
            }
            text.extend_from_slice(line);
        }
    }
    text.extend_from_slice(b"]}");
    Ok(text)
}
