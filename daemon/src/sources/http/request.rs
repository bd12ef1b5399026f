//! From a request's headers and body to a batch, without I/O.
//!
//! The content type, or `?format=`, says how the body is spelled. Attributes that plain data lacks
//! come, first match wins, from `ce-*` headers, the query, the source's templates, and defaults.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use url::form_urlencoded;

use super::attributes::Attributes;
use super::format::Format;
use crate::ack::{Answer, Code, Refusal};
use crate::event::cloudevents::{Form, JSON, Payload, Spelled};
use crate::event::encode::is_json;
use crate::event::id::{IdBuffer, ulid};
use crate::event::json::{self, JsonError};
use crate::event::{Batch, Draft};
use crate::sources::guard::forbidden;
use crate::units::now_micros;

/// The type of an event that says nothing else.
const DEFAULT_TYPE: &str = "event";

/// The type of bytes that nothing is known about.
const OCTETS: &str = "application/octet-stream";

/// Below this many bytes a line is no event of the average kind; bounds what is reserved.
const EVENT_LEN: usize = 128;

/// How one source reads requests.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The `source` of events that name none.
    pub(super) source: String,
    pub(super) attributes: Attributes,
    pub(super) events_max: usize,
    pub(super) event_max: usize,
}

/// The events of one request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The well-formed ones.
    pub(super) batch: Batch,
    /// Rows of the batch whose id came from the publisher.
    pub(super) named: Vec<u32>,
    /// The others, ascending by place.
    pub(super) refused: Vec<Refused>,
    /// Whether the request is one event, as opposed to a batch that may hold one.
    pub(super) is_single: bool,
}

impl Taken {
    /// Refuses the events whose types are not `covered`.
    pub(super) fn keep(&mut self, covered: impl Fn(&str) -> bool) {
        let rows = 0..u32::try_from(self.batch.len()).expect("a request is bounded");
        let is_kept = |row: &u32| covered(self.batch.event(*row as usize).event_type());
        let (kept, others): (Vec<u32>, Vec<u32>) = rows.partition(is_kept);
        if others.is_empty() {
            return;
        }
        // Rows fill the places that malformed events leave.
        let mut places = (0..).filter(|place| !self.refused.iter().any(|it| it.place == *place));
        let mut place_of = Vec::with_capacity(self.batch.len());
        place_of.extend(places.by_ref().take(self.batch.len()));
        for row in others {
            let id = self.batch.ids.get(row as usize).to_owned();
            let answer = Answer::refused(forbidden(self.batch.event(row as usize).event_type()));
            let place = place_of[row as usize];
            self.refused.push(Refused { place, id: Some(id), answer });
        }
        self.refused.sort_by_key(|refused| refused.place);
        let named = kept.iter().zip(0..).filter(|(row, _)| self.named.contains(row));
        self.named = named.map(|(_, new)| new).collect();
        self.batch = self.batch.select(&kept);
    }
}

/// An event that is malformed, among others that may not be.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its place in the request.
    pub(super) place: usize,
    /// Its id, if that could be read.
    pub(super) id: Option<String>,
    pub(super) answer: Answer,
}

impl Rules {
    /// Reads all events of a request.
    ///
    /// # Errors
    /// If the request as a whole is malformed, too large, or of a kind that nobody here reads.
    pub(super) fn read(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<Taken, Refusal> {
        let mut given = from_headers(headers)?;
        let asked = from_query(query, &mut given)?;
        let content_type = media_type(headers)?;
        let is_binary = headers.contains_key("ce-specversion");
        let format = Format::of(content_type, asked.as_deref(), is_binary)?;
        if matches!(format, Format::Data { .. }) {
            given.content_type = content_type.and_then(kind_of_json).map(Cow::Borrowed);
        }
        let mut reading = Reading {
            rules: self,
            given,
            arrival: now_micros(),
            buffer: IdBuffer::default(),
            place: 0,
            taken: Taken::default(),
        };
        match format {
            Format::Data { may_be_cloudevent } => reading.json(body, may_be_cloudevent)?,
            Format::Lines { may_be_cloudevents } => reading.lines(body, may_be_cloudevents)?,
            // A page that cannot set a content type cannot say which of the two it sends.
            Format::CloudEvent if asked.is_some() && body.trim_ascii_start().starts_with(b"[") => {
                reading.list(body, None, Form::CloudEvents)?;
            }
            Format::CloudEvent => reading.object(body, Form::CloudEvents)?,
            Format::CloudEvents => reading.list(body, None, Form::CloudEvents)?,
            Format::Weir => reading.list(body, Some("events"), Form::Weir)?,
            Format::Opaque => reading.opaque(body, content_type)?,
        }
        Ok(reading.taken)
    }
}

/// A request while it is read.
struct Reading<'a> {
    rules: &'a Rules,
    /// Attributes from headers and the query, for events that lack them.
    given: Spelled<'a>,
    arrival: u64,
    buffer: IdBuffer,
    /// The place of the event that is read now.
    place: usize,
    taken: Taken,
}

