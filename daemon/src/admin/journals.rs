//! Journals of the running daemon: which there are, and what they hold as JSON lines.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::routes::Shared;
use crate::net::problem;
use crate::store::{Journal, write_lines};

/// Bytes of records that one answer is made of.
const PAGE: usize = 1 << 20;

/// Events in one answer, unless the request says less.
const EVENTS_MAX: usize = 10_000;

/// How long a request may wait for the next event.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Says where the next request goes on.
pub const NEXT: &str = "weir-next";

/// What of a journal is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The number of the first event; absent means the oldest.
    #[serde(default)]
    from: u64,
    /// Most events in the answer.
    #[serde(default = "events_max")]
    limit: usize,
    /// Seconds to wait where there is none yet.
    #[serde(default)]
    wait: u64,
}

fn events_max() -> usize {
    EVENTS_MAX
}

pub(super) async fn list(State(shared): State<Shared>) -> Response {
    let journals = shared.observed.journals().into_iter();
    let journals: Vec<_> = journals
        .map(|(name, journal)| {
            let mut about = json!(journal.stats());
            about["name"] = json!(name);
            about
        })
        .collect();
    Json(json!({ "journals": journals })).into_response()
}

pub(super) async fn read(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let mut journals = shared.observed.journals().into_iter();
    let Some((_, journal)) = journals.find(|(known, _)| *known == name) else {
        let detail = format!("no journal `{name}` is in use; `/v1/journals` lists those that are");
        return problem(StatusCode::NOT_FOUND, "not_found", &detail);
    };
    lines(&journal, &wanted)
        .await
        .unwrap_or_else(|detail| problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &detail))
}

async fn lines(journal: &Journal, wanted: &Wanted) -> Result<Response, String> {
    if wanted.wait > 0 {
        let mut appended = journal.appended();
        let wait = Duration::from_secs(wanted.wait).min(WAIT_MAX);
        // Without a new event the answer is empty, which is what the request can bear.
        drop(timeout(wait, appended.wait_for(|next| *next > wanted.from)).await);
    }
    let end = journal.stats().next;
    let records = journal.read(wanted.from, PAGE).await.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let mut next = wanted.from;
    let mut room = wanted.limit.min(EVENTS_MAX);
    for stored in &records {
        let from = next.max(stored.seq);
        let written = write_lines(stored, from, room, &mut text);
        next = written.map_err(|error| format!("record {}: {error}", stored.seq))?;
        room -= usize::try_from(next - from).unwrap_or(room).min(room);
        if room == 0 {
            break;
        }
    }
    if records.is_empty() {
        // What is there and was not read is damaged.
        next = next.max(end);
    }
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let mut reply = ([kind], text).into_response();
    reply.headers_mut().insert(NEXT, HeaderValue::from(next));
    Ok(reply)
}
