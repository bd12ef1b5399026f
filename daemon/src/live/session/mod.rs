//! A WebSocket session: one task per connection, which reads frames and writes what is due.
//!
//! It writes everything that waits before it flushes once, so bursts cost one system call.

pub(crate) mod intake;
mod meter;
pub(crate) mod socket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep_until, timeout};

use super::hub::Hub;
use super::message::FRAME_LEN_MAX;
use super::protocol::weir::{self, Command, Refused};
use super::subscription::{Next, Subscription};
use crate::tasks::Stop;
use crate::units::now_micros;
use intake::{Intake, Results};
use socket::{Close, Socket, SocketLimits};

/// How long the upgraded connection may take to appear.
const UPGRADE_LIMIT: Duration = Duration::from_secs(5);
/// How often a peer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(25);
/// How long it may be silent after that.
const PONG_LIMIT: Duration = Duration::from_secs(10);
/// Frames that are no frames, until the connection is closed.
const BAD_FRAMES_MAX: u32 = 16;
/// Reconnects after a drain are spread over this, in milliseconds.
const RETURN_MILLIS: u64 = 5_000;
/// Bytes read at once; resident as long as the connection lives.
const READ_LEN: usize = 1 << 10;
/// The largest frame that a peer may send.
const MESSAGE_LEN_MAX: usize = 256 << 10;

/// What a session is about.
#[derive(Debug, Clone)]
pub(crate) struct Purpose {
    /// The hub that may be subscribed to.
    pub(crate) hub: Option<Arc<Hub>>,
    /// The source that may be published to.
    pub(crate) intake: Option<Arc<dyn Intake>>,
}

/// Serves one connection until it ends or `stop` is asked.
pub(crate) async fn serve(upgrade: OnUpgrade, purpose: Purpose, mut stop: Stop) {
    let Ok(Ok(upgraded)) = timeout(UPGRADE_LIMIT, upgrade).await else { return };
    let limits = SocketLimits { read_len: READ_LEN, message_len_max: MESSAGE_LEN_MAX };
    let mut socket = Socket::new(upgraded, limits).await;
    let mut session = Session {
        subscription: purpose.hub.map(Subscription::new),
        intake: purpose.intake,
        answers: FuturesUnordered::new(),
        unanswered: 0,
        bad_frames: 0,
        heard: Instant::now(),
        is_pinged: false,
    };
    let close = session.run(&mut socket, &mut stop).await;
    socket.close(close).await;
}

/// A `pub` frame whose results are not there yet.
type Answer = std::pin::Pin<Box<dyn Future<Output = (usize, Vec<u8>)> + Send>>;

struct Session {
    subscription: Option<Subscription>,
    intake: Option<Arc<dyn Intake>>,
    answers: FuturesUnordered<Answer>,
    /// Events published without a verdict.
    unanswered: usize,
    bad_frames: u32,
    heard: Instant,
    is_pinged: bool,
}

/// What a session waits for.
enum Happening {
    Read(Result<Option<tokio_tungstenite::tungstenite::Utf8Bytes>, Close>),
    Due(Next),
    Answered(usize, Vec<u8>),
    Silent,
    Stopped,
}

impl Session {
    async fn run(&mut self, socket: &mut Socket, stop: &mut Stop) -> Close {
        let mut out = Vec::new();
        let cursor = self.subscription.as_ref().map(|subscription| subscription.hub().cursor());
        let name = format!("{:016x}", fastrand::u64(..));
        let now = now_micros() / 1_000;
        weir::write_welcome((&name, now), PING_EVERY.as_secs(), cursor, &mut out);
        loop {
            if let Err(close) = send(socket, std::mem::take(&mut out)).await {
                return close;
            }
            let happened = match self.next(socket, stop).await {
                Happening::Read(read) => self.read(read, &mut out),
                Happening::Due(due) => self.due(socket, due).await,
                Happening::Answered(events, frame) => {
                    self.unanswered -= events;
                    out = frame;
                    Ok(())
                }
                Happening::Silent => self.ping(&mut out),
                Happening::Stopped => {
                    weir::write_bye("drain", fastrand::u64(..RETURN_MILLIS), &mut out);
                    return match send(socket, out).await {
                        Ok(()) => Close::with(1012, "the daemon is going away"),
                        Err(close) => close,
                    };
                }
            };
            if let Err(close) = happened {
                return close;
            }
        }
    }

