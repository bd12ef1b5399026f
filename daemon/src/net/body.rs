//! A request's body, read whole within limits of size, speed and decompression.
//!
//! The body of a small request arrives in one piece and is passed on without a copy; a timer is
//! armed only for one that has to be waited for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderValue};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::budget::Lease;

/// Largest window that a zstd body may ask for, as a power of two: the 8 MiB that RFC 8878 tells
/// decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Decompressed size below which the ratio does not matter.
const RATIO_EXEMPT: usize = 64 << 10;

/// How much is decompressed before other connections get their turn.
const DECOMPRESS_STEP: usize = 128 << 10;

/// What a body may be and take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes on the wire.
    pub bytes_max: usize,
    /// Bytes after decompression.
    pub decompressed_max: usize,
    /// How many times larger than on the wire it may be after decompression.
    pub ratio_max: usize,
    /// How long it may take before its speed matters.
    pub grace: Duration,
    /// Bytes a second, on average, that it must bring after the grace.
    pub rate_min: usize,
    /// How long it may take in all.
    pub total: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 20,
            decompressed_max: 8 << 20,
            ratio_max: 100,
            grace: Duration::from_secs(5),
            rate_min: 1_024,
            total: Duration::from_secs(30),
        }
    }
}

/// Why there is no body.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is larger than it may be.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It inflates to more than it may.
    #[error("the body decompresses to more than {0} bytes")]
    Bomb(usize),
    /// There is no memory for it now.
    #[error("the daemon holds as much as it may")]
    Overloaded,
    /// It comes too slowly.
    #[error("the body came too slowly")]
    TooSlow,
    /// Its encoding is none that is read here, or there are several.
    #[error("content-encoding is one of gzip, zstd, br, deflate, once")]
    Encoding,
    /// It is not what its encoding says.
    #[error("the body is not valid {0}")]
    Malformed(&'static str),
    /// The connection failed, or the chunks were malformed.
    #[error("the body did not arrive whole")]
    Broken(#[source] hyper::Error),
}

/// Reads `body` and undoes the encoding that `headers` name; `lease` grows with it.
///
/// # Errors
/// What limit it broke; the rest of the body is not read then.
pub async fn read_body(
    headers: &HeaderMap,
    body: Incoming,
    limits: &BodyLimits,
    lease: &mut Lease,
) -> Result<Bytes, BodyError> {
    let encoding = Encoding::of(headers)?;
    let announced = body.size_hint().lower();
    if announced > limits.bytes_max as u64 {
        return Err(BodyError::TooLarge(limits.bytes_max));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut collect = Collect::new(body, *limits, lease);
    let bytes = poll_fn(|cx| collect.poll(cx)).await?;
    match encoding {
        None => Ok(bytes),
        Some(encoding) => {
            let inflated = decompress(encoding, &bytes, limits, lease).await?;
            lease.shrink(bytes.len());
            Ok(inflated)
        }
    }
}

/// A body on its way in.
struct Collect<'a> {
    body: Incoming,
    lease: &'a mut Lease,
    limits: BodyLimits,
    first: Bytes,
    all: BytesMut,
    received: usize,
    /// Whether hyper had its chance to hand over what it has read already.
    has_yielded: bool,
    slow: Option<Slow>,
}

/// The clock of a body that has to be waited for.
struct Slow {
    since: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<'a> Collect<'a> {
    fn new(body: Incoming, limits: BodyLimits, lease: &'a mut Lease) -> Self {
        let (first, all) = (Bytes::new(), BytesMut::new());
        Self { body, lease, limits, first, all, received: 0, has_yielded: false, slow: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.wait(cx));
                return Poll::Ready(Err(BodyError::TooSlow));
            };
            let Some(frame) = frame else { return Poll::Ready(Ok(self.finish())) };
            let frame = frame.map_err(BodyError::Broken)?;
            // Trailers say nothing about events.
            let Ok(piece) = frame.into_data() else { continue };
            self.received += piece.len();
            if self.received > self.limits.bytes_max {
                return Poll::Ready(Err(BodyError::TooLarge(self.limits.bytes_max)));
            }
            if !self.lease.grow(piece.len()) {
                return Poll::Ready(Err(BodyError::Overloaded));
            }
            self.keep(piece);
            if self.body.is_end_stream() {
                return Poll::Ready(Ok(self.finish()));
            }
        }
    }

    /// Resolves once the body is too slow.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_yielded {
            // What hyper has in its buffer comes at the next poll; no timer for that.
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let limits = &self.limits;
        let earned = self.received as f64 / limits.rate_min.max(1) as f64;
        let allowed = (limits.grace + Duration::from_secs_f64(earned)).min(limits.total);
        let slow = self.slow.get_or_insert_with(|| {
            let since = Instant::now();
            Slow { since, alarm: Box::pin(sleep_until(since + allowed)) }
        });
        let until = slow.since + allowed;
        if slow.alarm.deadline() != until {
            slow.alarm.as_mut().reset(until);
        }
        slow.alarm.as_mut().poll(cx)
    }

    fn keep(&mut self, piece: Bytes) {
        if self.received == piece.len() {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(0);
            let room = announced.min(self.limits.bytes_max);
            self.all.reserve(self.received + room);
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&piece);
    }

    fn finish(&mut self) -> Bytes {
        if self.all.is_empty() {
            return std::mem::take(&mut self.first);
        }
        std::mem::take(&mut self.all).freeze()
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Zstd,
    Brotli,
    Deflate,
}

