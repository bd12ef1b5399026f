//! The HTTP API that an application's servers use: a signed request in, JSON out.
//!
//! What is asked about channels and users is answered here. Publishing is answered only where a
//! pipeline has a source for it, which mounts [`App::publishing`] on the paths for that.

mod publish;
mod request;
mod state;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};

use self::publish::Publishing;
use self::request::{parameter, read};
use super::{App, Apps};
use crate::ack::{Answer, Refusal};
use crate::budget::Budget;
use crate::net::{Endpoint, Peer, Reply, ReplyFuture, Request};

/// What the paths of an app begin with.
pub(super) const APPS: &str = "/apps/";

/// Where one library asks that a user's connections be ended, without saying of which app.
pub(super) const USERS: &str = "/users/";

/// The paths below an app's on which events are published.
const PUBLISHING: [&str; 2] = ["events", "batch_events"];

/// Takes what an application's servers publish.
pub(crate) trait AppIntake: Send + Sync + fmt::Debug {
    /// Publishes the events of one request.
    ///
    /// # Errors
    /// Why none of them was taken.
    fn publish(&self, events: &[Publication<'_>]) -> Result<Verdicts, Refusal>;
}

/// The answers to come, in the order of the events.
pub(crate) type Verdicts = Pin<Box<dyn Future<Output = Vec<Answer>> + Send>>;

/// One event for one channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Where it goes.
    pub(crate) channel: &'a str,
    /// What subscribers get, byte for byte.
    pub(crate) data: &'a str,
    /// The connection that does not get it.
    pub(crate) socket: Option<&'a str>,
}

/// Why a request gets nothing, in words for whoever reads the server's log.
#[derive(Debug)]
struct Denial {
    status: StatusCode,
    message: String,
}

impl Denial {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn reply(self) -> Reply {
        let mut reply = Reply::new(Body::from(self.message));
        *reply.status_mut() = self.status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        reply.headers_mut().insert(CONTENT_TYPE, plain);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let pause = HeaderValue::from(fastrand::u16(1..=5));
            reply.headers_mut().insert(RETRY_AFTER, pause);
        }
        reply
    }
}

/// Answers everything but publishing, for all apps.
#[derive(Debug)]
pub(super) struct Api {
    apps: Arc<Apps>,
    budget: Arc<Budget>,
}

impl Api {
    pub(super) fn new(apps: Arc<Apps>, budget: Arc<Budget>) -> Self {
        Self { apps, budget }
    }

    async fn answer(&self, request: Request) -> Result<String, Denial> {
        let app = self.find(&request)?;
        let asked = read(app, request, &self.budget).await?;
        let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
        match (&asked.method, path.as_slice()) {
            (&Method::GET, ["channels"]) => app.list(&asked),
            (&Method::GET, ["channels", channel]) => app.describe(channel, &asked),
            (&Method::GET, ["channels", channel, "users"]) => app.users(channel),
            (&Method::POST, ["users", user, "terminate_connections"]) => {
                app.terminate(user);
                Ok("{}".to_owned())
            }
            (&Method::POST, [path]) if PUBLISHING.contains(path) => Err(Denial::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no pipeline takes the events of this app: one with a source of type \"pusher\" \
                 for it does",
            )),
            _ => Err(Denial::new(StatusCode::NOT_FOUND, "there is no such call")),
        }
    }

    fn find(&self, request: &Request) -> Result<&Arc<App>, Denial> {
        let app = match request.uri().path().strip_prefix(APPS) {
            Some(rest) => self.apps.with_id(rest.split('/').next().unwrap_or_default()),
            None => parameter(request.uri().query().unwrap_or_default(), "auth_key")
                .and_then(|key| self.apps.with_key(&key)),
        };
        app.ok_or_else(|| Denial::new(StatusCode::NOT_FOUND, "there is no such app"))
    }
}

impl Endpoint for Api {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        Box::pin(async move { reply(self.answer(request).await) })
    }
}

impl App {
    /// The paths on which servers publish, and who answers there: `intake` gets the events.
    pub(crate) fn publishing(
        self: &Arc<Self>,
        intake: Arc<dyn AppIntake>,
        budget: Arc<Budget>,
    ) -> (Vec<String>, Arc<dyn Endpoint>) {
        let paths = PUBLISHING.map(|path| format!("{APPS}{}/{path}", self.settings.id));
        (paths.into(), Arc::new(Publishing { app: Arc::clone(self), intake, budget }))
    }
}

fn reply(answer: Result<String, Denial>) -> Reply {
    match answer {
        Ok(body) => {
            let mut reply = Reply::new(Body::from(body));
            let json = HeaderValue::from_static("application/json");
            reply.headers_mut().insert(CONTENT_TYPE, json);
            reply
        }
        Err(denial) => denial.reply(),
    }
}
