//! Confirmations, each matched with the message that it is about.
//!
//! lapin attaches a returned message to whichever confirmation comes next, so returns are matched
//! by the sequence number in the message's own headers. A return always resolves no later than
//! the confirmation of its message, but nothing says which of the two is polled first, and one
//! frame may confirm many messages in any order. Hence: take everything that is ready, wait for
//! lapin to finish the frame it is at, take everything again, and only then judge the first lot.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, Confirmation};

use super::message::sequence;

/// What the broker said about one message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is in every queue it belongs to.
    Confirmed,
    /// No queue took it.
    Returned,
    /// A queue refused it for now.
    Nacked,
    /// Nobody knows: the channel or the connection is gone.
    Unknown(lapin::Error),
}

/// What a publish comes to, with the message's sequence number.
type Published = (u64, lapin::Result<Confirmation>);

/// Publishes on one channel whose confirmation is awaited.
pub(super) struct Confirms<F> {
    waiting: FuturesUnordered<F>,
    /// Returned messages whose own confirmation was not judged yet.
    returned: HashSet<u64>,
    woken: Arc<Woken>,
    waker: Waker,
}

impl<F: Future<Output = Published>> Confirms<F> {
    pub(super) fn new() -> Self {
        let woken = Arc::new(Woken::default());
        Self {
            waiting: FuturesUnordered::new(),
            returned: HashSet::new(),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    /// Adds a publish. It reaches the channel when `ready` is polled next, in the order added.
    pub(super) fn push(&mut self, publish: F) {
        self.waiting.push(publish);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The verdicts that are known by now, at least one.
    ///
    /// # Cancel safety
    /// Cancel safe: verdicts are taken only when this resolves.
    pub(super) async fn ready(&mut self, amqp_channel: &Channel) -> Vec<(u64, Verdict)> {
        poll_fn(|cx| {
            self.woken.parent.register(cx.waker());
            let mut taken = self.take();
            if taken.is_empty() {
                return Poll::Pending;
            }
            let mut verdicts = Vec::with_capacity(taken.len());
            while !taken.is_empty() {
                finish_frame(amqp_channel);
                let next = self.take();
                verdicts.extend(taken.into_iter().map(|(seq, result)| self.judge(seq, result)));
                taken = next;
            }
            Poll::Ready(verdicts)
        })
        .await
    }

    /// Everything that is ready, its returns noted.
    fn take(&mut self) -> Vec<(u64, lapin::Result<Taken>)> {
        let mut taken = Vec::new();
        loop {
            self.woken.flag.store(false, Ordering::Relaxed);
            match self.waiting.poll_next_unpin(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(Some((seq, result))) => {
                    taken.push((seq, result.map(|confirmation| self.note(confirmation))));
                }
                Poll::Ready(None) => return taken,
                // Woken meanwhile: it stopped early, or more became ready.
                Poll::Pending if self.woken.flag.load(Ordering::Relaxed) => {}
                Poll::Pending => return taken,
            }
        }
    }

    fn note(&mut self, confirmation: Confirmation) -> Taken {
        let is_ack = confirmation.is_ack();
        let is_known = is_ack || confirmation.is_nack();
        if let Some(message) = confirmation.take_message() {
            self.returned.extend(sequence(&message.delivery.properties));
        }
        if is_ack {
            Taken::Ack
        } else if is_known {
            Taken::Nack
        } else {
            unreachable!("every channel here is in confirm mode")
        }
    }

    fn judge(&mut self, seq: u64, result: lapin::Result<Taken>) -> (u64, Verdict) {
        let is_returned = self.returned.remove(&seq);
        let verdict = match result {
            Ok(_) if is_returned => Verdict::Returned,
            Ok(Taken::Ack) => Verdict::Confirmed,
            Ok(Taken::Nack) => Verdict::Nacked,
            Err(error) => Verdict::Unknown(error),
        };
        (seq, verdict)
    }
}

/// A confirmation without the message that came along with it.
#[derive(Debug, Clone, Copy)]
enum Taken {
    Ack,
    Nack,
}

/// Returns once lapin is not in the middle of a frame that confirms many: this takes the same
/// lock.
fn finish_frame(amqp_channel: &Channel) {
    drop(amqp_channel.wait_for_confirms().now_or_never());
}

/// Notes whether anything woke the publishes, and passes it on.
#[derive(Debug, Default)]
struct Woken {
    flag: AtomicBool,
    /// The task that awaits [`Confirms::ready`].
    parent: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.flag.store(true, Ordering::Relaxed);
        self.parent.wake();
    }
}
