//! What became of one event, as JSON on the wire: in replies over HTTP and in `pubok` frames.

use super::{Answer, Code, Outcome, Refusal};

impl Answer {
    /// The word for it in results.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Settled(outcome, _) => outcome.name(),
            Self::Accepted => "accepted",
            Self::Pending => Outcome::Unavailable.name(),
        }
    }

    /// Why it was not taken; `None` if it was, or was dropped on purpose.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Accepted => None,
            Self::Pending => Some(Code::Timeout),
            Self::Settled(outcome, _) if *outcome < Outcome::Rejected => None,
            Self::Settled(_, Some(refusal)) => Some(refusal.code),
            Self::Settled(Outcome::Rejected, None) => Some(Code::Rejected),
            Self::Settled(_, None) => Some(Code::Unavailable),
        }
    }

    /// What happened, for the publisher.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Pending => Some("no verdict in time; it may still be delivered"),
            Self::Settled(_, refusal) => refusal.as_ref().map(|refusal| &*refusal.message),
            Self::Accepted => None,
        }
    }

    /// Whether the event is kept but has not reached its sinks.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Accepted | Self::Settled(Outcome::Spooled | Outcome::DeadLettered, _))
    }

    /// The answer for an event that was refused before it was taken.
    pub fn refused(refusal: Refusal) -> Self {
        Self::Settled(refusal.code.outcome(), Some(refusal))
    }

    /// Appends `{"id","status","code"?,"message"?}` for the event `id`, if its id is known.
    pub fn write_result(&self, id: Option<&str>, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(id) = id {
            out.extend_from_slice(b"\"id\":");
            write_text(id, out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"status\":\"");
        out.extend_from_slice(self.status().as_bytes());
        out.push(b'"');
        if let Some(code) = self.code() {
            out.extend_from_slice(b",\"code\":\"");
            out.extend_from_slice(code.name().as_bytes());
            out.push(b'"');
        }
        if let Some(message) = self.message() {
            out.extend_from_slice(b",\"message\":");
            write_text(message, out);
        }
        out.push(b'}');
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON and a buffer takes it");
}
