//! Finds the message that breaks a channel.
//!
//! A message that the broker answers by closing the channel would close every next one too, and
//! drag its neighbours along. After such an end messages are published one by one, until the
//! culprit is alone or all that were in flight are through.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

/// How many messages still have to be published one by one.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    left: usize,
}

impl Suspicion {
    pub(super) fn is_on(&self) -> bool {
        self.left > 0
    }

    /// How many messages may be in flight.
    pub(super) fn at_once_max(&self, usually: usize) -> usize {
        if self.is_on() { 1 } else { usually }
    }

    /// A channel ended with `error` while `in_flight` messages had no verdict; answers whether
    /// one of them may be to blame.
    pub(super) fn raise(&mut self, error: &lapin::Error, in_flight: usize) -> bool {
        let is_suspicious = may_blame_message(error);
        if is_suspicious && !self.is_on() {
            self.left = in_flight;
        }
        is_suspicious
    }

    /// One message got through.
    pub(super) fn clear_one(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

fn may_blame_message(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    match error.kind() {
        AMQPErrorKind::Soft(kind) => *kind != AMQPSoftError::NOTFOUND,
        AMQPErrorKind::Hard(kind) => {
            !matches!(kind, AMQPHardError::CONNECTIONFORCED | AMQPHardError::INTERNALERROR)
        }
    }
}
