//! What sessions of one path share, and how a `pub` frame becomes a batch and its results.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::ack::{AckMode, Answer, Code, Refusal};
use crate::component::Host;
use crate::edge::Outlet;
use crate::event::cloudevents::{Form, Spelled};
use crate::event::id::{IdBuffer, ulid};
use crate::event::json;
use crate::event::{Batch, Draft, Texts};
use crate::live::{
    Admission, Denied, Hub, Intake, Publisher, Results, SocketLimits, Terms, accept_websocket,
    check_open, check_origin, start_session,
};
use crate::net::{Endpoint, Peer, ReplyFuture, Request};
use crate::sources::guard::{Guard, forbidden, too_much};
use crate::tasks::{Stop, Stopper};
use crate::units::now_micros;

/// The type of an event that says nothing else.
const DEFAULT_TYPE: &str = "event";

/// How frames are read and answered.
#[derive(Debug)]
pub(super) struct Settings {
    /// The `source` of events that name none.
    pub(super) source: String,
    pub(super) ack: Option<AckMode>,
    pub(super) ack_timeout: Duration,
    pub(super) window: usize,
    pub(super) events_max: usize,
    pub(super) event_max: usize,
    pub(super) guard: Guard,
    pub(super) outlet: Outlet,
}

/// Held by every generation that serves a path; sessions end when the last one is gone.
#[derive(Debug)]
pub(super) struct Lease {
    gate: Arc<Gate>,
    /// Whether the whole daemon goes away: then sessions wait for its goodbye.
    draining: Stop,
}

/// What the sessions of a path hold.
#[derive(Debug)]
pub(super) struct Gate {
    settings: ArcSwap<Settings>,
    gone: Stopper,
}

/// Whoever is at the other end of one session.
#[derive(Debug)]
struct Visitor {
    gate: Arc<Gate>,
    address: IpAddr,
}

/// Opens sessions on the path of one generation.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) gate: Arc<Gate>,
    pub(super) hub: Option<Arc<Hub>>,
    /// The hub whose tokens count.
    pub(super) keeper: Option<Arc<Hub>>,
    pub(super) origins: Vec<String>,
    pub(super) limits: SocketLimits,
    pub(super) host: Arc<Host>,
}

impl Lease {
    pub(super) fn new(settings: Arc<Settings>, host: &Host) -> Self {
        let gate = Gate { settings: ArcSwap::new(settings), gone: Stopper::default() };
        Self { gate: Arc::new(gate), draining: host.draining.stop() }
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// Makes all sessions follow `settings` from now on.
    pub(super) fn enforce(&self, settings: Arc<Settings>) {
        self.gate.settings.store(settings);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.draining.is_asked() {
            self.gate.gone.ask();
        }
    }
}

impl Endpoint for Door {
    fn call(self: Arc<Self>, request: Request, peer: Peer) -> ReplyFuture {
        let answer = check_origin(request.headers(), &self.origins).and_then(|_origin| {
            if let Some(hub) = &self.hub {
                check_open(hub)?;
            }
            let (reply, socket) = accept_websocket(request)?;
            let terms = Terms {
                hub: self.hub.clone(),
                keeper: self.keeper.clone(),
                intake: Some(Arc::new(Visitor {
                    gate: Arc::clone(&self.gate),
                    address: peer.address.ip(),
                })),
                limits: self.limits,
                goodbye: self.host.goodbye.stop(),
                gone: Some(self.gate.gone.stop()),
            };
            start_session(socket, terms, &self.host.tasks);
            Ok(reply)
        });
        Box::pin(async move { answer.unwrap_or_else(|refusal| refusal) })
    }
}

impl Intake for Visitor {
    fn window(&self) -> usize {
        self.gate.settings.load().window
    }

