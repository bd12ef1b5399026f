//! The endpoints of the admin plane.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::admin::{dead, guard, journals, wire};
use crate::net::{Endpoint, Peer, Reply, ReplyFuture, Request, problem};
use crate::reload::Record;
use crate::telemetry::{Observed, metrics};

/// How long a reload may keep whoever asked waiting.
const RELOAD_LIMIT: Duration = Duration::from_secs(120);

/// A request to reload; the daemon's main loop answers it.
pub type Ask = oneshot::Sender<Arc<Record>>;

#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) observed: Observed,
    asks: mpsc::Sender<Ask>,
}

/// Answers every path of the admin listener.
pub fn endpoint(observed: Observed, asks: mpsc::Sender<Ask>) -> Arc<dyn Endpoint> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/v1/status", get(status))
        .route("/v1/pipelines", get(pipelines))
        .route("/v1/journals", get(journals::list))
        .route("/v1/journals/{*name}", get(journals::read))
        .route("/v1/reloads", get(reloads))
        .route("/v1/reload", post(reload))
        .route("/v1/dead", get(dead::list))
        .route("/v1/dead/{pipeline}", get(dead::letters).delete(dead::purge_page))
        .route("/v1/dead/{pipeline}/replay", post(dead::replay_page))
        .route("/v1/dead/{pipeline}/{seq}", get(dead::show).delete(dead::purge_one))
        .route("/v1/dead/{pipeline}/{seq}/replay", post(dead::replay_one))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "not_found", "no such path") })
        .layer(middleware::from_fn(guard::same_site))
        .with_state(Shared { observed, asks });
    Arc::new(Admin(TowerToHyperService::new(router)))
}

struct Admin(TowerToHyperService<Router>);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin")
    }
}

impl Endpoint for Admin {
    fn call(self: Arc<Self>, request: Request, _: Peer) -> ReplyFuture {
        let request: HttpRequest<Body> = request.map(Body::new);
        let answer = self.0.call(request);
        Box::pin(async move {
            let reply: Reply = match answer.await {
                Ok(reply) => reply,
                Err(never) => match never {},
            };
            reply
        })
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let reasons = shared.observed.unready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn scrape(State(shared): State<Shared>) -> Response {
    match metrics::render(&shared.observed) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            &format!("metrics could not be written: {error}"),
        ),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    Json(wire::status(&shared.observed)).into_response()
}

async fn pipelines(State(shared): State<Shared>) -> Response {
    let view = shared.observed.view.load();
    Json(json!({ "pipelines": wire::pipelines(&view) })).into_response()
}

async fn reloads(State(shared): State<Shared>) -> Response {
    let records = shared.observed.history.records();
    let reloads: Vec<_> = records.iter().map(|record| wire::reload(record)).collect();
    Json(json!({ "reloads": reloads })).into_response()
}

async fn reload(State(shared): State<Shared>) -> Response {
    let (ask, answer) = oneshot::channel();
    if shared.asks.try_send(ask).is_err() {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many reloads are waiting; ask again in a moment",
        );
    }
    match timeout(RELOAD_LIMIT, answer).await {
        Ok(Ok(record)) => {
            let status = if record.is_applied && record.faults.is_empty() {
                StatusCode::OK
            } else {
                StatusCode::UNPROCESSABLE_ENTITY
            };
            (status, Json(wire::reload(&record))).into_response()
        }
        Ok(Err(_)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "draining", "the daemon is going away")
        }
        Err(_) => problem(StatusCode::GATEWAY_TIMEOUT, "timeout", "the reload still goes on"),
    }
}
