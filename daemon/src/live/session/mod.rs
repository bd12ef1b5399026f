//! One WebSocket connection that speaks `weir.v1`, from `welcome` to its close.
//!
//! A single task reads commands, writes what its subscription brings and what became of published
//! events. It takes all that waits, packs it into one frame and flushes once.

mod intake;
mod meter;
mod mirror;
mod socket;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub(crate) use self::intake::{Intake, Results};
pub use self::mirror::Mirror;
pub(crate) use self::socket::SocketLimits;
pub(in crate::live) use self::socket::{Close, Socket};
use super::access::{Admission, Denied, Reason};
use super::allowance::Allowance;
use super::hub::{Hub, Start};
use super::message::{FRAME_LEN_MAX, Piece};
use super::pattern::Pattern;
use super::presence::Full;
use super::protocol::weir::{self, Command, Refused, Tag};
use super::stream::reached;
use super::subscription::{Next, Subscription};
use crate::event::id::{IdBuffer, ulid};
use crate::tasks::Stop;
use crate::units::now_micros;

/// How often a connection is asked whether it is there; proxies cut after 30 s and more.
const PING_EVERY: Duration = Duration::from_secs(25);

/// How long it may take to answer.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Bad frames, less good ones, after which a connection is closed.
const FAULTS_MAX: u32 = 16;

/// `sub` frames that a connection may send at once, and in a second from then on. A client that
/// comes back may have one for each of its channels, and each may read the history.
const SUBS_MAX: f64 = 256.0;
const SUBS_RATE: f64 = 32.0;

/// How long what is in flight may take once the connection is to end.
const PARTING: Duration = Duration::from_secs(10);

/// Subscribers come back within this time after a drain, each at its own moment.
const RETURN_SPREAD_MS: u64 = 5_000;

/// What a connection may do.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The hub that it may subscribe to.
    pub(crate) hub: Option<Arc<Hub>>,
    /// The hub whose tokens count, if any does.
    pub(crate) keeper: Option<Arc<Hub>>,
    /// Where its events go, if it may publish.
    pub(crate) intake: Option<Arc<dyn Intake>>,
    pub(crate) limits: SocketLimits,
    /// Asked when the daemon goes away.
    pub(crate) goodbye: Stop,
    /// Asked when the path that it came through is gone.
    pub(crate) gone: Option<Stop>,
}

/// Runs a connection to its end.
pub(crate) async fn run(upgraded: Upgraded, terms: Terms) {
    let Terms { hub, keeper, intake, limits, goodbye, gone } = terms;
    let mut session = Session {
        socket: Socket::new(upgraded, limits).await,
        admission: keeper.map(Admission::new),
        subscription: hub.map(Subscription::new),
        intake,
        settling: FuturesUnordered::new(),
        in_flight: 0,
        out: Vec::new(),
        faults: 0,
        subs: Allowance::new(SUBS_MAX, SUBS_RATE),
        awaits_pong: false,
    };
    let close = session.serve(goodbye, gone).await;
    tracing::debug!(reason = close.reason, code = close.code, "session ended");
    let Session { socket, subscription, .. } = session;
    drop(subscription);
    socket.close(close).await;
}

#[derive(Debug)]
struct Session {
    socket: Socket,
    subscription: Option<Subscription>,
    /// What the other end has shown to the hub, if there is one.
    admission: Option<Admission>,
    intake: Option<Arc<dyn Intake>>,
    settling: FuturesUnordered<BoxFuture<'static, Settled>>,
    /// Events in `settling`.
    in_flight: usize,
    /// Lines to be sent with the next frame.
    out: Vec<u8>,
    faults: u32,
    subs: Allowance,
    awaits_pong: bool,
}

/// A `pub` frame whose events have their verdicts.
#[derive(Debug)]
struct Settled {
    tag: Option<Box<str>>,
    events: usize,
    results: Vec<u8>,
}

/// Everything that can happen to a connection.
enum Happening {
    Came(Result<Option<Utf8Bytes>, Close>),
    Due(Next),
    Settled(Settled),
    Tick,
    /// Nothing that it has shown is good any more.
    Lapsed,
    Goodbye,
    Gone,
}

