//! What a plugin answers: the types of `sdk/wit/plugin.wit`, and the checks before anyone believes them.
//!
//! An [`Outcome`] comes out of the sandbox; [`Outcome::checked`] makes [`Verdicts`] of it whose
//! every length, end and index holds, so that the chain may index without a second look.

use wasmtime::component::{ComponentType, Lift};
use weir_fields::{FIELDS_MAX, PathError, is_json, is_number};

use super::clip;
use crate::component::{Failure, FailureKind, Patches, Rows, Verdict, Verdicts};
use crate::event::{Blobs, Extensions, NONE, Texts};

/// Longest message of a failed event, in bytes; it goes back to the publisher.
pub(super) const MESSAGE_MAX: usize = 1 << 10;

/// How many rows may replace one event, over a whole batch.
const ROWS_PER_EVENT_MAX: usize = 16;

/// How many rows a batch may become in any case, so that one event can be split into many.
const ROWS_FLOOR: usize = 1024;

/// How many distinct fields the patches of a batch may name.
const NAMES_MAX: usize = 1024;

/// `types.outcome`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Outcome {
    verdicts: Vec<Judgement>,
    patches: Option<Changed>,
    emitted: Option<Emitted>,
    failures: Vec<Failed>,
}

/// `types.verdict`.
#[derive(ComponentType, Lift, Clone, Copy, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the derived code makes them out of what the plugin answers")]
pub(super) enum Judgement {
    #[component(name = "keep")]
    Keep,
    #[component(name = "patch")]
    Patch,
    #[component(name = "drop")]
    Drop,
    #[component(name = "emit")]
    Emit,
    #[component(name = "fail")]
    Fail,
}

/// `types.patches`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Changed {
    origins: Vec<u32>,
    names: Vec<String>,
    #[component(name = "name-of")]
    name_of: Vec<u32>,
    kinds: Vec<u8>,
    ends: Vec<u32>,
    values: String,
}

/// `types.rows`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Emitted {
    origins: Vec<u32>,
    #[component(name = "data-ends")]
    data_ends: Vec<u32>,
    data: Vec<u8>,
    #[component(name = "dictionary-ends")]
    dictionary_ends: Vec<u32>,
    dictionary: String,
    types: Vec<u32>,
    subjects: Vec<u32>,
    #[component(name = "content-types")]
    content_types: Vec<u32>,
    routes: Vec<u32>,
    extensions: Option<Attributes>,
}

/// `types.extensions`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Attributes {
    names: Vec<String>,
    #[component(name = "row-ends")]
    row_ends: Vec<u32>,
    #[component(name = "name-of")]
    name_of: Vec<u32>,
    #[component(name = "value-ends")]
    value_ends: Vec<u32>,
    values: String,
}

/// `types.failure`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Failed {
    event: u32,
    kind: Blame,
    message: String,
}

/// `types.failure-kind`.
#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the derived code makes them out of what the plugin answers")]
pub(super) enum Blame {
    #[component(name = "invalid")]
    Invalid,
    #[component(name = "transient")]
    Transient,
    #[component(name = "internal")]
    Internal,
}

/// What is wrong with an answer, a lowercase fragment.
type Wrong = String;

impl Outcome {
    /// The answer for a batch of `events`, or what is wrong with it.
    pub(super) fn checked(self, events: usize) -> Result<Verdicts, Wrong> {
        if self.verdicts.len() != events {
            return Err(format!("{} verdicts for {events} events", self.verdicts.len()));
        }
        let verdicts: Vec<Verdict> = self.verdicts.into_iter().map(Judgement::verdict).collect();
        let patches = match self.patches {
            Some(changed) => changed.checked(&verdicts)?,
            None => Patches::default(),
        };
        let emitted = match self.emitted {
            Some(emitted) => emitted.checked(&verdicts)?,
            None => Rows::default(),
        };
        let failures = failures(self.failures, &verdicts)?;
        Ok(Verdicts { verdicts, patches, emitted, failures })
    }

