//! One hub on several daemons: their events go through one stream at a broker, and whoever
//! subscribes anywhere is served from that stream, so that the order and the cursors are the same
//! everywhere.
//!
//! Here is what a hub knows of that: where its events wait for the stream, and the [`Relay`] that
//! decides what goes into it and what comes out of it. The connection is not here.

mod company;
mod envelope;
mod feed;
mod hand;
mod heard;
mod relay;
mod signal;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub(crate) use relay::{Relay, Strange};
pub(in crate::live) use signal::Signal;

use crate::ack::{Code, Refusal};
use crate::live::hub::Hub;
use crate::live::parcel::Parcel;

/// Numbers that the events of one message of the stream may have. A message holds few, a daemon
/// that is cut off hands out many behind the last one that it has.
pub(in crate::live) const NUMBERS: u64 = 1 << 24;

/// The first of these that events without a place in the stream have.
const STRAY: u64 = NUMBERS / 2;

/// Parcels that may wait for the relay. What is in them is bounded by what pipelines admit.
const WAITING_MAX: usize = 1_024;

/// Users whose connections are to end and whom their apps have not seen yet.
const ENDED_MAX: usize = 256;

/// The way from a hub to its relay.
#[derive(Debug)]
pub(in crate::live) struct Backplane {
    /// The relay holds the other end.
    inbox: mpsc::Sender<Waiting>,
    /// The relay's end until there is one. Touched once, hence a std mutex.
    outbox: Mutex<Option<mpsc::Receiver<Waiting>>>,
    standing: watch::Sender<Standing>,
    /// Users whose connections another daemon wants to end; apps of the hub listen.
    ended: broadcast::Sender<Arc<str>>,
}

/// What a relay takes in.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// Events for the stream.
    Parcel(Parcel),
    /// Something for whoever is there.
    Signal(Signal),
    /// Somebody who wants to know that all before is settled.
    Mark(oneshot::Sender<()>),
}

/// How a shared hub stands.
#[derive(Debug, Clone)]
struct Standing {
    /// Whether one may subscribe.
    is_open: bool,
    /// What is wrong, if anything.
    trouble: Option<Arc<str>>,
}

impl Backplane {
    /// The way to a relay that is not there yet.
    pub(in crate::live) fn new() -> Self {
        let (inbox, outbox) = mpsc::channel(WAITING_MAX);
        let trouble = Some("its history is still being read".into());
        let standing = watch::Sender::new(Standing { is_open: false, trouble });
        let ended = broadcast::Sender::new(ENDED_MAX);
        Self { inbox, outbox: Mutex::new(Some(outbox)), standing, ended }
    }

    /// Tells the other daemons, as far as they can be reached now.
    pub(in crate::live) fn signal(&self, signal: Signal) {
        // Full only while the stream takes nothing, and nobody waits for what it says.
        drop(self.inbox.try_send(Waiting::Signal(signal)));
    }

    /// Lets the apps of the hub end the connections of `user`.
    fn end(&self, user: &str) {
        // An error means that there is no app.
        drop(self.ended.send(user.into()));
    }

    /// The users whose connections other daemons want to end, from now on.
    pub(in crate::live) fn ended(&self) -> broadcast::Receiver<Arc<str>> {
        self.ended.subscribe()
    }

    /// Takes `parcel` for the stream; the relay hands it out and settles it.
    pub(in crate::live) async fn take(&self, parcel: Parcel) {
        if !self.is_open() {
            return parcel.refuse(&closed("the hub's history is still being read"));
        }
        if let Err(back) = self.inbox.send(Waiting::Parcel(parcel)).await
            && let Waiting::Parcel(parcel) = back.0
        {
            parcel.refuse(&closed("the daemon stops"));
        }
    }

    /// Resolves once all that was taken before this call is settled.
    pub(in crate::live) async fn settled(&self) {
        let (mark, reached) = oneshot::channel();
        // Both fail only when nothing waits any more.
        if self.is_open() && self.inbox.send(Waiting::Mark(mark)).await.is_ok() {
            drop(reached.await);
        }
    }

    pub(in crate::live) fn is_open(&self) -> bool {
        self.standing.borrow().is_open
    }

    /// Resolves once one may subscribe.
    pub(in crate::live) async fn opened(&self) {
        drop(self.standing.subscribe().wait_for(|standing| standing.is_open).await);
    }

    pub(in crate::live) fn trouble(&self) -> Option<String> {
        self.standing.borrow().trouble.as_deref().map(str::to_owned)
    }

    fn open(&self) {
        self.standing.send_if_modified(|standing| {
            let is_new = !standing.is_open;
            if is_new {
                *standing = Standing { is_open: true, trouble: None };
            }
            is_new
        });
    }

    fn set_trouble(&self, trouble: Option<&str>) {
        self.standing.send_if_modified(|standing| {
            let is_new = standing.trouble.as_deref() != trouble;
            if is_new {
                standing.trouble = trouble.map(Into::into);
            }
            is_new
        });
    }
}

impl Hub {
    /// What moves the events of this hub, if it is shared, and what waits for that. Once.
    pub(crate) fn relay(self: &Arc<Self>) -> Option<(Relay, mpsc::Receiver<Waiting>)> {
        let outbox = &self.backplane()?.outbox;
        let outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((Relay::new(Arc::clone(self)), outbox))
    }
}

fn closed(why: &str) -> Refusal {
    Refusal::new(Code::Unavailable, why)
}
