//! One WebSocket, with small buffers, bounded waits and a close code for everything.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

use super::meter::Meter;
use crate::live::message::FRAME_LEN_MAX;

/// How long a peer may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of frame headers that one message may spend, beyond its size.
const FRAGMENTS_ALLOWANCE: usize = 16 << 10;

/// Pings and pongs that a peer may send within a second.
const CONTROLS_MAX: u32 = 20;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) struct Close {
    /// `None` where nobody is there to be told.
    pub(in crate::live) code: Option<u16>,
    pub(in crate::live) reason: &'static str,
}

impl Close {
    pub(in crate::live) const fn with(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason }
    }

    pub(in crate::live) const fn silent(reason: &'static str) -> Self {
        Self { code: None, reason }
    }
}

type Stream = WebSocketStream<Meter<TokioIo<Upgraded>>>;

/// A server's end of a WebSocket.
#[derive(Debug)]
pub(in crate::live) struct Socket {
    stream: Stream,
    allowance: usize,
    /// Pings and pongs since `controls_from`.
    controls: u32,
    controls_from: Instant,
}

/// How much a socket may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketLimits {
    /// Bytes read at once; resident for as long as the connection lives.
    pub(crate) read_len: usize,
    /// Bytes of one incoming message.
    pub(crate) message_len_max: usize,
}

impl Socket {
    pub(in crate::live) async fn new(upgraded: Upgraded, limits: SocketLimits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(limits.read_len)
            .write_buffer_size(FRAME_LEN_MAX)
            .max_message_size(Some(limits.message_len_max))
            .max_frame_size(Some(limits.message_len_max));
        let allowance = limits.message_len_max + limits.read_len + FRAGMENTS_ALLOWANCE;
        let meter = Meter::new(TokioIo::new(upgraded), allowance);
        let stream = WebSocketStream::from_raw_socket(meter, Role::Server, Some(config)).await;
        Self { stream, allowance, controls: 0, controls_from: Instant::now() }
    }

    /// The next text that the peer sends; `None` where it only showed that it is there.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(in crate::live) async fn read(&mut self) -> Result<Option<Utf8Bytes>, Close> {
        match self.message().await? {
            Message::Text(text) => Ok(Some(text)),
            Message::Binary(_) => Err(Close::with(1003, "this protocol is text")),
            Message::Ping(_) | Message::Pong(_) => self.count_control().map(|()| None),
            Message::Close(_) | Message::Frame(_) => Ok(None),
        }
    }

    /// The next message of whatever kind; `None` where the peer only showed that it is there.
    pub(super) async fn hear(&mut self) -> Result<Option<(Bytes, Data)>, Close> {
        match self.message().await? {
            Message::Text(text) => Ok(Some((text.into(), Data::Text))),
            Message::Binary(bytes) => Ok(Some((bytes, Data::Binary))),
            Message::Ping(_) | Message::Pong(_) => self.count_control().map(|()| None),
            Message::Close(_) | Message::Frame(_) => Ok(None),
        }
    }

    async fn message(&mut self) -> Result<Message, Close> {
        let read = self.stream.next().await;
        let message = read.ok_or(Close::silent("closed"))?.map_err(|error| close_of(&error))?;
        self.stream.get_mut().allowance = self.allowance;
        Ok(message)
    }

    /// Writes one text frame, which waits in the buffer until [`flush`](Self::flush) at most.
    pub(in crate::live) async fn write(&mut self, text: Bytes) -> Result<(), Close> {
        self.say(text, Data::Text).await
    }

    /// Writes one frame of this kind.
    pub(super) async fn say(&mut self, data: Bytes, kind: Data) -> Result<(), Close> {
        self.wait(|stream, cx| stream.poll_ready_unpin(cx)).await?;
        let frame = Frame::message(data, OpCode::Data(kind), true);
        let sent = self.stream.start_send_unpin(Message::Frame(frame));
        sent.map_err(|error| close_of(&error))
    }

    /// Waits until everything is written, as long as the peer takes some of it.
    pub(in crate::live) async fn flush(&mut self) -> Result<(), Close> {
        self.wait(|stream, cx| stream.poll_flush_unpin(cx)).await
    }

    async fn wait(
        &mut self,
        mut poll: impl FnMut(&mut Stream, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Result<(), Close> {
        loop {
            let before = self.stream.get_ref().written;
            match timeout(WRITE_TIMEOUT, poll_fn(|cx| poll(&mut self.stream, cx))).await {
                Ok(done) => return done.map_err(|error| close_of(&error)),
                Err(_) if self.stream.get_ref().written > before => {}
                Err(_) => return Err(Close::silent("the peer reads nothing")),
            }
        }
    }

    /// Says why, and waits a moment for the peer to say the same.
    pub(in crate::live) async fn close(mut self, close: Close) {
        let Some(code) = close.code else { return };
        let frame = CloseFrame { code: CloseCode::from(code), reason: close.reason.into() };
        let goodbye = async {
            if self.stream.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
            while let Some(Ok(_)) = self.stream.next().await {}
            discard(self.stream.get_mut()).await;
        };
        drop(timeout(CLOSE_TIMEOUT, goodbye).await);
    }

    fn count_control(&mut self) -> Result<(), Close> {
        let now = Instant::now();
        if now.duration_since(self.controls_from) > Duration::from_secs(1) {
            self.controls = 0;
            self.controls_from = now;
        }
        self.controls += 1;
        if self.controls > CONTROLS_MAX {
            return Err(Close::with(1008, "too many pings"));
        }
        Ok(())
    }
}

/// Reads what a peer was still sending when it was cut off. A socket closed over unread bytes is
/// reset, and the peer would never see the close code.
async fn discard(connection: &mut Meter<TokioIo<Upgraded>>) {
    connection.allowance = usize::MAX;
    if connection.shutdown().await.is_ok() {
        drop(tokio::io::copy(connection, &mut tokio::io::sink()).await);
    }
}

fn close_of(error: &Error) -> Close {
    match error {
        Error::Capacity(_) => Close::with(1009, "the message is too large"),
        Error::Utf8(_) => Close::with(1007, "text is UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Close::silent("reset"),
        Error::Protocol(_) => Close::with(1002, "not by RFC 6455"),
        Error::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
            Close::with(1008, "too many fragments")
        }
        _ => Close::silent("closed"),
    }
}
