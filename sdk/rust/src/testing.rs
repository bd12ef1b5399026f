//! Runs a plugin on events given as Rust values, natively and without a daemon.
//!
//! The events and the verdicts take the same way through columns as they do in the sandbox.
//!
//! ```
//! use weir_plugin::testing::{Harness, Judged, event};
//! use weir_plugin::{Action, Event, Failure};
//!
//! fn only_carts(event: &Event<'_>) -> Result<Action, Failure> {
//!     Ok(if event.event_type().starts_with("cart.") { Action::Keep } else { Action::Drop })
//! }
//! weir_plugin::register!(OnlyCarts, only_carts);
//!
//! let mut plugin = Harness::<OnlyCarts>::new("{}").unwrap();
//! let judged = plugin.run(&[event().event_type("cart.add"), event().event_type("page.view")]);
//! assert_eq!(judged.unwrap(), [Judged::Keep, Judged::Drop]);
//! ```

use std::cell::RefCell;

use crate::action::FailureKind;
use crate::bindings::weir::plugin::types;
use crate::event::{Batch, Event, NONE, span};
pub use crate::fakes::{measured, set_clock, set_response, set_table};
use crate::guest::Slot;
use crate::log::Level;
use crate::plugin::{Plugin, Snapshot, Timer};
use crate::verdicts::{Dictionary, Names, column_len};

thread_local! {
    static LOGGED: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// A configured plugin that runs in this process.
#[derive(Debug)]
pub struct Harness<P> {
    slot: Slot<P>,
    fields: Vec<String>,
}

/// An event to be judged. [`event`] makes one with sensible attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    id: String,
    source: String,
    event_type: String,
    subject: Option<String>,
    content_type: Option<String>,
    time: u64,
    data: Vec<u8>,
    extensions: Vec<(String, String)>,
}

/// What a plugin did with one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It passes on untouched.
    Keep,
    /// It is dropped.
    Drop,
    /// These events take its place.
    Emit(Vec<Emitted>),
    /// It could not be judged.
    Fail(FailureKind, String),
}

/// An event that takes the place of another, with all that it inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Its type.
    pub event_type: String,
    /// Its subject.
    pub subject: Option<String>,
    /// The media type of `data`.
    pub content_type: Option<String>,
    /// The payload.
    pub data: Vec<u8>,
    /// The extension attributes.
    pub extensions: Vec<(String, String)>,
    /// The named route it goes to.
    pub route: Option<String>,
}

/// An event with the type `event`, the source `/test`, the id `1` and the JSON data `{}`.
pub fn event() -> Draft {
    Draft {
        id: "1".to_owned(),
        source: "/test".to_owned(),
        event_type: "event".to_owned(),
        subject: None,
        content_type: Some("application/json".to_owned()),
        time: 1_764_000_000_000_000,
        data: b"{}".to_vec(),
        extensions: Vec::new(),
    }
}

/// The lines that plugins logged on this thread since it was last asked.
pub fn logged() -> Vec<(Level, String)> {
    LOGGED.take()
}

/// Keeps a line for [`logged`].
pub(crate) fn record(level: Level, line: String) {
    LOGGED.with_borrow_mut(|lines| lines.push((level, line)));
}

impl<P: Plugin> Harness<P> {
    /// Configures the plugin with `config`, the JSON text of the step's `config` table.
    ///
    /// # Errors
    /// What the daemon would refuse the pipeline with.
    pub fn new(config: &str) -> Result<Self, String> {
        let slot = Slot::empty();
        let step = types::Step {
            pipeline: "test".to_owned(),
            name: "step".to_owned(),
            instance: 0,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let fields = slot.configure(config, step)?.fields;
        Ok(Self { slot, fields })
    }

    /// Hands the events over as one batch.
    ///
    /// # Errors
    /// If the plugin refused the batch as a whole.
    ///
    /// # Panics
    /// If the plugin panics.
    pub fn run(&mut self, events: &[Draft]) -> Result<Vec<Judged>, String> {
        let mut columns = columns(events);
        columns.fields = found(&self.fields, events)?;
        let outcome = self.slot.process(&columns)?;
        let batch = Batch::new(&columns, &self.fields);
        Ok(batch.events().map(|event| judged(event, &outcome)).collect())
    }

    /// Hands one event over.
    ///
    /// # Panics
    /// If the plugin refused the batch as a whole, or panics.
    pub fn judge(&mut self, event: Draft) -> Judged {
        let judged = self.run(&[event]).expect("the plugin judges the batch");
        judged.into_iter().next().expect("a verdict for each event")
    }
}

impl<P: Timer> Harness<P> {
    /// Tells the plugin that it is `now`, in microseconds since the Unix epoch, and sets the clock
    /// of its capabilities to that; answers what it emits.
    ///
    /// # Errors
    /// If the plugin failed.
    ///
    /// # Panics
    /// If the plugin panics.
    pub fn tick(&mut self, now: u64) -> Result<Vec<Emitted>, String> {
        set_clock(now);
        let outcome = self.slot.tick(now)?;
        let blank = columns(&[event().event_type("").data("").content_type(None)]);
        let event = Batch::new(&blank, &[]).event(0);
        let rows = outcome.emitted.iter();
        Ok(rows
            .flat_map(|rows| (0..rows.types.len()).map(move |row| emitted(event, rows, row)))
            .collect())
    }
}

impl<P: Snapshot> Harness<P> {
    /// What the plugin hands over.
    pub fn save(&mut self) -> Vec<u8> {
        self.slot.save()
    }

