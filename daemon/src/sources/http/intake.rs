//! One request from its head to its reply.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::time::timeout;

use super::cors::Cors;
use super::reply;
use super::request::{Rules, Taken};
use crate::ack::AckMode;
use crate::edge::Outlet;
use crate::net::{BodyLimits, Endpoint, Peer, Reply, ReplyFuture, Request, read_body};

/// Takes the requests for one source's path.
///
/// A request that is being answered keeps it alive beyond a reload; its outlet always leads into
/// the pipeline in force.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) rules: Rules,
    pub(super) cors: Cors,
    pub(super) limits: BodyLimits,
    pub(super) ack: Option<AckMode>,
    pub(super) ack_timeout: Duration,
    pub(super) outlet: Outlet,
}

impl Endpoint for Intake {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        Box::pin(async move { self.answer(request).await })
    }
}

impl Intake {
    async fn answer(&self, request: Request) -> Reply {
        let Some(grant) = self.cors.grant(request.headers()) else {
            return reply::forbidden_origin();
        };
        let reply = match *request.method() {
            Method::POST => self.publish(request).await,
            Method::OPTIONS => reply::options(&grant, request.headers()),
            _ => reply::wrong_method(),
        };
        grant.put(reply)
    }

    async fn publish(&self, request: Request) -> Reply {
        let (head, body) = request.into_parts();
        let body = match read_body(&head.headers, body, &self.limits).await {
            Ok(body) => body,
            Err(error) => return reply::unread(&error),
        };
        let taken = match self.rules.read(&head.headers, head.uri.query(), &body) {
            Ok(taken) => taken,
            Err(refusal) => return reply::refused(&refusal),
        };
        // The batch holds copies of what it needs; a verdict may take a while.
        drop((head, body));
        self.hand_over(taken).await
    }

    async fn hand_over(&self, taken: Taken) -> Reply {
        let Taken { batch, refused, is_single } = taken;
        let ids = batch.ids.clone();
        let mut answers = Vec::new();
        if !batch.is_empty() {
            let receipt = match self.outlet.publish(batch, self.ack) {
                Ok(receipt) => receipt,
                Err(refusal) => return reply::refused(&refusal),
            };
            // What is still open then is answered `timeout`.
            drop(timeout(self.ack_timeout, receipt.wait()).await);
            answers = receipt.answers();
        }
        if is_single {
            reply::single(&ids, &answers)
        } else {
            reply::batch(&ids, &answers, &refused)
        }
    }
}
