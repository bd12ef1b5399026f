//! Where the fields that a chain reads are in the JSON data of a batch, and their columns.
//!
//! [`Found`] travels with a batch from step to step: a text is walked once for all fields that any
//! step reads, and again only after a step changed it.

use weir_fields::{Kind, Place, Wanted};

use super::batch::Batch;
use super::columns::{Texts, end};

/// The bit of a kind that says that an object on the way names its key more than once.
const AMBIGUOUS: u8 = 0x80;

/// The places of all wanted fields in the events of one batch, as far as somebody looked.
#[derive(Debug, Clone, Default)]
pub struct Found {
    slots: usize,
    /// Row after row, as many as there are slots.
    places: Vec<Place>,
    /// Whether the places of each row are those in its present data.
    is_known: Vec<bool>,
}

/// What one transform sees of them: the fields that it reads, in its own order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    found: Option<&'a Found>,
    slots: &'a [usize],
}

/// One field of all events of a batch, as `column` of `sdk/wit/plugin.wit` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// What each is.
    pub kinds: Vec<u8>,
    /// The text of each, empty where the kind says it all.
    pub values: Texts,
}

impl Found {
    /// Whether nobody looked yet.
    pub fn is_empty(&self) -> bool {
        self.is_known.is_empty()
    }

    /// Looks for all that is `wanted` in the events of `batch` where that is not known.
    pub fn look(&mut self, wanted: &Wanted, batch: &Batch) {
        if self.is_known.len() != batch.len() || self.slots != wanted.len() {
            self.slots = wanted.len();
            self.places = vec![Place::default(); batch.len() * self.slots];
            self.is_known = vec![false; batch.len()];
        }
        for (row, is_known) in self.is_known.iter_mut().enumerate() {
            if !*is_known {
                let places = &mut self.places[row * self.slots..][..self.slots];
                wanted.find(batch.data.get(row), places);
                *is_known = true;
            }
        }
    }

    /// What is known about `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        if self.is_known.is_empty() {
            return Self::default();
        }
        let mut picked = Self { slots: self.slots, ..Self::default() };
        for row in rows.iter().map(|row| *row as usize) {
            picked.places.extend_from_slice(&self.places[row * self.slots..][..self.slots]);
            picked.is_known.push(self.is_known[row]);
        }
        picked
    }

    /// The places in `row`, if they are known for as many as `slots`.
    pub fn places_mut(&mut self, row: usize, slots: usize) -> Option<&mut [Place]> {
        let is_known = self.slots == slots && self.is_known.get(row) == Some(&true);
        is_known.then(|| &mut self.places[row * slots..][..slots])
    }

    /// Says that the data of `row` was changed, who knows where.
    pub fn forget(&mut self, row: usize) {
        if let Some(is_known) = self.is_known.get_mut(row) {
            *is_known = false;
        }
    }
}

impl<'a> Fields<'a> {
    /// What a transform sees whose fields have these slots; `found` must have been looked for.
    pub fn new(found: &'a Found, slots: &'a [usize]) -> Self {
        Self { found: Some(found), slots }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Makes `column` that of field `index` in `batch`, keeping its memory.
    ///
    /// # Panics
    /// If there is no such field, or it was looked for in another batch.
    pub fn fill(&self, index: usize, batch: &Batch, column: &mut Column) {
        let (slot, found) = (self.slots[index], self.found.expect("fields were looked for"));
        column.kinds.clear();
        column.values.ends.clear();
        column.values.text.clear();
        for row in 0..batch.len() {
            let place = &found.places[row * found.slots + slot];
            let flag = if place.is_ambiguous { AMBIGUOUS } else { 0 };
            column.kinds.push(number(place.kind) | flag);
            if place.has_text() {
                let text = std::str::from_utf8(batch.data.get(row));
                place.write(text.expect("fields are found in text"), &mut column.values.text);
            }
            column.values.ends.push(end(column.values.text.len()));
        }
    }
}

/// The number of a kind in the contract.
fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Absent => 0,
        Kind::Null => 1,
        Kind::False => 2,
        Kind::True => 3,
        Kind::Number => 4,
        Kind::Text | Kind::EscapedText => 5,
        Kind::Json => 6,
        Kind::NotJson => 7,
    }
}
