//! The supervisor of one broker connection, shared by all sinks, or all sources, that name the
//! same brokers. A broker that is short of memory blocks connections that publish, so sources have
//! their own.
//!
//! It outlives reloads (the host lends it), starts when the first running component asks, reconnects
//! for as long as somebody holds it, and shows its state through a `watch`. lapin's own recovery
//! stays off: it knows one host only, and calls itself recovered before anything is declared.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::Event;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::address::Address;
use super::dial::{DialError, Session, dial, words};
use crate::tasks::Tasks;

/// The first pause after a lost connection.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest pause between attempts while a broker is away.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The pause after a broker refused us; only a person can help, who should not wait long.
const BACKOFF_REFUSED: Duration = Duration::from_secs(5);

/// A connection that lived this long was a good one: the pauses start small again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// How often a connection is looked at beside its own events.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a link stands.
#[derive(Debug, Clone)]
pub(crate) enum LinkState {
    /// Trying, for the first time or again.
    Connecting {
        /// Why the last attempt or connection ended, if there was one.
        reason: Option<Arc<str>>,
    },
    /// Open.
    Connected(Arc<Session>),
    /// Open, but the broker takes nothing for now.
    Blocked {
        session: Arc<Session>,
        /// The broker's reason: low on memory or disk.
        reason: Arc<str>,
    },
    /// A broker refuses us; tried again slowly.
    Misconfigured { reason: Arc<str> },
}

/// A state and since when nothing could be published.
#[derive(Debug, Clone)]
pub(crate) struct LinkStatus {
    pub(crate) state: LinkState,
    /// `None` while connected.
    pub(crate) away_since: Option<Instant>,
    /// Connections after the first.
    pub(crate) reconnects: u64,
}

impl LinkStatus {
    /// The open session, blocked or not.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.state {
            LinkState::Connected(session) | LinkState::Blocked { session, .. } => Some(session),
            LinkState::Connecting { .. } | LinkState::Misconfigured { .. } => None,
        }
    }

    /// Whether no attempt to connect has ended yet.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.state, LinkState::Connecting { reason: None })
    }

    /// What is wrong, for operators.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &self.state {
            LinkState::Connected(_) => None,
            LinkState::Connecting { reason: None } => Some("connecting".to_owned()),
            LinkState::Connecting { reason: Some(reason) } => {
                Some(format!("reconnecting: {reason}"))
            }
            LinkState::Blocked { reason, .. } => Some(format!("blocked: {reason}")),
            LinkState::Misconfigured { reason } => Some(format!("misconfigured: {reason}")),
        }
    }
}

/// One connection, kept up for as long as somebody holds this.
#[derive(Debug)]
pub(crate) struct Link {
    address: Arc<Address>,
    status: Arc<watch::Sender<LinkStatus>>,
    /// The supervisor holds the other end; dropping the link ends it.
    closed: watch::Sender<bool>,
    is_started: AtomicBool,
}

impl Link {
    /// A link that does nothing until it is started.
    pub(crate) fn new(address: Address) -> Self {
        let status = LinkStatus {
            state: LinkState::Connecting { reason: None },
            away_since: None,
            reconnects: 0,
        };
        Self {
            address: Arc::new(address),
            status: Arc::new(watch::Sender::new(status)),
            closed: watch::Sender::new(false),
            is_started: AtomicBool::new(false),
        }
    }

    /// Starts the supervisor as one of `tasks`, unless it runs already; answers its state.
    pub(crate) fn start(&self, tasks: &Tasks) -> watch::Receiver<LinkStatus> {
        if !self.is_started.swap(true, Ordering::AcqRel) {
            self.status.send_modify(|status| status.away_since = Some(Instant::now()));
            let supervisor = Supervisor {
                address: Arc::clone(&self.address),
                status: Arc::clone(&self.status),
                closed: self.closed.subscribe(),
                epoch: 0,
                pause: BACKOFF_MIN,
            };
            drop(tasks.spawn(supervisor.run()));
        }
        self.status.subscribe()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closed.send_replace(true);
    }
}

struct Supervisor {
    address: Arc<Address>,
    status: Arc<watch::Sender<LinkStatus>>,
    /// The [`Link`] holds the other end.
    closed: watch::Receiver<bool>,
    epoch: u64,
    pause: Duration,
}

/// Why a connection is over.
enum End {
    /// Nobody holds the link any more.
    Closed,
    Lost(String),
}