impl<'a> Reading<'a> {
    /// One JSON text: data, or a CloudEvent.
    fn json(&mut self, body: &'a [u8], may_be_cloudevent: bool) -> Result<(), Refusal> {
        self.taken.is_single = true;
        let is_without_data = body.is_empty() && !may_be_cloudevent;
        if is_without_data {
            return self.plain(Payload::None);
        }
        let json = json::check(body).map_err(malformed)?;
        if json.is_cloudevent && may_be_cloudevent {
            return self.event(json.text, Form::CloudEvents).map_err(Fault::into_refusal);
        }
        self.plain(Payload::Json(json.text))
    }

    /// JSON texts, one a line; a malformed one fails alone.
    fn lines(&mut self, body: &'a [u8], may_be_cloudevents: bool) -> Result<(), Refusal> {
        self.given.id = None;
        self.reserve(body.len() / EVENT_LEN + 1, body.len());
        match str::from_utf8(body) {
            Ok(text) => {
                for line in text.split('\n') {
                    self.line(Ok(line), may_be_cloudevents)?;
                }
            }
            Err(_) => {
                for line in body.split(|byte| *byte == b'\n') {
                    self.line(json::text(line), may_be_cloudevents)?;
                }
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: Result<&'a str, JsonError>,
        may_be_cloudevent: bool,
    ) -> Result<(), Refusal> {
        if line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()) {
            return Ok(());
        }
        self.count()?;
        let read = line.and_then(json::check_text).map_err(Fault::from).and_then(|json| {
            if json.is_cloudevent && may_be_cloudevent {
                return self.event(json.text, Form::CloudEvents);
            }
            self.plain(Payload::Json(json.text)).map_err(Fault::from)
        });
        self.note(read);
        Ok(())
    }

    /// One event object.
    fn object(&mut self, body: &'a [u8], form: Form) -> Result<(), Refusal> {
        self.taken.is_single = true;
        let json = json::check(body).map_err(malformed)?;
        self.event(json.text, form).map_err(Fault::into_refusal)
    }

    /// A list of event objects, or an object that has one as its `member`.
    fn list(&mut self, body: &'a [u8], member: Option<&str>, form: Form) -> Result<(), Refusal> {
        self.given.id = None;
        let mut counted = Ok(());
        let read = json::elements(json::text(body).map_err(malformed)?, member, |element| {
            if counted.is_ok() {
                counted = self.count();
            }
            if counted.is_ok() {
                let checked = json::check_depth(element).map_err(Fault::from);
                let read = checked.and_then(|()| self.event(element, form));
                self.note(read);
            }
        });
        read.map_err(malformed)?;
        counted
    }

    /// Bytes that are not looked into.
    fn opaque(&mut self, body: &'a [u8], content_type: Option<&'a str>) -> Result<(), Refusal> {
        self.taken.is_single = true;
        let is_data = content_type.is_none() && !body.is_empty();
        if is_data && let Ok(json) = json::check(body) {
            return self.plain(Payload::Json(json.text));
        }
        self.given.content_type = content_type.or(is_data.then_some(OCTETS)).map(Cow::Borrowed);
        self.plain(Payload::Bytes(Cow::Borrowed(body)))
    }

    /// An event object whose text was checked.
    fn event(&mut self, text: &'a str, form: Form) -> Result<(), Fault> {
        let spelled = Spelled::from_json(text, form)
            .map_err(|misspelled| Fault { id: misspelled.id, ..Fault::from(misspelled.error) })?;
        // What a whole CloudEvent lacks, it lacks on purpose.
        let pushed = self.push(&spelled, form == Form::CloudEvents);
        pushed.map_err(|refusal| Fault { id: spelled.id.map(Cow::into_owned), refusal })
    }

    /// Data without attributes of its own.
    fn plain(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
        self.push(&Spelled { payload, ..Spelled::default() }, false)
    }

    /// Takes one event into the batch; its gaps are filled unless it `is_whole`.
    fn push(&mut self, spelled: &Spelled<'a>, is_whole: bool) -> Result<(), Refusal> {
        let (rules, data, nothing) = (self.rules, spelled.data(), Spelled::default());
        if data.len() > rules.event_max {
            let message = format!("the event's data is larger than {} bytes", rules.event_max);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let (given, made) = if is_whole {
            (&nothing, Spelled::default())
        } else {
            let made = rules.attributes.render(data, is_json(spelled.media_type()))?;
            (&self.given, made)
        };
        let id = pick(&spelled.id, &given.id, &made.id);
        let mut extensions: Vec<(&str, &str)> = Vec::new();
        for (name, value) in
            spelled.extensions.iter().chain(&given.extensions).chain(&made.extensions)
        {
            if !extensions.iter().any(|(known, _)| known == name) {
                extensions.push((name, value));
            }
        }
        let content_type = spelled.content_type.as_deref().or(given.content_type.as_deref());
        if id.is_some() {
            let row = u32::try_from(self.taken.batch.len()).expect("a request is bounded");
            self.taken.named.push(row);
        }
        self.taken.batch.push(&Draft {
            id: id.unwrap_or_else(|| ulid(self.arrival, &mut self.buffer)),
            source: pick(&spelled.source, &given.source, &made.source).unwrap_or(&rules.source),
            event_type: pick(&spelled.event_type, &given.event_type, &made.event_type)
                .unwrap_or(DEFAULT_TYPE),
            subject: pick(&spelled.subject, &given.subject, &made.subject),
            content_type: content_type.or(spelled.media_type()),
            time: spelled.time.or(given.time).unwrap_or(self.arrival),
            arrival: self.arrival,
            data,
            extensions: &extensions,
        });
        Ok(())
    }

    fn count(&self) -> Result<(), Refusal> {
        if self.place < self.rules.events_max {
            return Ok(());
        }
        let message = format!("the request holds more than {} events", self.rules.events_max);
        Err(Refusal::new(Code::TooLarge, message))
    }

    fn note(&mut self, read: Result<(), Fault>) {
        if let Err(Fault { id, refusal }) = read {
            let answer = Answer::refused(refusal);
            self.taken.refused.push(Refused { place: self.place, id, answer });
        }
        self.place += 1;
    }

    fn reserve(&mut self, events: usize, bytes: usize) {
        let batch = &mut self.taken.batch;
        let events = events.min(self.rules.events_max);
        batch.ids.text.reserve(events * size_of::<IdBuffer>());
        batch.ids.ends.reserve(events);
        batch.data.bytes.reserve(bytes);
        batch.data.ends.reserve(events);
        for column in
            [&mut batch.sources, &mut batch.types, &mut batch.subjects, &mut batch.content_types]
        {
            column.reserve(events);
        }
        batch.times.reserve(events);
        batch.arrivals.reserve(events);
    }
}

/// Why one event among several was not taken.
struct Fault {
    id: Option<String>,
    refusal: Refusal,
}

impl Fault {
    fn into_refusal(self) -> Refusal {
        self.refusal
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self { id: None, refusal }
    }
}

impl From<JsonError> for Fault {
    fn from(error: JsonError) -> Self {
        Self { id: None, refusal: malformed(error) }
    }
}

/// The first of three texts that is there.
fn pick<'a>(
    own: &'a Option<Cow<'_, str>>,
    given: &'a Option<Cow<'_, str>>,
    made: &'a Option<Cow<'_, str>>,
) -> Option<&'a str> {
    own.as_deref().or(given.as_deref()).or(made.as_deref())
}