    async fn next(&mut self, socket: &mut Socket, stop: &mut Stop) -> Happening {
        let silent_at =
            self.heard + if self.is_pinged { PING_EVERY + PONG_LIMIT } else { PING_EVERY };
        let subscription = &mut self.subscription;
        let due = async {
            match subscription {
                Some(subscription) => subscription.next(FRAME_LEN_MAX).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = socket.read() => Happening::Read(read),
            due = due => Happening::Due(due),
            Some((events, frame)) = self.answers.next() => Happening::Answered(events, frame),
            () = sleep_until(silent_at) => Happening::Silent,
            () = stop.asked() => Happening::Stopped,
        }
    }

    /// Writes all that waits, packed, then flushes once.
    async fn due(&mut self, socket: &mut Socket, first: Next) -> Result<(), Close> {
        let mut next = first;
        loop {
            let Next::Burst(gap, pieces) = next else {
                return Err(Close::with(4008, "the subscriber takes too long"));
            };
            let mut text = Vec::new();
            if let Some(gap) = gap {
                gap.channels.iter().for_each(|name| weir::write_gap(name, &gap.missed, &mut text));
            }
            if let ([piece], true) = (pieces.as_slice(), text.is_empty()) {
                socket.write(piece.text.clone()).await?;
            } else {
                for piece in pieces {
                    if !text.is_empty() {
                        text.push(b'\n');
                    }
                    text.extend_from_slice(&piece.text);
                }
                socket.write(Bytes::from(text)).await?;
            }
            let Some(subscription) = &mut self.subscription else { break };
            match futures_util::FutureExt::now_or_never(subscription.next(FRAME_LEN_MAX)) {
                Some(more) => next = more,
                None => break,
            }
        }
        socket.flush().await
    }

    fn ping(&mut self, out: &mut Vec<u8>) -> Result<(), Close> {
        if self.is_pinged {
            return Err(Close::silent("no pong"));
        }
        self.is_pinged = true;
        weir::write_ping(out);
        Ok(())
    }

    fn read(
        &mut self,
        read: Result<Option<tokio_tungstenite::tungstenite::Utf8Bytes>, Close>,
        out: &mut Vec<u8>,
    ) -> Result<(), Close> {
        let text = read?;
        self.heard = Instant::now();
        self.is_pinged = false;
        let Some(text) = text else { return Ok(()) };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let done = weir::parse(line).and_then(|command| self.obey(command, out));
            if let Err(refused) = done {
                weir::write_error(&refused, out);
                self.bad_frames += u32::from(refused.code == "bad_request");
                if self.bad_frames > BAD_FRAMES_MAX {
                    return Err(Close::with(1008, "too many malformed frames"));
                }
            }
        }
        Ok(())
    }

    fn obey<'a>(&mut self, command: Command<'a>, out: &mut Vec<u8>) -> Result<(), Refused<'a>> {
        match command {
            Command::Hello | Command::Pong => Ok(()),
            Command::Ping => {
                weir::write_pong(out);
                Ok(())
            }
            Command::Sub { tag, patterns, start } => {
                let refuse = |code, message: String| Refused {
                    tag,
                    code,
                    message: message.into(),
                    hint: None,
                };
                let Some(subscription) = &mut self.subscription else {
                    return Err(refuse("not_found", "nothing to subscribe to here".to_owned()));
                };
                let joined = subscription
                    .join(&patterns, start)
                    .map_err(|error| refuse("rate_limited", error.to_string()))?;
                weir::write_subok(tag, &patterns, &joined, out);
                Ok(())
            }
            Command::Unsub { tag, patterns } => {
                if let Some(subscription) = &mut self.subscription {
                    subscription.part(&patterns);
                }
                weir::write_unsubok(tag, out);
                Ok(())
            }
            Command::Pub { tag, events } => {
                let refuse = |code, message: String| Refused {
                    tag,
                    code,
                    message: message.into(),
                    hint: None,
                };
                let Some(intake) = &self.intake else {
                    return Err(refuse("not_found", "nothing to publish to here".to_owned()));
                };
                if self.unanswered + events.len() > intake.window() {
                    let window = intake.window();
                    let message = format!("more than {window} events without a verdict");
                    return Err(refuse("overloaded", message));
                }
                let results: Results = intake
                    .publish(&events)
                    .map_err(|refusal| refuse(refusal.code.name(), refusal.to_string()))?;
                let count = events.len();
                let tag = tag.to_owned();
                self.unanswered += count;
                self.answers.push(Box::pin(async move {
                    let mut frame = Vec::new();
                    weir::write_pubok(tag.as_deref(), &results.await, &mut frame);
                    (count, frame)
                }));
                Ok(())
            }
        }
    }
}

async fn send(socket: &mut Socket, text: Vec<u8>) -> Result<(), Close> {
    if text.is_empty() {
        return Ok(());
    }
    socket.write(Bytes::from(text)).await?;
    socket.flush().await
}