    /// Hands over what another one has saved.
    ///
    /// # Errors
    /// If the plugin does not take it.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.slot.restore(state)
    }
}

impl Draft {
    /// Sets the id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// Sets the source.
    #[must_use]
    pub fn source(self, source: &str) -> Self {
        Self { source: source.to_owned(), ..self }
    }

    /// Sets the type.
    #[must_use]
    pub fn event_type(self, event_type: &str) -> Self {
        Self { event_type: event_type.to_owned(), ..self }
    }

    /// Sets the subject.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    /// Sets the media type of the data, or takes it away.
    #[must_use]
    pub fn content_type(self, content_type: Option<&str>) -> Self {
        Self { content_type: content_type.map(str::to_owned), ..self }
    }

    /// Sets the time, in microseconds since the Unix epoch.
    #[must_use]
    pub fn time(self, time: u64) -> Self {
        Self { time, ..self }
    }

    /// Sets the payload.
    #[must_use]
    pub fn data(self, data: impl Into<Vec<u8>>) -> Self {
        Self { data: data.into(), ..self }
    }

    /// Adds an extension attribute.
    #[must_use]
    pub fn extension(mut self, name: &str, value: &str) -> Self {
        self.extensions.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Judged {
    /// The payloads of the events that take this one's place, as text.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Emit(rows) => rows.iter().map(Emitted::text).collect(),
            Self::Keep | Self::Drop | Self::Fail(..) => Vec::new(),
        }
    }
}