/// The attributes in `ce-*` headers.
fn from_headers(headers: &HeaderMap) -> Result<Spelled<'_>, Refusal> {
    let attributes = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("ce-")?;
        Some((name, value.as_bytes()))
    });
    let mut given = Spelled::from_headers(attributes).map_err(malformed)?;
    // In headers that is the content type's place.
    given.content_type = None;
    Ok(given)
}

/// Adds the attributes in the query; answers the format asked for.
fn from_query<'a>(
    query: Option<&'a str>,
    given: &mut Spelled<'a>,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    let mut format = None;
    let Some(query) = query else { return Ok(None) };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_known = match name.as_ref() {
            "type" => given.event_type.is_some(),
            "subject" => given.subject.is_some(),
            "format" => {
                format = Some(value);
                continue;
            }
            _ => true,
        };
        if !is_known {
            given.put(name, value).map_err(malformed)?;
        }
    }
    Ok(format)
}

/// The content type, as it is written.
fn media_type(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim);
    let is_plausible = |text: &&str| text.len() <= 256 && text.contains('/');
    text.filter(is_plausible)
        .map(Some)
        .ok_or_else(|| Refusal::new(Code::Unsupported, "the content type is malformed"))
}

/// A media type that is JSON of some kind, unless it is plain JSON.
fn kind_of_json(content_type: &str) -> Option<&str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim_end();
    let is_special = is_json(Some(content_type)) && !essence.eq_ignore_ascii_case(JSON);
    is_special.then_some(content_type)
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::BadRequest, error.to_string())
}