impl Session {
    async fn serve(&mut self, mut goodbye: Stop, mut gone: Option<Stop>) -> Close {
        self.welcome();
        // The first ping comes at a random moment, so that connections do not ping in step.
        let first = PING_EVERY.mul_f64(fastrand::f64());
        let mut timer = std::pin::pin!(sleep(first));
        loop {
            if let Err(close) = self.send().await {
                return close;
            }
            let happening = tokio::select! {
                () = goodbye.asked() => Happening::Goodbye,
                () = asked(gone.as_mut()) => Happening::Gone,
                read = self.socket.read() => Happening::Came(read),
                next = next(self.subscription.as_mut()) => Happening::Due(next),
                Some(settled) = self.settling.next() => Happening::Settled(settled),
                () = timer.as_mut() => Happening::Tick,
                () = reached(self.admission.as_ref().and_then(Admission::deadline)) => Happening::Lapsed,
            };
            if matches!(happening, Happening::Came(Ok(_))) && self.awaits_pong {
                self.awaits_pong = false;
                timer.as_mut().reset(Instant::now() + PING_EVERY);
            }
            if matches!(happening, Happening::Tick) {
                timer.as_mut().reset(Instant::now() + PONG_WITHIN);
            }
            if let Err(close) = self.react(happening).await {
                return close;
            }
        }
    }

    async fn react(&mut self, happening: Happening) -> Result<(), Close> {
        match happening {
            Happening::Came(read) => match read? {
                Some(text) => self.obey(&text).await,
                None => Ok(()),
            },
            Happening::Due(next) => self.deliver(next).await,
            Happening::Settled(settled) => {
                self.settled(&settled);
                Ok(())
            }
            Happening::Tick if self.awaits_pong => Err(Close::with(1001, "no pong")),
            Happening::Tick => {
                self.awaits_pong = true;
                let reached = self.subscription.as_ref().and_then(Subscription::reached);
                weir::write_ping(reached, &mut self.out);
                Ok(())
            }
            Happening::Lapsed => {
                let denied = self.admission.as_ref().map_or(Denied::Missing, Admission::lapse);
                self.turn_away(&denied).await
            }
            Happening::Goodbye => {
                self.finish().await?;
                weir::write_bye("drain", fastrand::u64(..RETURN_SPREAD_MS), &mut self.out);
                self.send().await?;
                Err(Close::with(1012, "the daemon goes away"))
            }
            Happening::Gone => {
                self.finish().await?;
                self.send().await?;
                Err(Close::with(4410, "nothing is served here any more"))
            }
        }
    }

    fn welcome(&mut self) {
        let now = now_micros();
        let mut buffer = IdBuffer::default();
        let name = ulid(now, &mut buffer);
        let cursor = self.subscription.as_ref().map(|subscription| subscription.hub().cursor());
        weir::write_welcome((name, now / 1_000), PING_EVERY.as_secs(), cursor, &mut self.out);
    }

