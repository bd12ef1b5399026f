//! Verdicts on their way out: actions come in, in the order of events; columns go out.
//!
//! Keeping and dropping cost one byte each. Columns of replaced events are built at the end, when
//! it is known which attributes any of them changed.

use crate::action::{Action, Failure, Row};
use crate::bindings::weir::plugin::types;
use crate::event::{Batch, Event, NONE, span};
use crate::patch::{Changes, Patch};

/// Collects the verdicts on a batch, one per event, in the order of the events.
#[derive(Debug)]
pub struct Verdicts<'a> {
    batch: Batch<'a>,
    verdicts: Vec<types::Verdict>,
    patches: types::Patches,
    rows: Vec<(u32, Row)>,
    failures: Vec<types::Failure>,
}

impl<'a> Verdicts<'a> {
    pub(crate) fn new(batch: Batch<'a>) -> Self {
        Self {
            batch,
            verdicts: Vec::with_capacity(batch.len()),
            patches: types::Patches {
                origins: Vec::new(),
                names: Vec::new(),
                name_of: Vec::new(),
                kinds: Vec::new(),
                ends: Vec::new(),
                values: String::new(),
            },
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// The next event passes on untouched.
    pub fn keep(&mut self) {
        self.verdicts.push(types::Verdict::Keep);
    }

    /// The next event is dropped on purpose.
    pub fn discard(&mut self) {
        self.verdicts.push(types::Verdict::Drop);
    }

    /// The next event could not be judged.
    pub fn fail(&mut self, failure: Failure) {
        let (kind, message) = (failure.kind.into(), failure.message);
        self.failures.push(types::Failure { event: self.next(), kind, message });
        self.verdicts.push(types::Verdict::Fail);
    }

    /// What happens to the next event.
    pub fn act(&mut self, action: Action) {
        match action {
            Action::Keep => self.keep(),
            Action::Drop => self.discard(),
            Action::Patch(patch) => self.patch(patch),
            Action::Replace(data) => self.emit([Row::new().data(data)]),
            Action::Emit(rows) => self.emit(rows),
        }
    }

    /// The next event passes on with these changes.
    pub fn patch(&mut self, patch: Patch) {
        self.patch_with(|changes| {
            for (path, value) in patch.changes {
                changes.push(&path, value.kind, &value.text);
            }
        });
    }

    /// The next event passes on with the changes that `make` makes, untouched if it makes none.
    ///
    /// The changes are written where they go at once, so this is the cheapest way to patch many
    /// events, from [`transform_batch`](crate::Plugin::transform_batch).
    pub fn patch_with(&mut self, make: impl FnOnce(&mut Changes<'_>)) {
        let (origin, events) = (self.next(), self.batch.len());
        let before = self.patches.origins.len();
        make(&mut Changes { patches: &mut self.patches, origin, events });
        let is_changed = self.patches.origins.len() > before;
        self.verdicts.push(if is_changed { types::Verdict::Patch } else { types::Verdict::Keep });
    }

    fn emit(&mut self, rows: impl IntoIterator<Item = Row>) {
        let (origin, before) = (self.next(), self.rows.len());
        self.rows.extend(rows.into_iter().map(|row| (origin, row)));
        let has_rows = self.rows.len() > before;
        self.verdicts.push(if has_rows { types::Verdict::Emit } else { types::Verdict::Drop });
    }

    fn next(&self) -> u32 {
        column_len(self.verdicts.len())
    }

    /// The answer in the columns of the contract.
    pub(crate) fn finish(mut self) -> Result<types::Outcome, String> {
        let (events, verdicts) = (self.batch.len(), self.verdicts.len());
        if verdicts > events {
            return Err(format!("the plugin gave {verdicts} verdicts for {events} events"));
        }
        self.verdicts.resize(events, types::Verdict::Keep);
        let emitted = match self.rows.as_slice() {
            [] => None,
            rows => Some(Columns { batch: self.batch, rows }.build()?),
        };
        Ok(types::Outcome {
            verdicts: self.verdicts,
            patches: (!self.patches.origins.is_empty()).then_some(self.patches),
            emitted,
            failures: self.failures,
        })
    }
}

/// The answer of a tick in the columns of the contract.
pub(crate) fn emitted(rows: Vec<Row>) -> Result<types::Outcome, String> {
    if rows.iter().any(|row| row.event_type.is_none()) {
        return Err("a row of a tick has no type, and nothing to inherit one from".to_owned());
    }
    let rows: Vec<(u32, Row)> = rows.into_iter().map(|row| (0, row)).collect();
    let emitted = match rows.as_slice() {
        [] => None,
        rows => {
            let blank = blank();
            let columns = Columns { batch: Batch::new(&blank, &[]), rows }.build()?;
            Some(types::Rows { origins: Vec::new(), ..columns })
        }
    };
    let (verdicts, failures) = Default::default();
    Ok(types::Outcome { verdicts, patches: None, emitted, failures })
}

/// One event that has nothing, for what inherits nothing.
fn blank() -> types::Batch {
    types::Batch {
        dictionary_ends: vec![0],
        dictionary: String::new(),
        id_ends: vec![0],
        ids: String::new(),
        sources: vec![0],
        types: vec![0],
        subjects: vec![NONE],
        content_types: vec![NONE],
        times: vec![0],
        data_ends: vec![0],
        data: Vec::new(),
        extensions: None,
        fields: Vec::new(),
    }
}

/// Builds the columns of rows; each is left empty where all rows inherit it.
struct Columns<'a> {
    batch: Batch<'a>,
    rows: &'a [(u32, Row)],
}

impl<'a> Columns<'a> {
    fn build(&self) -> Result<types::Rows, String> {
        let (data_ends, data) = self.data()?;
        let mut dictionary = Dictionary::default();
        let types = self.names(
            &mut dictionary,
            |event, row| match row {
                None => Some(event.event_type()),
                Some(row) => row.event_type.as_deref(),
            },
            |row| row.event_type.is_some(),
        );
        let subjects = self.names(
            &mut dictionary,
            |event, row| match row {
                None => event.subject(),
                Some(row) => row.subject.as_ref().and_then(Option::as_deref),
            },
            |row| row.subject.is_some(),
        );
        let content_types = self.names(
            &mut dictionary,
            |event, row| match row {
                None => event.content_type(),
                Some(row) => row.content_type.as_ref().and_then(Option::as_deref),
            },
            |row| row.content_type.is_some(),
        );
        let routes = self.names(
            &mut dictionary,
            |_, row| row.and_then(|row| row.route.as_deref()),
            |row| row.route.is_some(),
        );
        Ok(types::Rows {
            origins: self.rows.iter().map(|(origin, _)| *origin).collect(),
            data_ends,
            data,
            dictionary_ends: dictionary.ends,
            dictionary: dictionary.text,
            types,
            subjects,
            content_types,
            routes,
            extensions: self.extensions(),
        })
    }

    fn origin(&self, origin: u32) -> Event<'a> {
        self.batch.event(origin as usize)
    }

    fn data(&self) -> Result<(Vec<u32>, Vec<u8>), String> {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        if self.rows.iter().all(|(_, row)| row.data.is_none()) {
            return Ok((ends, bytes));
        }
        for (origin, row) in self.rows {
            match &row.data {
                Some(data) => bytes.extend_from_slice(data),
                None if self.batch.has_data() => {
                    bytes.extend_from_slice(self.origin(*origin).data());
                }
                None => {
                    return Err(
                        "a row inherits the data of its event, but the plugin said that it \
                                needs no data"
                            .to_owned(),
                    );
                }
            }
            ends.push(column_len(bytes.len()));
        }
        Ok((ends, bytes))
    }

    /// A dictionary column: `name` reads it from a row, or from the event where a row has none.
    fn names<'n>(
        &'n self,
        dictionary: &mut Dictionary,
        name: impl Fn(Event<'n>, Option<&'n Row>) -> Option<&'n str>,
        is_set: impl Fn(&Row) -> bool,
    ) -> Vec<u32> {
        if !self.rows.iter().any(|(_, row)| is_set(row)) {
            return Vec::new();
        }
        let names = self.rows.iter().map(|(origin, row)| {
            let row = is_set(row).then_some(row);
            name(self.origin(*origin), row).map_or(NONE, |name| dictionary.intern(name))
        });
        names.collect()
    }

