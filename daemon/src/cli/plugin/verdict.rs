//! A plugin's verdicts as lines of JSON, the same whatever language it is written in.
//!
//! ```text
//! {"id":"1","verdict":"keep"}
//! {"id":"2","verdict":"emit","rows":[{"data":{"a":1}},{"route":"odd"}]}
//! {"id":"3","verdict":"patch","data":{"a":1,"b":2}}
//! {"id":"4","verdict":"fail","kind":"invalid","message":"…"}
//! {"id":"5","verdict":"error","reason":"timeout","message":"…"}
//! {"tick":1764000000000000,"rows":[{"type":"window","data":{"n":3}}]}
//! ```
//! A row says what differs from the event that it takes the place of; a patch shows the whole data
//! that it makes. Rows of a tick come from no event.

use std::fmt::Display;

use serde_json::Value;

use crate::chain::{Judged, Solo};
use crate::component::{FailureKind, Rows, Transform, TransformError, Verdict};
use crate::event::encode::{write_data, write_string};
use crate::event::{Batch, Draft, Event, NONE};

/// Runs a transform on `batch` and answers one line per event. As in a chain, a run that fails
/// is repeated on halves, until the event that is to blame is alone.
pub(super) fn judge(solo: &mut Solo<impl Transform>, batch: &Batch) -> Vec<String> {
    match solo.judge(batch) {
        Ok(judged) => {
            let events = batch.iter().enumerate();
            events.map(|(index, event)| line(index, &event, &judged)).collect()
        }
        Err(error) if batch.len() < 2 => {
            batch.iter().map(|event| failed_run(&event, &error)).collect()
        }
        Err(_) => {
            let len = u32::try_from(batch.len()).expect("a golden file is small");
            let halves = [(0..len / 2), (len / 2..len)].map(Vec::from_iter);
            halves.iter().flat_map(|half| judge(solo, &batch.select(half))).collect()
        }
    }
}

/// Tells a transform the time and answers what it emits as one line.
pub(super) fn tick(solo: &mut Solo<impl Transform>, now: u64) -> String {
    let object = Object::new().raw("tick", now);
    match solo.transform.tick(now) {
        Ok(rows) => {
            let mut blank = Batch::default();
            blank.push(&Draft::default());
            let all: Vec<String> =
                (0..rows.types.len()).map(|at| row(at, &blank.event(0), &rows)).collect();
            object.raw("rows", format_args!("[{}]", all.join(","))).end()
        }
        Err(error) => {
            let object = object.text("verdict", "error").text("reason", error.reason);
            object.text("message", &error.message).end()
        }
    }
}

/// The members of a JSON object, written one by one.
struct Object(Vec<u8>);

impl Object {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_string(value, &mut self.0);
        self
    }

    /// A string, or null.
    fn optional(mut self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => {
                self.name(name);
                self.0.extend_from_slice(b"null");
                self
            }
        }
    }

    /// JSON text as it is.
    fn raw(mut self, name: &str, value: impl Display) -> Self {
        self.name(name);
        self.0.extend_from_slice(value.to_string().as_bytes());
        self
    }

    fn name(&mut self, name: &str) {
        self.0.push(b',');
        write_string(name, &mut self.0);
        self.0.push(b':');
    }

    /// Each member begins with a comma; the first one's becomes the brace.
    fn end(mut self) -> String {
        match self.0.first_mut() {
            Some(first) => *first = b'{',
            None => self.0.push(b'{'),
        }
        self.0.push(b'}');
        String::from_utf8(self.0).expect("it was made of text")
    }
}

fn line(index: usize, event: &Event<'_>, judged: &Judged) -> String {
    let Judged { verdicts, patched } = judged;
    let object = Object::new().text("id", event.id());
    match verdicts.verdicts[index] {
        Verdict::Keep => object.text("verdict", "keep").end(),
        Verdict::Drop => object.text("verdict", "drop").end(),
        Verdict::Patch => {
            let mut object = object.text("verdict", "patch");
            let patched = patched.as_ref().expect("a patch was made");
            write_data(patched.get(index), event.content_type(), &mut object.0);
            object.end()
        }
        Verdict::Emit => {
            let rows = &verdicts.emitted;
            let mine = rows.origins.iter().enumerate().filter(|(_, it)| **it as usize == index);
            let mine: Vec<String> = mine.map(|(at, _)| row(at, event, rows)).collect();
            let object = object.text("verdict", "emit");
            object.raw("rows", format_args!("[{}]", mine.join(","))).end()
        }
        Verdict::Fail => {
            let object = object.text("verdict", "fail");
            let mut failures = verdicts.failures.iter();
            match failures.find(|failure| failure.event as usize == index) {
                Some(failure) => {
                    let kind = match failure.kind {
                        FailureKind::Invalid => "invalid",
                        FailureKind::Transient => "transient",
                        FailureKind::Internal => "internal",
                    };
                    object.text("kind", kind).text("message", &failure.message).end()
                }
                None => object.end(),
            }
        }
    }
}

fn failed_run(event: &Event<'_>, error: &TransformError) -> String {
    let object = Object::new().text("id", event.id()).text("verdict", "error");
    object.text("reason", error.reason).text("message", &error.message).end()
}

/// What row `at` has other than the event it comes from.
fn row(at: usize, event: &Event<'_>, rows: &Rows) -> String {
    let name = |column: &[u32], inherited: Option<&str>| match column.get(at) {
        None => inherited.map(str::to_owned),
        Some(&NONE) => None,
        Some(&index) => Some(rows.dictionary.get(index as usize).to_owned()),
    };
    let mut object = Object::new();
    let event_type = name(&rows.types, Some(event.event_type())).unwrap_or_default();
    if event_type != event.event_type() {
        object = object.text("type", &event_type);
    }
    let subject = name(&rows.subjects, event.subject());
    if subject.as_deref() != event.subject() {
        object = object.optional("subject", subject.as_deref());
    }
    let content_type = name(&rows.content_types, event.content_type());
    if content_type.as_deref() != event.content_type() {
        object = object.optional("datacontenttype", content_type.as_deref());
    }
    if let Some(route) = name(&rows.routes, None) {
        object = object.text("route", &route);
    }
    if let Some(extensions) = &rows.extensions {
        let now: Vec<(&str, &str)> = extensions.row(at).collect();
        if now != event.extensions().collect::<Vec<_>>() {
            let now = now.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            object = object.raw("extensions", Value::Object(now.collect()));
        }
    }
    if !rows.data.ends.is_empty() && rows.data.get(at) != event.data() {
        write_data(rows.data.get(at), content_type.as_deref(), &mut object.0);
    }
    object.end()
}
