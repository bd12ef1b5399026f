//! The endpoints for dead letters: look, replay, purge.

use std::sync::Arc;

use super::routes::Shared;
use crate::dead::{Cover, Letter, Letters};
use crate::event::Event;
use crate::event::encode::write_cloudevent;
use crate::net::problem;
use crate::runtime::{Range, Replay, replay};
use crate::store::StoreError;
use crate::units::format_time;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Letters of one answer unless the request says otherwise.
const COUNT: usize = 100;
/// Most letters of one answer.
const COUNT_MAX: usize = 1_000;

/// Which letters a request is about.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    /// The first number.
    from: u64,
    /// The number after the last.
    before: u64,
    /// Most letters of the answer.
    limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { from: 0, before: u64::MAX, limit: COUNT }
    }
}

impl Page {
    fn only(seq: u64) -> Self {
        Self { from: seq, before: seq.saturating_add(1), limit: 1 }
    }

    fn has(self, letter: &Letter) -> bool {
        (self.from..self.before).contains(&letter.seq)
    }
}

pub(super) async fn list(State(shared): State<Shared>) -> Response {
    let all = shared.observed.host.dead.all();
    let pipelines: Vec<Value> = all.iter().map(|letters| summary(letters)).collect();
    Json(json!({ "pipelines": pipelines })).into_response()
}

pub(super) async fn letters(
    State(shared): State<Shared>,
    Path(pipeline): Path<String>,
    Query(page): Query<Page>,
) -> Response {
    let letters = match find(&shared, &pipeline) {
        Ok(letters) => letters,
        Err(reply) => return reply,
    };
    let found = match letters.read(page.from).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let shown = found.iter().filter(|letter| page.has(letter)).take(page.limit.min(COUNT_MAX));
    let shown: Vec<&Letter> = shown.collect();
    let end = page.before.min(letters.stats().next);
    let next = shown.last().map(|letter| letter.seq + 1).filter(|next| *next < end);
    let about = shown.into_iter().map(|letter| About::new(letter, event(&letter.event())));
    Json(json!({ "letters": about.collect::<Vec<_>>(), "next": next })).into_response()
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path((pipeline, seq)): Path<(String, u64)>,
) -> Response {
    let letters = match find(&shared, &pipeline) {
        Ok(letters) => letters,
        Err(reply) => return reply,
    };
    match letters.get(seq).await {
        Ok(Some(letter)) => {
            let mut text = Vec::new();
            write_cloudevent(&letter.event(), &mut text);
            let text = String::from_utf8(text).expect("JSON is text");
            // As the text that it is: numbers keep their digits.
            let event = RawValue::from_string(text).expect("a CloudEvent is JSON");
            Json(About::new(&letter, event)).into_response()
        }
        Ok(None) => no_letter(&pipeline, seq),
        Err(error) => failed(&error),
    }
}

pub(super) async fn replay_page(
    State(shared): State<Shared>,
    Path(pipeline): Path<String>,
    Query(page): Query<Page>,
) -> Response {
    match replayed(&shared, &pipeline, page).await {
        Ok(replay) => Json(results(&replay)).into_response(),
        Err(reply) => reply,
    }
}

pub(super) async fn replay_one(
    State(shared): State<Shared>,
    Path((pipeline, seq)): Path<(String, u64)>,
) -> Response {
    match replayed(&shared, &pipeline, Page::only(seq)).await {
        Ok(replay) if replay.results.is_empty() => no_letter(&pipeline, seq),
        Ok(replay) => Json(results(&replay)).into_response(),
        Err(reply) => reply,
    }
}

async fn replayed(shared: &Shared, pipeline: &str, page: Page) -> Result<Replay, Response> {
    let letters = find(shared, pipeline)?;
    let view = shared.observed.view.load_full();
    let view = view.pipelines.iter().find(|view| view.name.as_str() == pipeline);
    let view = view.ok_or_else(|| {
        let detail = format!("the pipeline `{pipeline}` does not run, so nobody takes its letters");
        problem(StatusCode::CONFLICT, "not_running", &detail)
    })?;
    let count_max = page.limit.min(COUNT_MAX);
    let range = Range { from: page.from, before: page.before, count_max };
    replay(view, &letters, range).await.map_err(|error| failed(&error))
}

pub(super) async fn purge_page(
    State(shared): State<Shared>,
    Path(pipeline): Path<String>,
    Query(page): Query<Page>,
) -> Response {
    purged(&shared, &pipeline, page).await
}

pub(super) async fn purge_one(
    State(shared): State<Shared>,
    Path((pipeline, seq)): Path<(String, u64)>,
) -> Response {
    purged(&shared, &pipeline, Page::only(seq)).await
}

async fn purged(shared: &Shared, pipeline: &str, page: Page) -> Response {
    let letters = match find(shared, pipeline) {
        Ok(letters) => letters,
        Err(reply) => return reply,
    };
    match letters.purge(page.from..page.before).await {
        Ok(purged) => Json(json!({ "purged": purged })).into_response(),
        Err(error) => failed(&error),
    }
}

fn find(shared: &Shared, pipeline: &str) -> Result<Arc<Letters>, Response> {
    shared.observed.host.dead.get(pipeline).ok_or_else(|| {
        let detail = format!("there are no dead letters of a pipeline `{pipeline}`");
        problem(StatusCode::NOT_FOUND, "not_found", &detail)
    })
}

fn no_letter(pipeline: &str, seq: u64) -> Response {
    let detail = format!("`{pipeline}` has no dead letter {seq}");
    problem(StatusCode::NOT_FOUND, "not_found", &detail)
}

fn failed(error: &StoreError) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error.to_string())
}

fn summary(letters: &Letters) -> Value {
    let stats = letters.stats();
    json!({
        "pipeline": letters.pipeline(),
        "letters": stats.events,
        "bytes": stats.bytes,
        "next": stats.next,
        "state": stats.state,
    })
}

/// A letter as JSON, with as much of its event as is asked for.
#[derive(Serialize)]
struct About<'a, E> {
    seq: u64,
    at: String,
    component: &'a str,
    generation: u64,
    code: &'a str,
    error: &'a str,
    event: E,
}

impl<'a, E> About<'a, E> {
    fn new(letter: &'a Letter, event: E) -> Self {
        let mut at = String::new();
        format_time(letter.at, &mut at);
        let Cover { component, generation, code, error } = &letter.cover;
        Self { seq: letter.seq, at, component, generation: *generation, code, error, event }
    }
}

/// An event without its data.
fn event(event: &Event<'_>) -> Value {
    json!({
        "id": event.id(),
        "source": event.source(),
        "type": event.event_type(),
        "subject": event.subject(),
        "bytes": event.data().len(),
    })
}

fn results(replay: &Replay) -> Value {
    let results = replay.results.iter().map(|result| {
        json!({
            "seq": result.seq,
            "id": result.id,
            "status": result.answer.status(),
            "code": result.answer.code().map(|code| code.name()),
            "message": result.answer.message(),
        })
    });
    json!({ "results": results.collect::<Vec<_>>(), "next": replay.next })
}
