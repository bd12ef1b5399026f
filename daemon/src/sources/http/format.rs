//! Which spelling a request's body follows.

use crate::ack::{Code, Refusal};
use crate::event::encode::is_json;

/// How a body is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON text.
    Data {
        /// Whether an object with `specversion` is a CloudEvent.
        may_be_cloudevent: bool,
    },
    /// JSON texts, one a line.
    Lines {
        /// Whether objects with `specversion` are CloudEvents.
        may_be_cloudevents: bool,
    },
    /// One CloudEvent in JSON.
    CloudEvent,
    /// An array of CloudEvents in JSON.
    CloudEvents,
    /// What our own client posts.
    Weir,
    /// Bytes of some other type.
    Opaque,
}

/// The media types whose bodies are looked into, besides others that are JSON.
const KNOWN: [(&str, Format); 6] = [
    ("application/json", Format::Data { may_be_cloudevent: true }),
    // What `sendBeacon` sends without a preflight.
    ("text/plain", Format::Data { may_be_cloudevent: true }),
    ("application/x-ndjson", Format::Lines { may_be_cloudevents: true }),
    ("application/cloudevents+json", Format::CloudEvent),
    ("application/cloudevents-batch+json", Format::CloudEvents),
    ("application/ndjson", Format::Lines { may_be_cloudevents: true }),
];

impl Format {
    /// The spelling of a body of `content_type`, if `asked` does not say another.
    ///
    /// # Errors
    /// If either names a spelling that nobody here reads.
    pub(super) fn of(
        content_type: Option<&str>,
        asked: Option<&str>,
        is_binary: bool,
    ) -> Result<Self, Refusal> {
        let by_type = by_type(content_type, is_binary)?;
        let is_batch = by_type == Self::CloudEvents;
        match (asked, by_type) {
            (None, _) => Ok(by_type),
            (Some("data"), Self::Lines { .. }) => Ok(Self::Lines { may_be_cloudevents: false }),
            (Some("data"), _) => Ok(Self::Data { may_be_cloudevent: false }),
            (Some("cloudevents"), _) if is_batch => Ok(by_type),
            (Some("cloudevents"), _) => Ok(Self::CloudEvent),
            (Some("weir"), _) => Ok(Self::Weir),
            (Some(_), _) => {
                let message = "the query's `format` is one of data, cloudevents, weir";
                Err(Refusal::new(Code::Unsupported, message))
            }
        }
    }
}

fn by_type(content_type: Option<&str>, is_binary: bool) -> Result<Format, Refusal> {
    // In binary mode the body is the data, of whatever type.
    let Some(content_type) = content_type else {
        let plain = Format::Data { may_be_cloudevent: true };
        return Ok(if is_binary { Format::Opaque } else { plain });
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim_end();
    let known = KNOWN.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name));
    match known {
        Some((_, Format::CloudEvent)) => Ok(Format::CloudEvent),
        Some((_, Format::CloudEvents)) => Ok(Format::CloudEvents),
        Some((_, format)) if !is_binary => Ok(*format),
        _ if starts_with(essence, "application/cloudevents") => {
            let message = "CloudEvents are read in JSON only";
            Err(Refusal::new(Code::Unsupported, message))
        }
        _ if is_json(Some(content_type)) => Ok(Format::Data { may_be_cloudevent: false }),
        _ => Ok(Format::Opaque),
    }
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}
