//! A guest's socket: reads its messages, writes what it is told, finds out whether it is there.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::guest::Guest;
use crate::live::message::FRAME_LEN_MAX;
use crate::live::protocol::pusher::{self, Refusal};
use crate::live::session::{Close, Socket, SocketLimits, asked};
use crate::live::subscription::Next;
use crate::tasks::Stop;

/// What a client's socket may hold: messages are short, and there are many sockets.
const LIMITS: SocketLimits = SocketLimits { read_len: 1 << 10, message_len_max: 256 << 10 };

/// How long a client may take to answer a ping.
const PONG_WITHIN: Duration = Duration::from_secs(30);

/// Connections of a daemon that goes away are closed within this time, each at its own moment:
/// clients come back at once, and sign in again.
const PARTING_SPREAD_MS: usize = 3_000;

const GONE: Refusal = Refusal { code: 4200, message: "the daemon goes away; connect again" };
const SILENT: Refusal = Refusal { code: 4201, message: "no pong in time" };
const TERMINATED: Refusal = Refusal { code: 4009, message: "the user's connections were ended" };

/// Clients cannot be told which events they missed, but they start anew after this.
const SLOW: Refusal = Refusal { code: 4100, message: "the client takes its events too slowly" };

/// Runs a connection to its end, or tells a client why there is none.
pub(super) async fn run(upgraded: Upgraded, guest: Result<Guest, Refusal>, goodbye: Stop) {
    let mut socket = Socket::new(upgraded, LIMITS).await;
    let close = match guest {
        Ok(guest) => {
            let mut session = Session { socket: &mut socket, guest, out: Vec::new() };
            session.serve(goodbye).await
        }
        Err(refusal) => refuse(&mut socket, refusal).await,
    };
    tracing::debug!(reason = close.reason, code = close.code, "session ended");
    socket.close(close).await;
}

struct Session<'a> {
    socket: &'a mut Socket,
    guest: Guest,
    /// Messages to be sent, one per line.
    out: Vec<u8>,
}

/// Everything that can happen to a connection.
enum Happening {
    Came(Result<Option<Utf8Bytes>, Close>),
    Due(Next),
    Tick,
    Goodbye,
    Terminated,
}

impl Session<'_> {
    async fn serve(&mut self, mut goodbye: Stop) -> Close {
        self.guest.greet(&mut self.out);
        let patience = self.guest.app().settings().activity_timeout;
        let spread = self.guest.app().stats().connections.min(PARTING_SPREAD_MS);
        let mut parting = std::pin::pin!(async move {
            goodbye.asked().await;
            sleep(Duration::from_millis(fastrand::usize(..=spread) as u64)).await;
        });
        let mut heard = Instant::now();
        let mut is_asked = false;
        let mut timer = std::pin::pin!(sleep(patience));
        loop {
            if let Err(close) = self.send().await {
                return close;
            }
            let happening = tokio::select! {
                () = parting.as_mut() => Happening::Goodbye,
                () = asked(self.guest.terminated.as_mut()) => Happening::Terminated,
                read = self.socket.read() => Happening::Came(read),
                next = self.guest.subscription.next(FRAME_LEN_MAX) => Happening::Due(next),
                () = timer.as_mut() => Happening::Tick,
            };
            let done = match happening {
                Happening::Came(read) => {
                    (heard, is_asked) = (Instant::now(), false);
                    self.came(read)
                }
                Happening::Due(next) => self.deliver(next).await,
                Happening::Tick if heard.elapsed() < patience => {
                    timer.as_mut().reset(heard + patience);
                    Ok(())
                }
                Happening::Tick if is_asked => Err(End::Refused(SILENT)),
                Happening::Tick => {
                    is_asked = true;
                    pusher::write_ping(&mut self.out);
                    timer.as_mut().reset(Instant::now() + PONG_WITHIN.min(patience));
                    Ok(())
                }
                Happening::Goodbye => Err(End::Refused(GONE)),
                Happening::Terminated => Err(End::Refused(TERMINATED)),
            };
            match done {
                Ok(()) => {}
                Err(End::Closed(close)) => return close,
                Err(End::Refused(refusal)) => return self.refuse(refusal).await,
            }
        }
    }

    fn came(&mut self, read: Result<Option<Utf8Bytes>, Close>) -> Result<(), End> {
        let Some(text) = read.map_err(End::Closed)? else { return Ok(()) };
        self.guest.obey(&text, &mut self.out).map_err(End::Refused)
    }

    async fn deliver(&mut self, next: Next) -> Result<(), End> {
        let Next::Burst(None, pieces) = next else { return Err(End::Refused(SLOW)) };
        for piece in &pieces {
            for (start, end) in lines(&piece.text) {
                self.socket.write(piece.text.slice(start..end)).await.map_err(End::Closed)?;
            }
        }
        self.socket.flush().await.map_err(End::Closed)
    }

    /// Sends the messages that wait in `out`.
    async fn send(&mut self) -> Result<(), Close> {
        send(self.socket, std::mem::take(&mut self.out)).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> Close {
        match self.send().await {
            Ok(()) => refuse(self.socket, refusal).await,
            Err(close) => close,
        }
    }
}

/// Why a connection ends.
enum End {
    Closed(Close),
    /// The client is told why, in a message and by the close.
    Refused(Refusal),
}

async fn refuse(socket: &mut Socket, refusal: Refusal) -> Close {
    let mut out = Vec::new();
    pusher::write_refusal(refusal, &mut out);
    match send(socket, out).await {
        Ok(()) => Close::with(refusal.code, refusal.message),
        Err(close) => close,
    }
}

async fn send(socket: &mut Socket, out: Vec<u8>) -> Result<(), Close> {
    if out.is_empty() {
        return Ok(());
    }
    let out = bytes::Bytes::from(out);
    for (start, end) in lines(&out) {
        socket.write(out.slice(start..end)).await?;
    }
    socket.flush().await
}

/// Where each line is.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    text.split(|byte| *byte == b'\n').map(move |line| {
        let end = start + line.len();
        let place = (start, end);
        start = end + 1;
        place
    })
}
