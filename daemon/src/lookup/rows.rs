//! The rows of a table in memory: all values in one text, found by their keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::TableError;

/// Most rows of a table.
const ROWS_MAX: usize = 5_000_000;

/// Values by key.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// JSON texts, one after the other.
    values: String,
    places: HashMap<Box<str>, Range<u32>>,
}

impl Rows {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let place = self.places.get(key)?;
        Some(&self.values[place.start as usize..place.end as usize])
    }

    /// Adds a row whose value `write` appends.
    ///
    /// # Errors
    /// If the key is there already, or the table is too large.
    pub(super) fn add(
        &mut self,
        key: &str,
        write: impl FnOnce(&mut String),
    ) -> Result<(), TableError> {
        if self.places.len() == ROWS_MAX {
            return Err(TableError(format!("it has more than {ROWS_MAX} rows")));
        }
        let start = self.values.len();
        write(&mut self.values);
        let place = |at: usize| {
            u32::try_from(at).map_err(|_large| TableError("it has more than 4 GiB".to_owned()))
        };
        let place = place(start)?..place(self.values.len())?;
        match self.places.entry(key.into()) {
            Entry::Vacant(entry) => {
                entry.insert(place);
                Ok(())
            }
            Entry::Occupied(_) => Err(TableError(format!("the key {key:?} is there twice"))),
        }
    }
}

impl TableError {
    /// The same, at a line.
    pub(super) fn at(self, line: usize) -> Self {
        Self(format!("line {line}: {}", self.0))
    }
}