    /// Does what the lines of one frame say.
    async fn obey(&mut self, text: &str) -> Result<(), Close> {
        for line in text.lines().filter(|line| !line.trim_ascii().is_empty()) {
            match weir::parse(line) {
                Ok(command) => {
                    self.faults = self.faults.saturating_sub(1);
                    self.act(command).await?;
                }
                Err(refused) => {
                    weir::write_error(&refused, &mut self.out);
                    self.faults += 1;
                }
            }
            if self.faults > FAULTS_MAX {
                self.send().await?;
                return Err(Close::with(1008, "too many bad frames"));
            }
            if self.out.len() > FRAME_LEN_MAX {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn act(&mut self, command: Command<'_>) -> Result<(), Close> {
        match command {
            Command::Pong | Command::Hello { token: None } => {}
            Command::Hello { token: Some(token) } => self.hello(&token.0).await?,
            Command::Ping => weir::write_pong(&mut self.out),
            Command::Sub { tag, patterns, start, presence } => {
                let is_there = self.sub(tag, &patterns, start, presence == Some(true));
                match presence.filter(|_| is_there) {
                    // What is behind the reply comes behind who is there.
                    Some(true) => self.attend(tag, &patterns),
                    Some(false) => self.withdraw(&patterns),
                    None => {}
                }
            }
            Command::Unsub { tag, patterns } => {
                self.deliver_waiting().await?;
                if let Some(subscription) = &mut self.subscription {
                    subscription.part(&patterns);
                }
                weir::write_unsubok(tag, &mut self.out);
            }
            Command::Pub { tag, events } => self.publish(tag, &events),
        }
        Ok(())
    }

    /// Lets the other end do what its token says, from now on.
    async fn hello(&mut self, token: &str) -> Result<(), Close> {
        let Some(admission) = &mut self.admission else { return Ok(()) };
        if let Err(denied) = admission.show(token) {
            return self.turn_away(&denied).await;
        }
        // What the token before was good for and this one is not.
        let patterns = self.subscription.iter().flat_map(Subscription::patterns);
        let lost: Vec<_> = patterns.filter(|own| !admission.covers(own)).cloned().collect();
        if let (Some(subscription), false) = (&mut self.subscription, lost.is_empty()) {
            subscription.part(&lost);
        }
        for pattern in lost {
            weir::write_error(&Refused::of(&Denied::Channel(pattern)), &mut self.out);
        }
        Ok(())
    }

    async fn turn_away(&mut self, denied: &Denied) -> Result<(), Close> {
        weir::write_error(&Refused::of(denied), &mut self.out);
        self.send().await?;
        Err(if denied.is_passing() {
            Close::with(1013, "try again")
        } else {
            Close::with(4401, "show a token that is good")
        })
    }

    /// Answers whether it is subscribed.
    fn sub(&mut self, tag: Tag<'_>, patterns: &[Pattern], start: Start, is_present: bool) -> bool {
        let checked = self.admission.as_ref().map_or(Ok(()), |own| own.check(patterns));
        if let Err(denied) = checked {
            let refused = Refused { tag, ..Refused::of(&denied) };
            weir::write_error(&refused, &mut self.out);
            return false;
        }
        let refuse = |code, message: String, hint| Refused {
            tag,
            code,
            message: message.into(),
            hint: Some(hint),
        };
        let is_hasty = !self.subs.spend();
        let has_user = self.admission.as_ref().is_some_and(|own| own.member().is_some());
        let refused = match &mut self.subscription {
            None => refuse(
                "forbidden",
                "there is nothing to subscribe to on this path".to_owned(),
                "the source names no hub",
            ),
            Some(subscription) if is_hasty => {
                subscription.hub().refusals().count(Reason::Rate);
                let message = format!("a connection subscribes at most {SUBS_RATE} times a second");
                refuse("rate_limited", message, "name many channels in one `sub`, or use a pattern")
            }
            Some(_) if is_present && !has_user => refuse(
                "forbidden",
                "nobody knows who would be present".to_owned(),
                "show a token whose claim `sub` names the user",
            ),
            Some(_) if is_present && !patterns.iter().all(Pattern::is_exact) => refuse(
                "bad_request",
                "one is present on channels, not on patterns".to_owned(),
                "name each channel",
            ),
            Some(subscription) => match subscription.join(patterns, start) {
                Ok(joined) => {
                    weir::write_subok(tag, patterns, &joined, &mut self.out);
                    return true;
                }
                Err(error) => {
                    refuse("rejected", error.to_string(), "unsubscribe first, or use a pattern")
                }
            },
        };
        weir::write_error(&refused, &mut self.out);
        false
    }

    /// Makes the other end a member of channels that it subscribes to.
    fn attend(&mut self, tag: Tag<'_>, channels: &[Pattern]) {
        let member = self.admission.as_ref().and_then(Admission::member);
        let (Some(member), Some(subscription)) = (member, &mut self.subscription) else { return };
        for channel in channels {
            match subscription.attend(channel.as_str(), member) {
                Ok(members) => {
                    self.out.push(b'\n');
                    self.out.extend_from_slice(&members);
                }
                Err(Full) => {
                    let message = format!("`{}` has as many members as it may", channel.as_str());
                    let (code, message) = ("rejected", message.into());
                    let refused = Refused { tag, code, message, hint: None };
                    weir::write_error(&refused, &mut self.out);
                }
            }
        }
    }

    /// Takes the other end out of the members of channels, which it still subscribes to.
    fn withdraw(&mut self, channels: &[Pattern]) {
        if let Some(subscription) = &mut self.subscription {
            subscription.withdraw(channels);
        }
    }

    fn publish(&mut self, tag: Tag<'_>, events: &[&RawValue]) {
        let Some(intake) = &self.intake else {
            let refused = Refused {
                tag,
                code: "forbidden",
                message: "nobody publishes on this path".into(),
                hint: Some("publish through a source"),
            };
            return weir::write_error(&refused, &mut self.out);
        };
        let has_room = self.in_flight == 0 || self.in_flight + events.len() <= intake.window();
        if !has_room {
            let message = "too many events without a verdict on this connection".into();
            let refused = Refused { tag, code: "overloaded", message, hint: None };
            return weir::write_error(&refused, &mut self.out);
        }
        match intake.publish(events, self.admission.as_ref()) {
            Ok(results) => {
                let (tag, events) = (tag.to_owned(), events.len());
                self.in_flight += events;
                let settled = async move { Settled { tag, events, results: results.await } };
                self.settling.push(settled.boxed());
            }
            Err(refusal) => {
                let message = refusal.message.to_string().into();
                let refused = Refused { tag, code: refusal.code.name(), message, hint: None };
                weir::write_error(&refused, &mut self.out);
            }
        }
    }

    fn settled(&mut self, settled: &Settled) {
        self.in_flight -= settled.events;
        weir::write_pubok(settled.tag.as_deref(), &settled.results, &mut self.out);
    }

    async fn deliver(&mut self, next: Next) -> Result<(), Close> {
        let Next::Burst(gap, pieces) = next else {
            return Err(Close::with(4008, "too slow"));
        };
        if let Some(gap) = gap {
            for pattern in &gap.channels {
                weir::write_gap(pattern, &gap.missed, &mut self.out);
            }
        }
        let frame = pack(std::mem::take(&mut self.out), &pieces);
        self.socket.write(frame).await?;
        self.socket.flush().await
    }

    /// Delivers what the subscription has, without waiting for more.
    async fn deliver_waiting(&mut self) -> Result<(), Close> {
        while let Some(due) = next(self.subscription.as_mut()).now_or_never() {
            self.deliver(due).await?;
        }
        Ok(())
    }

    /// Answers and delivers what is in flight.
    async fn finish(&mut self) -> Result<(), Close> {
        let until = Instant::now() + PARTING;
        while let Ok(Some(settled)) =
            timeout(until.saturating_duration_since(Instant::now()), self.settling.next()).await
        {
            self.settled(&settled);
        }
        self.send().await?;
        self.deliver_waiting().await
    }

    /// Sends the lines that wait in `out`.
    async fn send(&mut self) -> Result<(), Close> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.socket.write(std::mem::take(&mut self.out).into()).await?;
        self.socket.flush().await
    }
}

/// One frame of `head` and `pieces`; a piece that is alone is not copied.
fn pack(mut head: Vec<u8>, pieces: &[Piece]) -> Bytes {
    if let ([piece], true) = (pieces, head.is_empty()) {
        return piece.text.clone();
    }
    head.reserve(pieces.iter().map(|piece| piece.text.len() + 1).sum());
    for piece in pieces {
        if !head.is_empty() {
            head.push(b'\n');
        }
        head.extend_from_slice(&piece.text);
    }
    head.into()
}

async fn next(subscription: Option<&mut Subscription>) -> Next {
    match subscription {
        Some(subscription) => subscription.next(FRAME_LEN_MAX).await,
        None => pending().await,
    }
}

/// Waits for what may never be asked.
pub(in crate::live) async fn asked(stop: Option<&mut Stop>) {
    match stop {
        Some(stop) => stop.asked().await,
        None => pending().await,
    }
}
