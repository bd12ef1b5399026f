//! What a plugin answers for one event: an action, or a failure.

use crate::bindings::weir::plugin::types;
use crate::patch::Patch;

/// What happens to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It passes on untouched; nothing is copied.
    Keep,
    /// It is dropped on purpose; the publisher is told `filtered`.
    Drop,
    /// It passes on with these changes to its JSON data.
    Patch(Patch),
    /// It passes on with this payload; everything else stays as it was.
    Replace(Vec<u8>),
    /// These rows take its place: one changes it, several split it, none drops it.
    Emit(Vec<Row>),
}

/// An event that takes the place of the one just judged, or that a [`Timer`](crate::Timer) emits.
///
/// What is not set is inherited from the event just judged. The `id` and the `source` always are.
/// A timer's rows inherit nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) event_type: Option<String>,
    pub(crate) subject: Option<Option<String>>,
    pub(crate) content_type: Option<Option<String>>,
    pub(crate) route: Option<String>,
    pub(crate) extensions: Vec<(String, Option<String>)>,
}

/// Why an event could not be judged; the step's `on_error` decides what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

/// Who is to blame for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The event: it will fail again whenever it comes.
    Invalid,
    /// Something that may pass by itself.
    Transient,
    /// The plugin.
    Internal,
}

impl Row {
    /// A row that is the same as the event it comes from.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the payload.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Sets the type.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Sets the subject, or takes it away.
    #[must_use]
    pub fn subject(mut self, subject: Option<&str>) -> Self {
        self.subject = Some(subject.map(str::to_owned));
        self
    }

    /// Sets the media type of the payload, or takes it away.
    #[must_use]
    pub fn content_type(mut self, content_type: Option<&str>) -> Self {
        self.content_type = Some(content_type.map(str::to_owned));
        self
    }

    /// Sends the row to a named route of the step: `inputs = ["STEP.ROUTE"]` takes it.
    #[must_use]
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// Sets one extension attribute and keeps the others.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), Some(value.into())));
        self
    }

    /// Takes one extension attribute away and keeps the others.
    #[must_use]
    pub fn without_extension(mut self, name: impl Into<String>) -> Self {
        self.extensions.push((name.into(), None));
        self
    }
}

impl Failure {
    /// A failure that blames the event: it is malformed or makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Invalid, message: message.into() }
    }

    /// A failure that may pass by itself, such as something that is away.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient, message: message.into() }
    }

    /// A failure that blames the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Internal, message: message.into() }
    }

    /// Who is to blame.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What happened, for the publisher and the log.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<FailureKind> for types::FailureKind {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Invalid => Self::Invalid,
            FailureKind::Transient => Self::Transient,
            FailureKind::Internal => Self::Internal,
        }
    }
}
