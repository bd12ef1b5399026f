//! One request from its head to its reply.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::{HeaderMap, Method};
use tokio::time::timeout;
use url::form_urlencoded;

use super::cors::Cors;
use super::reply;
use super::request::{Rules, Taken};
use crate::ack::AckMode;
use crate::budget::Lease;
use crate::component::{Counter, Health};
use crate::edge::Outlet;
use crate::live::{Admission, Denied, bearer, turn_away};
use crate::net::{BodyLimits, Endpoint, Peer, Reply, ReplyFuture, Request, read_body};
use crate::sources::guard::Guard;

/// Takes the requests for one source's path.
///
/// A request that is being answered keeps it alive beyond a reload; its outlet always leads into
/// the pipeline in force.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) rules: Rules,
    pub(super) cors: Cors,
    pub(super) guard: Guard,
    pub(super) limits: BodyLimits,
    pub(super) ack: Option<AckMode>,
    pub(super) ack_timeout: Duration,
    pub(super) outlet: Outlet,
    pub(super) counts: Counts,
}

/// What one source could not take; its health shows the numbers.
#[derive(Debug)]
pub(super) struct Counts {
    /// Requests that failed as a whole.
    requests_refused: Counter,
    /// Malformed events in requests with others.
    events_refused: Counter,
    /// Requests that had no verdict in time.
    timeouts: Counter,
}

impl Counts {
    /// The counters that `health` shows.
    pub(super) fn of(health: &Health) -> Self {
        Self {
            requests_refused: health.counter("requests_refused"),
            events_refused: health.counter("events_refused"),
            timeouts: health.counter("timeouts"),
        }
    }
}

impl Endpoint for Intake {
    fn call(self: Arc<Self>, request: Request, peer: Peer) -> ReplyFuture {
        Box::pin(async move { self.answer(request, peer.address.ip()).await })
    }
}

impl Intake {
    async fn answer(&self, request: Request, address: IpAddr) -> Reply {
        let Some(grant) = self.cors.grant(request.headers()) else {
            return self.refuse(reply::forbidden_origin());
        };
        let reply = match *request.method() {
            Method::POST => self.publish(request, address).await,
            Method::OPTIONS => reply::options(&grant, request.headers()),
            _ => self.refuse(reply::wrong_method()),
        };
        grant.put(reply)
    }

    async fn publish(&self, request: Request, address: IpAddr) -> Reply {
        let admission = match self.admit(request.headers(), request.uri().query()) {
            Ok(admission) => admission,
            Err(denied) => return self.refuse(turn_away(&denied)),
        };
        let publisher = match admission.as_ref().map(Admission::publisher).transpose() {
            Ok(publisher) => publisher,
            Err(denied) => return self.refuse(turn_away(&denied)),
        };
        if self.outlet.is_refusing() {
            return self.refuse(reply::overloaded());
        }
        let (head, body) = request.into_parts();
        let mut lease = Lease::new(self.outlet.budget());
        let body = match read_body(&head.headers, body, &self.limits, &mut lease).await {
            Ok(body) => body,
            Err(error) => return self.refuse(reply::unread(&error)),
        };
        let mut taken = match self.rules.read(&head.headers, head.uri.query(), &body) {
            Ok(taken) => taken,
            Err(refusal) => return self.refuse(reply::refused(&refusal)),
        };
        // The batch holds copies of what it needs; a verdict may take a while.
        drop((head, body));
        if let Some(publisher) = &publisher {
            taken.keep(|event_type| publisher.covers(event_type));
            if let (true, Some(refused)) = (taken.is_single, taken.refused.first()) {
                return self.refuse(reply::one(refused));
            }
        }
        let events = taken.batch.len();
        if let Err(wait) = self.guard.charge(publisher.as_ref(), address, events) {
            return self.refuse(reply::too_much(wait));
        }
        // From here on the pipeline's account is charged.
        drop(lease);
        self.hand_over(taken).await
    }

    /// What the publisher shows, where it must show something.
    fn admit(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Option<Admission>, Denied> {
        let Some(hub) = &self.guard.access else { return Ok(None) };
        let mut admission = Admission::new(Arc::clone(hub));
        let pairs = query.map(|query| form_urlencoded::parse(query.as_bytes()));
        let named = pairs.into_iter().flatten().find(|(name, _)| name == "token");
        let token: Option<Cow<'_, str>> = named.map(|(_, token)| token);
        if let Some(token) = bearer(headers, token.as_deref()) {
            admission.show(token)?;
        }
        Ok(Some(admission))
    }

    async fn hand_over(&self, taken: Taken) -> Reply {
        let Taken { batch, named, refused, is_single } = taken;
        if !refused.is_empty() {
            self.counts.events_refused.add(refused.len() as u64);
        }
        let ids = batch.ids.clone();
        let mut answers = Vec::new();
        if !batch.is_empty() {
            let receipt = match self.outlet.publish(batch, &named, self.ack) {
                Ok(receipt) => receipt,
                Err(refusal) => return self.refuse(reply::refused(&refusal)),
            };
            if timeout(self.ack_timeout, receipt.wait()).await.is_err() {
                self.counts.timeouts.add(1);
            }
            answers = receipt.answers();
        }
        if is_single {
            return reply::single(&ids, &answers);
        }
        reply::batch(&ids, &answers, &refused)
    }

    fn refuse(&self, reply: Reply) -> Reply {
        self.counts.requests_refused.add(1);
        reply
    }
}