    /// The rows of a tick, or what is wrong with the answer.
    pub(super) fn checked_tick(self) -> Result<Rows, Wrong> {
        let Self { verdicts, patches, emitted, failures } = self;
        let is_of_events = !verdicts.is_empty() || patches.is_some() || !failures.is_empty();
        if is_of_events {
            return Err("verdicts, patches or failures, though a tick has no events".to_owned());
        }
        emitted.map_or_else(|| Ok(Rows::default()), Emitted::checked_tick)
    }
}

impl Judgement {
    fn verdict(self) -> Verdict {
        match self {
            Self::Keep => Verdict::Keep,
            Self::Drop => Verdict::Drop,
            Self::Emit => Verdict::Emit,
            Self::Patch => Verdict::Patch,
            Self::Fail => Verdict::Fail,
        }
    }
}

impl Changed {
    fn checked(self, verdicts: &[Verdict]) -> Result<Patches, Wrong> {
        let changes = self.origins.len();
        origins(&self.origins, verdicts, (Verdict::Patch, "patch"))?;
        let is_crowded = |window: &[u32]| window[0] == window[FIELDS_MAX];
        if self.origins.windows(FIELDS_MAX + 1).any(is_crowded) {
            return Err(format!("more than {FIELDS_MAX} patches of one event"));
        }
        for (name, len) in [
            ("patch name-of", self.name_of.len()),
            ("patch kinds", self.kinds.len()),
            ("patch ends", self.ends.len()),
        ] {
            if len != changes {
                return Err(format!("{name} for {len} of {changes} patches"));
            }
        }
        if self.names.len() > NAMES_MAX {
            return Err(format!("{} names of patches, over {NAMES_MAX}", self.names.len()));
        }
        references("patch name-of", &self.name_of, self.names.len(), false)?;
        let parse = |name: &String| name.parse().map_err(|error: PathError| error.to_string());
        let names = self.names.iter().map(parse).collect::<Result<_, Wrong>>()?;
        let values = texts("patch ends", self.ends, self.values)?;
        for (index, kind) in self.kinds.iter().enumerate() {
            let is_fit = match kind {
                0..=3 | 5 => true,
                4 => is_number(values.get(index)),
                6 => is_json(values.get(index)),
                _ => false,
            };
            if !is_fit {
                return Err(format!("patch {index} has no value of kind {kind}"));
            }
        }
        let (origins, name_of, kinds) = (self.origins, self.name_of, self.kinds);
        Ok(Patches { origins, names, name_of, kinds, values })
    }
}

impl Emitted {
    fn checked(self, verdicts: &[Verdict]) -> Result<Rows, Wrong> {
        let rows = self.origins.len();
        let rows_max = ROWS_FLOOR.max(verdicts.len() * ROWS_PER_EVENT_MAX);
        if rows > rows_max {
            return Err(format!("{rows} rows for {} events, over {rows_max}", verdicts.len()));
        }
        origins(&self.origins, verdicts, (Verdict::Emit, "emit"))?;
        self.columns(rows)
    }

    /// Rows that come from no event, as many as they have types.
    fn checked_tick(self) -> Result<Rows, Wrong> {
        if !self.origins.is_empty() {
            return Err("a row of an event, though a tick has none".to_owned());
        }
        let rows = self.types.len();
        if rows > ROWS_FLOOR {
            return Err(format!("{rows} rows for a tick, over {ROWS_FLOOR}"));
        }
        let columns = [&self.data_ends, &self.subjects, &self.content_types, &self.routes];
        let is_untyped = rows == 0 && columns.iter().any(|column| !column.is_empty());
        if is_untyped || self.types.contains(&NONE) {
            return Err("a row without a type, which a tick cannot inherit".to_owned());
        }
        self.columns(rows)
    }

    fn columns(self, rows: usize) -> Result<Rows, Wrong> {
        column("data-ends", self.data_ends.len(), rows)?;
        ends("data-ends", &self.data_ends, self.data.len())?;
        let dictionary = texts("dictionary-ends", self.dictionary_ends, self.dictionary)?;
        let words = dictionary.ends.len();
        for (name, indices) in [
            ("types", &self.types),
            ("subjects", &self.subjects),
            ("content-types", &self.content_types),
            ("routes", &self.routes),
        ] {
            column(name, indices.len(), rows)?;
            references(name, indices, words, true)?;
        }
        let is_blank = |index: &u32| *index != NONE && dictionary.get(*index as usize).is_empty();
        if self.types.iter().any(is_blank) {
            return Err("an empty event type".to_owned());
        }
        let extensions = self.extensions.map(|extensions| extensions.checked(rows)).transpose()?;
        Ok(Rows {
            origins: self.origins,
            data: Blobs { ends: self.data_ends, bytes: self.data },
            dictionary,
            types: self.types,
            subjects: self.subjects,
            content_types: self.content_types,
            routes: self.routes,
            extensions,
        })
    }
}

