//! One SSE connection: the body of a reply that ends only with the connection or the daemon.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::pending;
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use super::access::Admission;
use super::hub::{Joined, Start};
use super::message::FRAME_LEN_MAX;
use super::pattern::Pattern;
use super::protocol::{sse, weir};
use super::subscription::{Next, Subscription};
use crate::event::id::{IdBuffer, ulid};
use crate::tasks::Stop;
use crate::units::now_micros;

/// How often something shows that the connection is alive; proxies cut after 30 s and more.
const SIGN_EVERY: Duration = Duration::from_secs(15);

/// How long a page waits before it connects again, in milliseconds: between one and two of these,
/// so that pages which lost a daemon together do not come back together.
const RETRY_MS: u64 = 2_000;

/// Pages come back within this time after a drain, each at its own moment.
const RETURN_SPREAD_MS: u64 = 5_000;

struct Stream {
    subscription: Subscription,
    stop: Stop,
    /// What the subscriber has shown; the stream ends with it.
    admission: Admission,
    /// What is written first.
    head: Vec<u8>,
    sign_at: Instant,
    has_ended: bool,
}

/// The body for a subscription that was `joined` with `patterns`.
pub(super) fn body(
    subscription: Subscription,
    (patterns, start, joined): (&[Pattern], Start, Joined),
    admission: Admission,
    stop: Stop,
) -> Body {
    let mut head = Vec::new();
    sse::write_retry(RETRY_MS + fastrand::u64(..RETRY_MS), &mut head);
    let now = now_micros();
    let mut buffer = IdBuffer::default();
    let session = (ulid(now, &mut buffer), now / 1_000);
    let place = (joined.cursor, start != Start::Live);
    sse::write_welcome(session, SIGN_EVERY.as_secs(), place, &mut head);
    if let Some(missed) = &joined.missed {
        sse::write_gap(patterns, missed, &mut head);
    }
    let sign_at = Instant::now() + SIGN_EVERY;
    let stream = Stream { subscription, stop, admission, head, sign_at, has_ended: false };
    Body::from_stream(unfold(stream, |mut stream| async move {
        let part = stream.next().await?;
        Some((Ok::<_, Infallible>(part), stream))
    }))
}

impl Stream {
    /// What is written next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head).into());
        }
        let mut out = Vec::new();
        tokio::select! {
            biased;
            // What waits goes out before the goodbye.
            next = self.subscription.next(FRAME_LEN_MAX) => self.write(next, &mut out)?,
            () = self.stop.asked() => {
                self.has_ended = true;
                sse::write_bye(fastrand::u64(..RETURN_SPREAD_MS), &mut out);
            }
            () = reached(self.admission.deadline()) => {
                self.has_ended = true;
                let denied = self.admission.lapse();
                sse::write_error(&weir::Refused::of(&denied), &mut out);
            }
            () = sleep_until(self.sign_at) => {
                sse::write_sign_of_life(self.subscription.reached(), &mut out);
            }
        }
        self.sign_at = Instant::now() + SIGN_EVERY;
        Some(out.into())
    }

    fn write(&self, next: Next, out: &mut Vec<u8>) -> Option<()> {
        let Next::Burst(gap, pieces) = next else { return None };
        if let Some(gap) = gap {
            sse::write_gap(&gap.channels, &gap.missed, out);
        }
        let epoch = self.subscription.hub().epoch();
        for piece in &pieces {
            sse::write_piece(epoch, piece, out);
        }
        Some(())
    }
}

/// Resolves at `deadline`, if there is one.
pub(super) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
