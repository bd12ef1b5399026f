//! The task that keeps one hub and its stream together: it follows the stream on every connection
//! that there is, and says so where there is none.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::{Channel, Result as AmqpResult};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::stream::{Broken, Outflow, Stream};
use crate::amqp::{Link, LinkState, LinkStatus, Session, jitter};
use crate::live::{Relay, Strange, Waiting};
use crate::tasks::Stop;

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(250);

/// How long a hub waits for its stream before it goes on alone.
const GRACE: Duration = Duration::from_secs(1);

/// The same for the first time, when nobody waits yet.
const FIRST_GRACE: Duration = Duration::from_secs(3);

/// How long the broker may take to open the stream.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// How long the stream may bring nothing while something is on its way.
const STALL: Duration = Duration::from_secs(5);

/// How long the message to read on from may take. A stream that is not as long any more, because it
/// is another one, brings nothing at all.
const RESUME_LIMIT: Duration = Duration::from_secs(2);

/// The pause before a stream is opened again that broke.
const REOPEN: Duration = Duration::from_millis(200);

/// The same if only a person can help.
const RECHECK: Duration = Duration::from_secs(5);

/// Parcels that are taken in before a message is made of them.
const GATHER_MAX: usize = 256;

/// Keeps a hub and its stream together.
#[derive(Debug)]
pub(super) struct Carrier {
    relay: Relay,
    /// The hub holds the other end.
    outbox: mpsc::Receiver<Waiting>,
    link: watch::Receiver<LinkStatus>,
    stream: Arc<Stream>,
    stop: Stop,
    tick: Interval,
    /// Since when the hub is apart from its stream.
    apart_since: Option<Instant>,
    was_synced: bool,
    /// Kept up for as long as this lives.
    _link: Arc<Link>,
}

/// What happens while the stream is followed.
#[derive(Debug)]
enum Happening {
    Came(Box<Option<AmqpResult<Delivery>>>),
    Waiting(Option<Waiting>),
    Published(Result<(), Broken>),
    Link,
    Tick,
    Stop,
}

/// Why messages are not moved any more.
#[derive(Debug)]
enum Halt {
    Broken(Broken),
    Strange,
}