impl Supervisor {
    async fn run(mut self) {
        let mut closed = self.closed.clone();
        // Giving up in the middle of an attempt is fine: the attempt's socket is shut on drop.
        select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => {}
            () = self.keep_up() => {}
        }
        let session = self.status.borrow().session().cloned();
        if let Some(session) = session {
            session.close().await;
        }
    }

    async fn keep_up(&mut self) {
        loop {
            let pause = match self.attempt().await {
                Ok(session) => {
                    let opened = Instant::now();
                    match self.attend(session).await {
                        End::Closed => return,
                        End::Lost(reason) => self.lost(&reason),
                    }
                    if opened.elapsed() > GOOD_AFTER {
                        self.pause = BACKOFF_MIN;
                    }
                    self.next_pause()
                }
                Err(error) => self.failed(error),
            };
            sleep(pause).await;
        }
    }

    /// Tries every broker once, in order.
    async fn attempt(&mut self) -> Result<Arc<Session>, DialError> {
        let mut failed: Option<DialError> = None;
        for broker in &self.address.brokers {
            let Address { tls, name, .. } = &*self.address;
            match dial(broker, tls, name, self.epoch + 1).await {
                Ok(session) => {
                    self.epoch += 1;
                    info!(%broker, epoch = self.epoch, "connected to broker");
                    return Ok(Arc::new(session));
                }
                Err(error) => {
                    // A refusal needs a person, so it outranks a host that is merely down.
                    if failed.as_ref().is_none_or(|known| !known.is_refusal) {
                        failed = Some(error);
                    }
                }
            }
        }
        Err(failed.expect("an address has at least one broker"))
    }

    /// Follows an open connection to its end.
    async fn attend(&self, session: Arc<Session>) -> End {
        let mut events = pin!(session.connection.events_listener());
        self.set_connected(&session);
        loop {
            select! {
                event = next(&mut events) => match event {
                    Some(Event::ConnectionBlocked(reason)) => self.set_blocked(&session, reason),
                    Some(Event::ConnectionUnblocked) => self.set_connected(&session),
                    Some(Event::Error(error)) => {
                        // A channel's error is told here too; the connection outlives that.
                        if !session.connection.status().connected() {
                            return self.end(&session, words(&error));
                        }
                    }
                    Some(_) => {}
                    None => return self.end(&session, "the connection ended".to_owned()),
                },
                () = sleep(LOOK_EVERY) => {
                    if !session.connection.status().connected() {
                        return self.end(&session, "the connection is gone".to_owned());
                    }
                }
            }
        }
    }

    fn end(&self, session: &Session, reason: String) -> End {
        session.kill();
        if *self.closed.borrow() { End::Closed } else { End::Lost(reason) }
    }

    fn set_connected(&self, session: &Arc<Session>) {
        self.status.send_modify(|status| {
            status.state = LinkState::Connected(Arc::clone(session));
            status.away_since = None;
            status.reconnects = session.epoch.saturating_sub(1);
        });
    }

    fn set_blocked(&self, session: &Arc<Session>, reason: String) {
        warn!(reason, "broker blocks publishers");
        self.status.send_modify(|status| {
            status.state =
                LinkState::Blocked { session: Arc::clone(session), reason: reason.into() };
            status.away_since.get_or_insert_with(Instant::now);
        });
    }

    fn lost(&self, reason: &str) {
        warn!(reason, "broker connection lost");
        self.status.send_modify(|status| {
            status.state = LinkState::Connecting { reason: Some(reason.into()) };
            status.away_since.get_or_insert_with(Instant::now);
        });
    }

    /// Notes a failed attempt; answers how long to wait before the next.
    fn failed(&mut self, error: DialError) -> Duration {
        let DialError { is_refusal, reason } = error;
        let reason: Arc<str> = reason.into();
        self.status.send_modify(|status| {
            let is_known = status.trouble().is_some_and(|known| known.ends_with(&*reason));
            if !is_known {
                warn!(%reason, is_refusal, "cannot connect to broker");
            }
            status.state = if is_refusal {
                LinkState::Misconfigured { reason }
            } else {
                LinkState::Connecting { reason: Some(reason) }
            };
            status.away_since.get_or_insert_with(Instant::now);
        });
        if is_refusal { jitter(BACKOFF_REFUSED) } else { self.next_pause() }
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(BACKOFF_MAX);
        jitter(pause)
    }
}

async fn next(events: &mut (impl Stream<Item = Event> + Unpin)) -> Option<Event> {
    events.next().await
}

/// Between half of `pause` and all of it, so that many daemons do not come back as one.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