impl Encoding {
    /// The one encoding that `headers` name, if any.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, BodyError> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(BodyError::Encoding);
        }
        let known = [
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("zstd", Self::Zstd),
            ("br", Self::Brotli),
            ("deflate", Self::Deflate),
        ];
        let name = value.as_bytes().trim_ascii();
        if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
            return Ok(None);
        }
        let found = known.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(_, encoding)| Some(*encoding)).ok_or(BodyError::Encoding)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Deflate => "deflate",
        }
    }
}

/// The encodings that [`read_body`] takes, for `accept-encoding` in replies that refuse others.
pub const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, zstd, br, deflate");

async fn decompress(
    encoding: Encoding,
    bytes: &[u8],
    limits: &BodyLimits,
    lease: &mut Lease,
) -> Result<Bytes, BodyError> {
    let by_ratio = bytes.len().saturating_mul(limits.ratio_max).max(RATIO_EXEMPT);
    let max = limits.decompressed_max.min(by_ratio);
    let (inflated, rest) = match encoding {
        Encoding::Gzip => {
            let mut decoder = GzipDecoder::new(bytes);
            (inflate(&mut decoder, max, lease).await, decoder.into_inner())
        }
        Encoding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
            let mut decoder = ZstdDecoder::with_params(bytes, &[window]);
            (inflate(&mut decoder, max, lease).await, decoder.into_inner())
        }
        Encoding::Brotli => {
            let mut decoder = BrotliDecoder::new(bytes);
            (inflate(&mut decoder, max, lease).await, decoder.into_inner())
        }
        Encoding::Deflate => {
            let mut decoder = ZlibDecoder::new(bytes);
            (inflate(&mut decoder, max, lease).await, decoder.into_inner())
        }
    };
    let malformed = || BodyError::Malformed(encoding.name());
    let inflated = match inflated.map_err(|_unspecific| malformed())? {
        Inflated::All(inflated) => inflated,
        Inflated::TooLarge => return Err(BodyError::Bomb(max)),
        Inflated::NoRoom => return Err(BodyError::Overloaded),
    };
    // A second member would be dropped without a word.
    if rest.is_empty() { Ok(inflated) } else { Err(malformed()) }
}

/// What decompression came to.
enum Inflated {
    All(Bytes),
    TooLarge,
    NoRoom,
}

/// Reads `decoder` to its end, at most `max` bytes of it.
async fn inflate(
    decoder: &mut (impl AsyncRead + Unpin),
    max: usize,
    lease: &mut Lease,
) -> io::Result<Inflated> {
    let mut inflated = BytesMut::new();
    let mut next_turn = DECOMPRESS_STEP;
    loop {
        inflated.reserve(4_096);
        let read = decoder.read_buf(&mut inflated).await?;
        if read == 0 {
            return Ok(Inflated::All(inflated.freeze()));
        }
        if inflated.len() > max {
            return Ok(Inflated::TooLarge);
        }
        if !lease.grow(read) {
            return Ok(Inflated::NoRoom);
        }
        if inflated.len() > next_turn {
            next_turn = inflated.len() + DECOMPRESS_STEP;
            yield_now().await;
        }
    }
}