impl Carrier {
    pub(super) fn new(
        (relay, outbox): (Relay, mpsc::Receiver<Waiting>),
        (link, status): (Arc<Link>, watch::Receiver<LinkStatus>),
        stream: Arc<Stream>,
        stop: Stop,
    ) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let apart_since = Some(Instant::now());
        Self {
            relay,
            outbox,
            link: status,
            stream,
            stop,
            tick,
            apart_since,
            was_synced: false,
            _link: link,
        }
    }

    /// Runs until the daemon stops.
    pub(super) async fn run(mut self) {
        let mut pause = Duration::ZERO;
        while let Some(session) = self.session(pause).await {
            let Err(broken) = self.follow(&session).await else { break };
            self.relay.lost();
            self.apart_since.get_or_insert_with(Instant::now);
            pause = match broken {
                Broken::Refused(reason) => {
                    warn!(reason, "the stream of a hub cannot be used");
                    self.relay.set_trouble(&format!("misconfigured: {reason}"));
                    RECHECK
                }
                Broken::Lost(reason) => {
                    info!(reason, "the stream of a hub broke off");
                    // What is left of it would only be in the way.
                    session.kill();
                    REOPEN
                }
            };
        }
        self.outbox.close();
        while let Some(waiting) = self.outbox.recv().await {
            self.relay.take(waiting, Instant::now());
        }
        self.relay.expire(None);
    }

    /// A session to follow the stream on, after `pause`; `None` once the daemon stops.
    async fn session(&mut self, pause: Duration) -> Option<Arc<Session>> {
        let since = Instant::now();
        let pause = jitter(pause);
        loop {
            let status = self.link.borrow_and_update().clone();
            if let Some(session) = status.session().filter(|_| since.elapsed() >= pause) {
                return Some(Arc::clone(session));
            }
            if self.is_apart_too_long() {
                self.relay.go_alone();
                if let Some(trouble) = status.trouble() {
                    self.relay.set_trouble(&trouble);
                }
            }
            select! {
                biased;
                () = self.stop.asked() => return None,
                Some(waiting) = self.outbox.recv() => self.take(waiting),
                Ok(()) = self.link.changed() => {}
                _ = self.tick.tick() => self.relay.expire(Some(Instant::now())),
            }
        }
    }

    fn is_apart_too_long(&self) -> bool {
        let grace = if self.was_synced { GRACE } else { FIRST_GRACE };
        self.apart_since.is_some_and(|since| since.elapsed() > grace)
    }

    fn take(&mut self, waiting: Waiting) {
        let now = Instant::now();
        self.relay.take(waiting, now);
        for _ in 0..GATHER_MAX {
            let Ok(waiting) = self.outbox.try_recv() else { return };
            self.relay.take(waiting, now);
        }
    }

    /// Follows the stream until something breaks or the daemon stops.
    async fn follow(&mut self, session: &Arc<Session>) -> Result<(), Broken> {
        let opened = within(async {
            let is_new = self.stream.declare(&session.connection).await?;
            Ok((is_new, self.stream.inflow(&session.connection).await?))
        });
        let (is_new, inflow) = opened.await?;
        let mut place = self.relay.resume().filter(|_| !is_new);
        loop {
            let outflow = within(self.enter(session, &inflow, place)).await?;
            match self.pump(session, &inflow, outflow).await {
                Ok(()) => return Ok(()),
                Err(Halt::Broken(broken)) => return Err(broken),
                Err(Halt::Strange) => place = None,
            }
        }
    }

    /// Opens the stream at `place`, or as far before its end as the hub's history reaches.
    async fn enter(
        &mut self,
        session: &Session,
        inflow: &Channel,
        place: Option<u64>,
    ) -> Result<Outflow, Broken> {
        if place.is_none() {
            self.relay.look();
        }
        let mut outflow = self.stream.outflow(&session.connection, place).await?;
        let hello = self.relay.hello();
        self.stream.publish(inflow, &hello).await?;
        if place.is_some() {
            return Ok(outflow);
        }
        loop {
            let delivery = delivery(outflow.deliveries.next().await)?;
            let offset = outflow.took(&delivery)?;
            if let Some(start) = self.relay.found(offset, &delivery.data) {
                outflow.close().await;
                return self.stream.outflow(&session.connection, Some(start)).await;
            }
        }
    }

    /// Moves messages both ways.
    async fn pump(
        &mut self,
        session: &Arc<Session>,
        inflow: &Channel,
        mut outflow: Outflow,
    ) -> Result<(), Halt> {
        let mut publishes = FuturesUnordered::new();
        let mut heard = Instant::now();
        let mut news = None;
        loop {
            while let Some(message) = news.take().or_else(|| self.relay.next_message()) {
                let (stream, inflow) = (Arc::clone(&self.stream), inflow.clone());
                publishes.push(async move { stream.publish(&inflow, &message).await });
            }
            let happening = select! {
                delivery = outflow.deliveries.next() => Happening::Came(Box::new(delivery)),
                Some(published) = publishes.next() => Happening::Published(published),
                waiting = self.outbox.recv() => Happening::Waiting(waiting),
                changed = self.link.changed() => changed.map_or(Happening::Stop, |()| Happening::Link),
                _ = self.tick.tick() => Happening::Tick,
                () = self.stop.asked(), if self.relay.is_idle() => Happening::Stop,
            };
            match happening {
                Happening::Came(came) => {
                    heard = Instant::now();
                    let delivery = delivery(*came)?;
                    let offset = outflow.took(&delivery)?;
                    self.relay.came(offset, &delivery.data)?;
                    self.note_synced();
                }
                Happening::Published(published) => published?,
                Happening::Waiting(Some(waiting)) => self.take(waiting),
                Happening::Waiting(None) | Happening::Stop => {
                    if let Some(farewell) = self.relay.farewell() {
                        within(self.stream.publish(inflow, &farewell)).await?;
                    }
                    return Ok(());
                }
                Happening::Link => self.look_at(session)?,
                Happening::Tick => {
                    heard = self.look_around(heard)?;
                    news = self.relay.news(Instant::now());
                }
            }
        }
    }

    fn note_synced(&mut self) {
        if self.relay.is_synced() && !self.was_blocked() {
            self.was_synced = true;
            self.apart_since = None;
        }
    }

    fn was_blocked(&self) -> bool {
        matches!(self.link.borrow().state, LinkState::Blocked { .. })
    }

    /// Looks whether `session` still is what the link has.
    fn look_at(&mut self, session: &Session) -> Result<(), Broken> {
        let status = self.link.borrow_and_update().clone();
        match &status.state {
            LinkState::Connected(own) if own.epoch == session.epoch => {
                self.relay.come_back();
                self.note_synced();
                Ok(())
            }
            LinkState::Blocked { session: own, .. } if own.epoch == session.epoch => {
                self.apart_since.get_or_insert_with(Instant::now);
                Ok(())
            }
            _ => Err(Broken::Lost(status.trouble().unwrap_or_default())),
        }
    }

    /// Looks at the time; answers since when the stream should bring something.
    fn look_around(&mut self, heard: Instant) -> Result<Instant, Halt> {
        let now = Instant::now();
        self.relay.expire(Some(now));
        if self.was_blocked() {
            if self.is_apart_too_long() {
                self.relay.go_alone();
                let trouble = self.link.borrow().trouble();
                self.relay.set_trouble(&trouble.unwrap_or_default());
            }
            return Ok(now);
        }
        if !self.relay.is_expecting() {
            return Ok(now);
        }
        if self.relay.is_resuming() && heard.elapsed() > RESUME_LIMIT {
            return Err(Halt::Strange);
        }
        if heard.elapsed() > STALL {
            return Err(Broken::Lost("the stream brings nothing".to_owned()).into());
        }
        Ok(heard)
    }
}

impl From<Broken> for Halt {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Strange> for Halt {
    fn from(_: Strange) -> Self {
        Self::Strange
    }
}

fn delivery(came: Option<AmqpResult<Delivery>>) -> Result<Delivery, Broken> {
    match came {
        Some(delivery) => Ok(delivery?),
        None => Err(Broken::Lost("the stream is gone".to_owned())),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    let late = |_| Err(Broken::Lost("the broker does not open the stream".to_owned()));
    timeout(OPEN_LIMIT, work).await.unwrap_or_else(late)
}