    fn publish(
        &self,
        events: &[&RawValue],
        admission: Option<&Admission>,
    ) -> Result<Results, Refusal> {
        let settings = self.gate.settings.load();
        let publisher = settings.publisher(admission)?;
        if settings.outlet.is_refusing() {
            return Err(Refusal::new(Code::Overloaded, "the daemon holds as much as it may"));
        }
        if events.len() > settings.events_max {
            let message = format!("a frame holds at most {} events", settings.events_max);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let Read { batch, named, refused } = settings.read(events, publisher.as_ref());
        let charged = settings.guard.charge(publisher.as_ref(), self.address, batch.len());
        charged.map_err(too_much)?;
        if batch.is_empty() {
            let results = results(&Texts::default(), &[], refused);
            return Ok(Box::pin(std::future::ready(results)));
        }
        let ids = batch.ids.clone();
        let receipt = settings.outlet.publish(batch, &named, settings.ack)?;
        let ack_timeout = settings.ack_timeout;
        Ok(Box::pin(async move {
            // What is still open then is answered `timeout`.
            drop(timeout(ack_timeout, receipt.wait()).await);
            results(&ids, &receipt.answers(), refused)
        }))
    }
}

/// The events of one frame.
#[derive(Debug, Default)]
struct Read {
    /// The well-formed ones.
    batch: Batch,
    /// Rows of the batch whose id came from the publisher.
    named: Vec<u32>,
    /// The others, ascending by place.
    refused: Vec<Refused>,
}

/// An event that was not taken, at its place in the frame.
#[derive(Debug)]
struct Refused {
    place: usize,
    id: Option<String>,
    refusal: Refusal,
}

impl Settings {
    /// Who publishes, where one must show that.
    fn publisher<'a>(
        &self,
        admission: Option<&'a Admission>,
    ) -> Result<Option<Publisher<'a>>, Refusal> {
        if self.guard.access.is_none() {
            return Ok(None);
        }
        let shown = admission.map_or(Err(Denied::Missing), Admission::publisher);
        shown.map(Some).map_err(|denied| {
            let code = if denied.is_passing() { Code::Unavailable } else { Code::Unauthorized };
            Refusal::new(code, denied.to_string())
        })
    }

    fn read(&self, events: &[&RawValue], publisher: Option<&Publisher<'_>>) -> Read {
        let mut read = Read::default();
        let arrival = now_micros();
        for (place, event) in events.iter().enumerate() {
            if let Err((id, refusal)) = self.push((event.get(), publisher), arrival, &mut read) {
                read.refused.push(Refused { place, id, refusal });
            }
        }
        read
    }

    /// Reads one event object into `read`.
    fn push(
        &self,
        (text, publisher): (&str, Option<&Publisher<'_>>),
        arrival: u64,
        read: &mut Read,
    ) -> Result<(), (Option<String>, Refusal)> {
        let malformed = |error: json::JsonError| Refusal::new(Code::BadRequest, error.to_string());
        json::check_text(text).map_err(|error| (None, malformed(error)))?;
        let spelled = Spelled::from_json(text, Form::Weir)
            .map_err(|misspelled| (misspelled.id, malformed(misspelled.error)))?;
        let data = spelled.data();
        if data.len() > self.event_max {
            let message = format!("the event's data is larger than {} bytes", self.event_max);
            let id = spelled.id.as_deref().map(str::to_owned);
            return Err((id, Refusal::new(Code::TooLarge, message)));
        }
        let event_type = spelled.event_type.as_deref().unwrap_or(DEFAULT_TYPE);
        if publisher.is_some_and(|publisher| !publisher.covers(event_type)) {
            let id = spelled.id.as_deref().map(str::to_owned);
            return Err((id, forbidden(event_type)));
        }
        let extensions: Vec<(&str, &str)> =
            spelled.extensions.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut buffer = IdBuffer::default();
        let id = spelled.id.as_deref();
        if id.is_some() {
            read.named.push(u32::try_from(read.batch.len()).expect("a frame is bounded"));
        }
        read.batch.push(&Draft {
            id: id.unwrap_or_else(|| ulid(arrival, &mut buffer)),
            source: spelled.source.as_deref().unwrap_or(&self.source),
            event_type,
            subject: spelled.subject.as_deref(),
            content_type: spelled.media_type(),
            time: spelled.time.unwrap_or(arrival),
            arrival,
            data,
            extensions: &extensions,
        });
        Ok(())
    }
}

/// The results of a frame as a JSON array, in the order of its events.
fn results(ids: &Texts, answers: &[Answer], refused: Vec<Refused>) -> Vec<u8> {
    let mut out = vec![b'['];
    let mut taken = answers.iter().enumerate();
    let mut refused = refused.into_iter().peekable();
    for place in 0.. {
        if place > 0 && (refused.peek().is_some() || taken.len() > 0) {
            out.push(b',');
        }
        if let Some(Refused { id, refusal, .. }) = refused.next_if(|next| next.place == place) {
            Answer::refused(refusal).write_result(id.as_deref(), &mut out);
        } else if let Some((index, answer)) = taken.next() {
            answer.write_result(Some(ids.get(index)), &mut out);
        } else {
            break;
        }
    }
    out.push(b']');
    out
}
