//! A batch of events as columns, and one event seen through it.
//!
//! Sources push [`Draft`]s, edges append whole batches, sinks and templates read [`Event`]s.

use super::columns::{Blobs, Extensions, NONE, Texts, end};

/// How many of the newest dictionary entries are searched before a string is stored again.
/// Types and sources repeat within a few events; subjects often never do.
const DICTIONARY_LOOKBACK: usize = 8;

/// What one event consists of, before it is part of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draft<'a> {
    /// Unique within `source`; whoever publishes again uses the same one.
    pub id: &'a str,
    /// Where it happened, a URI reference.
    pub source: &'a str,
    /// What happened, a hierarchical name such as `cart.add`.
    pub event_type: &'a str,
    /// What it happened to.
    pub subject: Option<&'a str>,
    /// Media type of `data`.
    pub content_type: Option<&'a str>,
    /// When it happened, in microseconds since the Unix epoch.
    pub time: u64,
    /// When the daemon took it in, in microseconds since the Unix epoch.
    pub arrival: u64,
    /// The publisher's bytes, never serialised again.
    pub data: &'a [u8],
    /// Extension attributes.
    pub extensions: &'a [(&'a str, &'a str)],
}

/// Events as columns; the unit that moves through a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Strings that repeat: types, sources, content types, subjects. May hold a string twice.
    pub dictionary: Texts,
    /// One id per event.
    pub ids: Texts,
    /// Indices into `dictionary`.
    pub sources: Vec<u32>,
    /// Indices into `dictionary`.
    pub types: Vec<u32>,
    /// Indices into `dictionary`, [`NONE`] where an event has no subject.
    pub subjects: Vec<u32>,
    /// Indices into `dictionary`, [`NONE`] where an event has no content type.
    pub content_types: Vec<u32>,
    /// Microseconds since the Unix epoch, as the publisher says.
    pub times: Vec<u64>,
    /// Microseconds since the Unix epoch, as the daemon's clock says.
    pub arrivals: Vec<u64>,
    /// The payloads.
    pub data: Blobs,
    /// Extension attributes, if any event has one.
    pub extensions: Option<Extensions>,
}

impl Batch {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// What the batch weighs against the bounds of an edge: the bytes of ids and data.
    pub fn bytes(&self) -> usize {
        self.ids.text.len()
            + self.data.bytes.len()
            + self.extensions.as_ref().map_or(0, |extensions| extensions.values.text.len())
    }

    /// The same events with other payloads.
    #[must_use]
    pub fn with_data(&self, data: Blobs) -> Self {
        Self {
            data,
            dictionary: self.dictionary.clone(),
            ids: self.ids.clone(),
            sources: self.sources.clone(),
            types: self.types.clone(),
            subjects: self.subjects.clone(),
            content_types: self.content_types.clone(),
            times: self.times.clone(),
            arrivals: self.arrivals.clone(),
            extensions: self.extensions.clone(),
        }
    }

    /// Appends one event.
    pub fn push(&mut self, draft: &Draft<'_>) {
        let rows = self.len();
        self.ids.push(draft.id);
        let source = self.intern(draft.source);
        self.sources.push(source);
        let event_type = self.intern(draft.event_type);
        self.types.push(event_type);
        let subject = self.intern_some(draft.subject);
        self.subjects.push(subject);
        let content_type = self.intern_some(draft.content_type);
        self.content_types.push(content_type);
        self.times.push(draft.time);
        self.arrivals.push(draft.arrival);
        self.data.push(draft.data);
        if !draft.extensions.is_empty() {
            self.extensions.get_or_insert_with(|| Extensions::empty(rows));
        }
        if let Some(extensions) = &mut self.extensions {
            extensions.push(draft.extensions.iter().copied());
        }
    }

    /// Appends a copy of `event`, which belongs to another batch.
    pub fn push_event(&mut self, event: &Event<'_>) {
        let extensions: Vec<_> = event.extensions().collect();
        self.push(&Draft { extensions: &extensions, ..event.draft() });
    }

