//! How long a connection may take for what it is doing.
//!
//! The phases of a connection change with every request, so they are noted as plain numbers and
//! read only when a timer that is rarely touched fires. A [`Socket`] notes what the other end does;
//! the connection asks for what is [`due`](Pace::due).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::stats::Cut;

/// The deadlines of a listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the first byte of a request, or from the handshake, to the end of its head.
    pub head: Duration,
    /// Between a reply and the next request.
    pub idle: Duration,
    /// While a reply is written and the other end takes nothing of it.
    pub write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(10),
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing of the next request has come.
    Idle,
    /// A head is coming in.
    Head,
    /// A request is being answered.
    Busy,
    /// Everything is said; the other end may still be sending.
    Closing,
}

/// How long the other end may go on sending after the last reply.
const LINGER: Duration = Duration::from_secs(1);

/// Since when a connection has been doing what it does.
///
/// Touched only by the connection's own task; atomic because the task may move between threads.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// The phase in the low two bits, above them milliseconds since `start`.
    phase: AtomicU64,
    /// Since when the socket takes no more, in milliseconds since `start`; 0 while it does.
    blocked: AtomicU64,
    /// Whether a request was refused, so that the rest of it may still be on its way.
    is_refused: AtomicBool,
}

impl Pace {
    pub(super) fn new() -> Self {
        let phase = AtomicU64::new(Phase::Head as u64);
        let (blocked, is_refused) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { start: Instant::now(), phase, blocked, is_refused }
    }

    /// Notes whether the request at hand is refused.
    pub(super) fn refuse(&self, is_refused: bool) {
        self.is_refused.store(is_refused, Ordering::Relaxed);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(self.elapsed() << 2 | phase as u64, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) & 3 {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Closing,
        }
    }

    /// When the connection has taken too long, and for what. `None` while nothing is due.
    pub(super) fn due(&self, deadlines: &Deadlines) -> Option<(Instant, Cut)> {
        let since = Duration::from_millis(self.phase.load(Ordering::Relaxed) >> 2);
        let of_phase = match self.phase() {
            Phase::Idle => Some((self.start + since + deadlines.idle, Cut::Idle)),
            Phase::Head => Some((self.start + since + deadlines.head, Cut::SlowHead)),
            Phase::Busy => None,
            Phase::Closing => Some((self.start + since + LINGER, Cut::Unread)),
        };
        let blocked = self.blocked.load(Ordering::Relaxed);
        let of_write = (blocked > 0).then(|| {
            (self.start + Duration::from_millis(blocked) + deadlines.write, Cut::SlowRead)
        });
        of_phase.into_iter().chain(of_write).min_by_key(|(at, _)| *at)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    fn wrote(&self, is_blocked: bool) {
        if !is_blocked {
            self.blocked.store(0, Ordering::Relaxed);
        } else if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.elapsed().max(1), Ordering::Relaxed);
        }
    }
}

/// A connection's socket; notes when bytes come and when none can leave.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    pace: Arc<Pace>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }

    /// The socket itself, for a connection that no longer speaks HTTP.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Reads what the other end still sends, to its end. Closing a socket that holds unread bytes
    /// would take the last reply away from the other end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 << 10];
        // Not without end: whoever is faster than this loop is cut off. It takes a whole body of
        // a source's usual limit, so that who was refused at its head hears why.
        for _ in 0..128 {
            let mut unread = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut unread))?;
            if unread.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says something before the connection is closed, if the socket takes it at once.
    pub(super) fn last_words(&self, words: &[u8]) {
        drop(self.stream.try_write(words));
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && self.pace.phase() == Phase::Idle {
            self.pace.enter(Phase::Head);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pace.wrote(wrote.is_pending());
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.pace.wrote(wrote.is_pending());
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.pace.phase();
        if phase != Phase::Closing {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let may_be_sending =
                phase == Phase::Head || self.pace.is_refused.load(Ordering::Relaxed);
            if !may_be_sending {
                return Poll::Ready(Ok(()));
            }
            self.pace.enter(Phase::Closing);
        }
        self.poll_discard(cx)
    }
}
