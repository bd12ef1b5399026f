//! A hub's events as Pusher clients get them: encoded once beside the `weir.v1` frames, one frame
//! per line, and only where somebody listens who speaks that dialect.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{FRAME_LEN_MAX, Piece, Post};
use super::protocol::pusher::{self, Kind};
use super::subscriber::Subscriber;
use crate::event::encode::is_json;

/// The extension attribute that names the connection which does not get the event.
pub(crate) const SOCKET_ATTRIBUTE: &str = "socketid";

/// The name of a Pusher client's connection. It cannot be guessed, because what an application's
/// server signs for one connection names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SocketId(u64, u64);

impl SocketId {
    /// A name that nobody had before.
    pub(crate) fn fresh() -> Self {
        /// Keyed by the system's randomness, which makes of a count what nobody can guess.
        static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(KEYS[0].hash_one(count), KEYS[1].hash_one(count))
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for SocketId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (one, other) = text.split_once('.').ok_or(())?;
        let number = |digits: &str| digits.parse().map_err(|_not_a_number| ());
        Ok(Self(number(one)?, number(other)?))
    }
}

/// Whether a channel of an app is for those alone who show that they may subscribe to it.
pub(super) fn is_private(channel: &str) -> bool {
    channel.starts_with('#') || !matches!(Kind::of(channel), Kind::Public)
}

/// The Pusher clients among `targets`, each with its socket. Somebody may be there twice.
pub(super) fn listeners<'a>(
    targets: &'a [&[Arc<Subscriber>]],
) -> impl Iterator<Item = (&'a Arc<Subscriber>, SocketId)> {
    let all = targets.iter().copied().flatten();
    all.filter_map(|subscriber| Some((subscriber, subscriber.socket()?)))
}

/// Hands `run`, posts for one channel with numbers from `first` on, to the Pusher clients among
/// `targets`, with `push`; answers the last frame if the channel is one that keeps it.
pub(super) fn hand_out(
    run: &[Post<'_>],
    first: u64,
    targets: &[&[Arc<Subscriber>]],
    push: &mut impl FnMut(&Subscriber, &Piece),
) -> Option<Bytes> {
    let is_cached = pusher::is_cached(run[0].channel.as_str());
    if !is_cached && listeners(targets).next().is_none() {
        return None;
    }
    let own = pieces(run, first);
    for (subscriber, socket) in listeners(targets) {
        for piece in own.iter().filter(|piece| piece.except != Some(socket)) {
            push(subscriber, &piece.piece);
        }
    }
    let last = &own.last().filter(|_| is_cached)?.piece.text;
    let start = last.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    Some(last.slice(start..))
}

/// Frames that go to everybody but one.
struct Echo {
    piece: Piece,
    except: Option<SocketId>,
}

fn pieces(run: &[Post<'_>], first: u64) -> Vec<Echo> {
    let mut pieces: Vec<Echo> = Vec::new();
    let mut text = Vec::new();
    let mut count = 0;
    let mut start = first;
    let mut except = None;
    let mut close = |text: &mut Vec<u8>, start: u64, count: u32, except: Option<SocketId>| {
        if !text.is_empty() {
            let text = Bytes::from(std::mem::take(text));
            pieces.push(Echo { piece: Piece { first: start, count, text }, except });
        }
    };
    for (seq, post) in (first..).zip(run) {
        let own = post.event.extension(SOCKET_ATTRIBUTE).and_then(|socket| socket.parse().ok());
        if own != except || text.len() > FRAME_LEN_MAX {
            close(&mut text, start, count, except);
            (start, count, except) = (seq, 0, own);
        }
        count += 1;
        // Nobody but the daemon speaks in the protocol's own name.
        if !pusher::is_reserved(post.event.event_type()) {
            let data = pusher::text_of(post.event.data());
            let names = (post.event.event_type(), post.channel.as_str());
            pusher::write_event(names, &data, None, &mut text);
        }
    }
    close(&mut text, start, count, except);
    pieces
}

/// An `event` frame of `weir.v1`, as far as Pusher clients see it.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    event: Told<'a>,
}

#[derive(Debug, Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow)]
    socketid: Option<Cow<'a, str>>,
}

/// The same events in the Pusher dialect, for a client that lagged and reads the history.
pub(super) fn translated(pieces: &[Piece], socket: SocketId) -> Vec<Piece> {
    let translate = |(seq, line): (u64, &[u8])| {
        let Line { channel, event } = serde_json::from_slice(line).ok()?;
        let is_own = event.socketid.as_ref().is_some_and(|own| own.parse() == Ok(socket));
        if is_own || pusher::is_reserved(&event.r#type) {
            return None;
        }
        let data = match (event.data, &event.data_base64) {
            (Some(data), _) if is_json(event.datacontenttype.as_deref()) => data.get().into(),
            (Some(data), _) => serde_json::from_str::<Cow<'_, str>>(data.get()).ok()?,
            (None, Some(data)) => data.as_ref().into(),
            (None, None) => Cow::Borrowed(""),
        };
        let mut text = Vec::new();
        pusher::write_event((&event.r#type, &channel), &data, None, &mut text);
        Some(Piece { first: seq, count: 1, text: text.into() })
    };
    pieces.iter().flat_map(Piece::lines).filter_map(translate).collect()
}