impl Emitted {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

fn columns(events: &[Draft]) -> types::Batch {
    let mut batch = types::Batch {
        dictionary_ends: Vec::new(),
        dictionary: String::new(),
        id_ends: Vec::new(),
        ids: String::new(),
        sources: Vec::new(),
        types: Vec::new(),
        subjects: Vec::new(),
        content_types: Vec::new(),
        times: Vec::new(),
        data_ends: Vec::new(),
        data: Vec::new(),
        extensions: None,
        fields: Vec::new(),
    };
    let (mut words, mut names) = (Dictionary::default(), Names::default());
    let mut extensions = types::Extensions {
        names: Vec::new(),
        row_ends: Vec::new(),
        name_of: Vec::new(),
        value_ends: Vec::new(),
        values: String::new(),
    };
    for event in events {
        batch.ids.push_str(&event.id);
        batch.id_ends.push(column_len(batch.ids.len()));
        let mut word = |wanted: Option<&str>| wanted.map_or(NONE, |wanted| words.intern(wanted));
        batch.sources.push(word(Some(&event.source)));
        batch.types.push(word(Some(&event.event_type)));
        batch.subjects.push(word(event.subject.as_deref()));
        batch.content_types.push(word(event.content_type.as_deref()));
        batch.times.push(event.time);
        batch.data.extend_from_slice(&event.data);
        batch.data_ends.push(column_len(batch.data.len()));
        for (attribute, value) in &event.extensions {
            extensions.name_of.push(names.intern(attribute));
            extensions.values.push_str(value);
            extensions.value_ends.push(column_len(extensions.values.len()));
        }
        extensions.row_ends.push(column_len(extensions.name_of.len()));
    }
    (batch.dictionary_ends, batch.dictionary) = (words.ends, words.text);
    extensions.names = names.0;
    batch.extensions = (!extensions.names.is_empty()).then_some(extensions);
    batch
}

fn judged(event: Event<'_>, outcome: &types::Outcome) -> Judged {
    let index = event.index();
    match outcome.verdicts[index] {
        types::Verdict::Keep => Judged::Keep,
        types::Verdict::Drop => Judged::Drop,
        types::Verdict::Emit => {
            let rows = outcome.emitted.as_ref().expect("rows for the verdict `emit`");
            let mine = (0..rows.origins.len()).filter(|row| rows.origins[*row] as usize == index);
            Judged::Emit(mine.map(|row| emitted(event, rows, row)).collect())
        }
        types::Verdict::Fail => {
            let mut failures = outcome.failures.iter();
            let failure = failures.find(|failure| failure.event as usize == index);
            let failure = failure.expect("words for the verdict `fail`");
            let kind = match failure.kind {
                types::FailureKind::Invalid => FailureKind::Invalid,
                types::FailureKind::Transient => FailureKind::Transient,
                types::FailureKind::Internal => FailureKind::Internal,
            };
            Judged::Fail(kind, failure.message.clone())
        }
        types::Verdict::Patch => patched(event, outcome),
    }
}

/// The columns of the fields that a plugin reads, found as the daemon finds them.
fn found(fields: &[String], events: &[Draft]) -> Result<Vec<types::Column>, String> {
    use weir_fields::{Kind, Place, Wanted};

    let column = |field: &String| {
        let path = field.parse().map_err(|error: weir_fields::PathError| error.to_string())?;
        let mut wanted = Wanted::default();
        wanted.slot(&path);
        let mut column =
            types::Column { kinds: Vec::new(), ends: Vec::new(), values: String::new() };
        for event in events {
            let mut places = [Place::default()];
            wanted.find(&event.data, &mut places);
            let kind = match places[0].kind {
                Kind::Absent => 0,
                Kind::Null => 1,
                Kind::False => 2,
                Kind::True => 3,
                Kind::Number => 4,
                Kind::Text | Kind::EscapedText => 5,
                Kind::Json => 6,
                Kind::NotJson => 7,
            };
            column.kinds.push(kind | u8::from(places[0].is_ambiguous) << 7);
            places[0].write(&String::from_utf8_lossy(&event.data), &mut column.values);
            column.ends.push(column_len(column.values.len()));
        }
        Ok(column)
    };
    fields.iter().map(column).collect()
}

/// What becomes of an event with its changes, made as the daemon makes them.
fn patched(event: Event<'_>, outcome: &types::Outcome) -> Judged {
    use weir_fields::{Path, Plan, Value};

    let patches = outcome.patches.as_ref().expect("changes for the verdict `patch`");
    let changes = 0..patches.origins.len();
    let mine = changes.filter(|change| patches.origins[*change] as usize == event.index());
    let (mut paths, mut values): (Vec<Path>, Vec<Value<'_>>) = (Vec::new(), Vec::new());
    for change in mine {
        let name = &patches.names[patches.name_of[change] as usize];
        paths.push(name.parse().expect("a patch names a path"));
        let text = &patches.values[span(&patches.ends, change)];
        values.push(match patches.kinds[change] {
            0 => Value::Remove,
            1 => Value::Null,
            2 => Value::Bool(false),
            3 => Value::Bool(true),
            5 => Value::Text(text),
            _ => Value::Json(text),
        });
    }
    let mut data = String::new();
    if let Err(error) = Plan::new(&paths).apply(event.data(), &values, &mut data) {
        return Judged::Fail(FailureKind::Invalid, error.to_string());
    }
    let own = |text: Option<&str>| text.map(str::to_owned);
    let attributes = event.extensions();
    Judged::Emit(vec![Emitted {
        event_type: event.event_type().to_owned(),
        subject: own(event.subject()),
        content_type: own(event.content_type()),
        data: data.into_bytes(),
        extensions: attributes.map(|(name, it)| (name.to_owned(), it.to_owned())).collect(),
        route: None,
    }])
}

fn emitted(event: Event<'_>, rows: &types::Rows, row: usize) -> Emitted {
    let read = |column: &[u32], inherited: Option<&str>| match column.get(row) {
        None => inherited.map(str::to_owned),
        Some(&NONE) => None,
        Some(&name) => Some(rows.dictionary[span(&rows.dictionary_ends, name as usize)].to_owned()),
    };
    let extensions: Vec<(String, String)> = match &rows.extensions {
        None => {
            event.extensions().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        }
        Some(extensions) => span(&extensions.row_ends, row)
            .map(|entry| {
                let name = extensions.names[extensions.name_of[entry] as usize].clone();
                (name, extensions.values[span(&extensions.value_ends, entry)].to_owned())
            })
            .collect(),
    };
    Emitted {
        event_type: read(&rows.types, Some(event.event_type())).unwrap_or_default(),
        subject: read(&rows.subjects, event.subject()),
        content_type: read(&rows.content_types, event.content_type()),
        data: match rows.data_ends.as_slice() {
            [] => event.data().to_vec(),
            ends => rows.data[span(ends, row)].to_vec(),
        },
        extensions,
        route: read(&rows.routes, None),
    }
}