    fn extensions(&self) -> Option<types::Extensions> {
        if self.rows.iter().all(|(_, row)| row.extensions.is_empty()) {
            return None;
        }
        let mut names = Names::default();
        let (mut row_ends, mut name_of) = (Vec::new(), Vec::new());
        let (mut value_ends, mut values) = (Vec::new(), String::new());
        for (origin, row) in self.rows {
            for (name, value) in merged(self.origin(*origin), row) {
                name_of.push(names.intern(name));
                values.push_str(value);
                value_ends.push(column_len(values.len()));
            }
            row_ends.push(column_len(name_of.len()));
        }
        Some(types::Extensions { names: names.0, row_ends, name_of, value_ends, values })
    }
}

/// The attributes of `event` with the changes of `row`; the last change of a name wins.
fn merged<'a>(event: Event<'a>, row: &'a Row) -> Vec<(&'a str, &'a str)> {
    let mut attributes: Vec<(&str, &str)> = event.extensions().collect();
    for (name, value) in &row.extensions {
        attributes.retain(|(known, _)| known != name);
        attributes.extend(value.as_deref().map(|value| (name.as_str(), value)));
    }
    attributes
}

/// Strings that repeat. Batches are small and names few, so it is searched from the front.
#[derive(Default)]
pub(crate) struct Dictionary {
    pub(crate) ends: Vec<u32>,
    pub(crate) text: String,
}

impl Dictionary {
    /// The place of `name`, which is added unless it is there.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        let known = (0..self.ends.len()).find(|index| self.text[span(&self.ends, *index)] == *name);
        column_len(known.unwrap_or_else(|| {
            self.text.push_str(name);
            self.ends.push(column_len(self.text.len()));
            self.ends.len() - 1
        }))
    }
}

/// The distinct names of extension attributes.
#[derive(Default)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl Names {
    /// The place of `name`, which is added unless it is there.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        let known = self.0.iter().position(|known| known == name);
        column_len(known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        }))
    }
}

/// A length as a column stores it.
pub(crate) fn column_len(len: usize) -> u32 {
    u32::try_from(len).expect("the daemon bounds a batch far below 4 GiB")
}
