//! Handing events to the hub's own subscribers: what came out of the stream under its place there,
//! what has none yet behind the last message that came.

use tokio::time::Instant;
use tracing::warn;

use super::{NUMBERS, STRAY};
use crate::event::encode::CHANNEL_MARK;
use crate::event::pack::unpack;
use crate::live::hub::Hub;
use crate::live::message::Post;
use crate::live::parcel::Parcel;
use crate::live::pattern::Channel;

/// Events of one parcel.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) parcel: Parcel,
    pub(super) until: Instant,
    /// Whether this daemon's subscribers have them, without a place in the stream.
    pub(super) is_stray: bool,
}

/// The number of the first event in the message at `offset`.
pub(super) fn base(offset: u64) -> u64 {
    (offset + 1) * NUMBERS
}

/// Hands out events that have no place in the stream yet, behind message `last`,
/// which came last.
pub(super) fn hand_out_stray(hub: &Hub, last: Option<u64>, held: &mut Held) {
    let first = last.map_or(0, base) + STRAY;
    let posts = held.parcel.posts();
    let next = hub.kept().end.max(first);
    let room = next.next_multiple_of(NUMBERS) - next;
    if !held.is_stray && (posts.len() as u64) < room {
        hub.feed(next, &posts, Instant::now());
        held.is_stray = true;
    }
}

/// Hands out the events of a record with the numbers from `first` on.
pub(super) fn hand_in(hub: &Hub, record: &[u8], first: u64, at: Instant) {
    let Ok(batch) = unpack(record) else {
        return warn!("a record in the stream holds no events that this version can read");
    };
    let posts = (first..).zip(batch.iter()).filter_map(|(seq, event)| {
        let channel = Channel::new(event.extension(CHANNEL_MARK)?).ok()?;
        Some((seq, Post { channel, event }))
    });
    let posts: Vec<_> = posts.collect();
    for run in posts.chunk_by(|(one, _), (other, _)| one + 1 == *other) {
        let Some((first, _)) = run.first() else { continue };
        let run: Vec<_> = run.iter().map(|(_, post)| *post).collect();
        hub.feed(*first, &run, at);
    }
}
