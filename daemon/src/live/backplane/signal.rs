//! What Pusher clients of one daemon tell those of the others beside events: frames that no history
//! keeps, and that a user's connections are to end. Whoever is cut off at that moment misses it, as
//! a client would that is just connecting.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use crate::live::hub::Hub;
use crate::store::Record;

/// Bytes of signals that may wait for the stream. More come only while it takes nothing.
const WAITING_LEN_MAX: usize = 1 << 20;

/// Messages with signals that may be on their way. What comes meanwhile goes with the next one.
const SENT_MAX: usize = 4;

/// Something that is told once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// A frame for the Pusher clients on a channel.
    Frame { channel: Box<str>, frame: Box<str> },
    /// The connections of this user end.
    End { user: Box<str> },
}

/// Signals that wait for the next message.
#[derive(Debug, Default)]
pub(super) struct Signals {
    waiting: Vec<Signal>,
    len: usize,
    /// Messages that did not come back yet.
    sent: usize,
}

impl Signal {
    fn len(&self) -> usize {
        match self {
            Self::Frame { channel, frame } => channel.len() + frame.len(),
            Self::End { user } => user.len(),
        }
    }
}

impl Signals {
    pub(super) fn add(&mut self, signal: Signal) {
        let len = self.len + signal.len();
        if len <= WAITING_LEN_MAX {
            self.len = len;
            self.waiting.push(signal);
        }
    }

    /// All that wait, if any, and if they may go out now.
    pub(super) fn take(&mut self) -> Option<Record> {
        if self.waiting.is_empty() || self.sent >= SENT_MAX {
            return None;
        }
        self.sent += 1;
        self.len = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let bytes = serde_json::to_vec(&waiting).expect("texts are JSON");
        Some(Record { events: 0, bytes })
    }

    /// A message of these came back.
    pub(super) fn came_back(&mut self) {
        self.sent = self.sent.saturating_sub(1);
    }
}

/// Does what another daemon's signals say.
pub(super) fn hear(hub: &Hub, envelope: &Envelope<'_>) {
    for (_, record) in envelope.records() {
        let Ok(signals) = serde_json::from_slice::<Vec<Signal>>(record) else { continue };
        for signal in signals {
            match signal {
                Signal::Frame { channel, frame } => {
                    hub.signal(&channel, &Bytes::from(frame.into_string()), None);
                }
                Signal::End { user } => {
                    if let Some(backplane) = hub.backplane() {
                        backplane.end(&user);
                    }
                }
            }
        }
    }
}
