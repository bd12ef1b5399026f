//! Tables that the pipeline file declares and the daemon loads, shares and reloads. A step grants
//! them with `grants = ["lookup"]`.
//!
//! A look-up of all keys of a batch is one call, so override
//! [`transform_batch`](crate::Plugin::transform_batch) and gather the keys first.

use std::fmt;

#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::plugin::lookup as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::fakes::lookup as host;

/// A table that was opened.
pub struct Table(host::Table);

/// What a look-up found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    present: Vec<bool>,
    ends: Vec<u32>,
    values: String,
}

impl Table {
    /// Opens `[table.NAME]` of the pipeline file, usually in
    /// [`configure`](crate::Plugin::configure).
    ///
    /// # Errors
    /// If the file declares no such table.
    pub fn open(name: &str) -> Result<Self, String> {
        host::open(name).map(Self)
    }

    /// Looks all `keys` up in one state of the table.
    pub fn find<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Found {
        let mut ends = Vec::new();
        let mut text = String::new();
        for key in keys {
            text.push_str(key.as_ref());
            ends.push(u32::try_from(text.len()).expect("a plugin's memory is smaller than 4 GiB"));
        }
        let host::Found { present, value_ends: ends, values } = self.0.get(&ends, &text);
        Found { present, ends, values }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Table")
    }
}

impl Found {
    /// How many keys there were.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there were no keys.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The value of the key at `index`, as JSON text, if it was found.
    pub fn get(&self, index: usize) -> Option<&str> {
        let is_present = *self.present.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        is_present.then(|| &self.values[start as usize..self.ends[index] as usize])
    }
}