    /// Appends all events of `other`.
    pub fn append(&mut self, other: &Self) {
        let rows = self.len();
        let renamed: Vec<u32> = other.dictionary.iter().map(|entry| self.intern(entry)).collect();
        let rename = |column: &u32| if *column == NONE { NONE } else { renamed[*column as usize] };
        self.ids.append(&other.ids);
        self.sources.extend(other.sources.iter().map(rename));
        self.types.extend(other.types.iter().map(rename));
        self.subjects.extend(other.subjects.iter().map(rename));
        self.content_types.extend(other.content_types.iter().map(rename));
        self.times.extend_from_slice(&other.times);
        self.arrivals.extend_from_slice(&other.arrivals);
        self.data.append(&other.data);
        if self.extensions.is_none() && other.extensions.is_none() {
            return;
        }
        let extensions = self.extensions.get_or_insert_with(|| Extensions::empty(rows));
        for row in 0..other.len() {
            match &other.extensions {
                Some(theirs) => extensions.push(theirs.row(row)),
                None => extensions.push([]),
            }
        }
    }

    /// A batch of the events at `rows`, in that order.
    pub fn select(&self, rows: &[u32]) -> Self {
        let pick = |column: &[u32]| rows.iter().map(|row| column[*row as usize]).collect();
        let mut picked = Self {
            dictionary: self.dictionary.clone(),
            sources: pick(&self.sources),
            types: pick(&self.types),
            subjects: pick(&self.subjects),
            content_types: pick(&self.content_types),
            times: rows.iter().map(|row| self.times[*row as usize]).collect(),
            arrivals: rows.iter().map(|row| self.arrivals[*row as usize]).collect(),
            extensions: self.extensions.as_ref().map(|_| Extensions::empty(0)),
            ..Self::default()
        };
        for row in rows {
            picked.ids.push(self.ids.get(*row as usize));
            picked.data.push(self.data.get(*row as usize));
            if let (Some(mine), Some(theirs)) = (&mut picked.extensions, &self.extensions) {
                mine.push(theirs.row(*row as usize));
            }
        }
        picked
    }

    /// The event at `index`.
    ///
    /// # Panics
    /// If there is no such event.
    pub fn event(&self, index: usize) -> Event<'_> {
        assert!(index < self.len(), "event {index} of a batch of {}", self.len());
        Event { batch: self, index }
    }

    /// All events, in order.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.len()).map(|index| Event { batch: self, index })
    }

    /// The dictionary index of `text`, which is stored if it was not used lately.
    pub fn intern(&mut self, text: &str) -> u32 {
        let len = self.dictionary.len();
        let from = len.saturating_sub(DICTIONARY_LOOKBACK);
        let known = (from..len).find(|index| self.dictionary.get(*index) == text);
        end(known.unwrap_or_else(|| {
            self.dictionary.push(text);
            len
        }))
    }

    fn intern_some(&mut self, text: Option<&str>) -> u32 {
        text.map_or(NONE, |text| self.intern(text))
    }
}

/// One event, seen through its batch.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    batch: &'a Batch,
    index: usize,
}

impl<'a> Event<'a> {
    /// Unique within [`source`](Self::source).
    pub fn id(&self) -> &'a str {
        self.batch.ids.get(self.index)
    }

    /// Where it happened.
    pub fn source(&self) -> &'a str {
        self.batch.dictionary.get(self.batch.sources[self.index] as usize)
    }

    /// What happened.
    pub fn event_type(&self) -> &'a str {
        self.batch.dictionary.get(self.batch.types[self.index] as usize)
    }

    /// What it happened to.
    pub fn subject(&self) -> Option<&'a str> {
        self.entry(self.batch.subjects[self.index])
    }

    /// Media type of the data.
    pub fn content_type(&self) -> Option<&'a str> {
        self.entry(self.batch.content_types[self.index])
    }

    /// When it happened, in microseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.batch.times[self.index]
    }

    /// When the daemon took it in, in microseconds since the Unix epoch.
    pub fn arrival(&self) -> u64 {
        self.batch.arrivals[self.index]
    }

    /// The publisher's bytes.
    pub fn data(&self) -> &'a [u8] {
        self.batch.data.get(self.index)
    }

    /// The extension attributes, in the order given.
    pub fn extensions(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let index = self.index;
        self.batch.extensions.iter().flat_map(move |extensions| extensions.row(index))
    }

    /// The extension attribute `name`.
    pub fn extension(&self, name: &str) -> Option<&'a str> {
        self.extensions().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The event as a draft without its extension attributes.
    pub fn draft(&self) -> Draft<'a> {
        Draft {
            id: self.id(),
            source: self.source(),
            event_type: self.event_type(),
            subject: self.subject(),
            content_type: self.content_type(),
            time: self.time(),
            arrival: self.arrival(),
            data: self.data(),
            extensions: &[],
        }
    }

    fn entry(&self, index: u32) -> Option<&'a str> {
        (index != NONE).then(|| self.batch.dictionary.get(index as usize))
    }
}