impl Attributes {
    fn checked(self, rows: usize) -> Result<Extensions, Wrong> {
        let entries = self.name_of.len();
        if self.row_ends.len() != rows {
            return Err(format!("extension row-ends for {} of {rows} rows", self.row_ends.len()));
        }
        if self.value_ends.len() != entries {
            return Err(format!("{} extension values of {entries}", self.value_ends.len()));
        }
        ends("extension row-ends", &self.row_ends, entries)?;
        references("extension name-of", &self.name_of, self.names.len(), false)?;
        let values = texts("extension value-ends", self.value_ends, self.values)?;
        if self.names.iter().any(String::is_empty) {
            return Err("an empty extension name".to_owned());
        }
        Ok(Extensions { names: self.names, row_ends: self.row_ends, name_of: self.name_of, values })
    }
}

impl From<Blame> for FailureKind {
    fn from(blame: Blame) -> Self {
        match blame {
            Blame::Invalid => Self::Invalid,
            Blame::Transient => Self::Transient,
            Blame::Internal => Self::Internal,
        }
    }
}

fn failures(failed: Vec<Failed>, verdicts: &[Verdict]) -> Result<Vec<Failure>, Wrong> {
    if failed.len() > verdicts.len() {
        return Err(format!("{} failures for {} events", failed.len(), verdicts.len()));
    }
    let mut failures = Vec::with_capacity(failed.len());
    for Failed { event, kind, message } in failed {
        if verdicts.get(event as usize) != Some(&Verdict::Fail) {
            return Err(format!("a failure of event {event}, whose verdict is not `fail`"));
        }
        let message = clip(&message, MESSAGE_MAX).into_owned();
        failures.push(Failure { event, kind: kind.into(), message });
    }
    failures.sort_by_key(|failure| failure.event);
    Ok(failures)
}

/// Rows and patches are in the order of their events, which were judged so.
fn origins(
    origins: &[u32],
    verdicts: &[Verdict],
    (verdict, name): (Verdict, &str),
) -> Result<(), Wrong> {
    let mut last = 0;
    for origin in origins {
        if *origin < last {
            return Err(format!("origins go back from {last} to {origin}"));
        }
        if verdicts.get(*origin as usize) != Some(&verdict) {
            return Err(format!("a row of event {origin}, whose verdict is not `{name}`"));
        }
        last = *origin;
    }
    Ok(())
}

/// A column holds one item per row, or none at all.
fn column(name: &str, len: usize, rows: usize) -> Result<(), Wrong> {
    if len == 0 || len == rows { Ok(()) } else { Err(format!("{name} for {len} of {rows} rows")) }
}

/// A column of strings, cut only between characters.
fn texts(name: &str, cuts: Vec<u32>, text: String) -> Result<Texts, Wrong> {
    ends(name, &cuts, text.len())?;
    if !cuts.iter().all(|end| text.is_char_boundary(*end as usize)) {
        return Err(format!("{name} within a character"));
    }
    Ok(Texts { ends: cuts, text })
}

/// Ends never go back, and the last one is the end of the buffer.
fn ends(name: &str, ends: &[u32], len: usize) -> Result<(), Wrong> {
    if !ends.is_sorted() {
        return Err(format!("{name} go back"));
    }
    let last = ends.last().map_or(0, |last| *last as usize);
    if last == len { Ok(()) } else { Err(format!("{name} end at {last} of {len}")) }
}

fn references(name: &str, indices: &[u32], len: usize, may_be_none: bool) -> Result<(), Wrong> {
    let is_wrong = |index: &&u32| **index as usize >= len && !(may_be_none && **index == NONE);
    match indices.iter().find(is_wrong) {
        Some(index) => Err(format!("{name} refers to entry {index} of {len}")),
        None => Ok(()),
    }
}
