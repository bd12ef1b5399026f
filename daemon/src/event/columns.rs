//! The column types that a batch is made of: strings, byte strings, sparse attributes.
//!
//! They are laid out as in `sdk/wit/plugin.wit`, so a column crosses the Wasm boundary in one copy.

/// Marks an absent entry of a dictionary column.
pub const NONE: u32 = u32::MAX;

/// A column of strings in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// Where each item ends in `text`; it starts where the one before ends.
    pub ends: Vec<u32>,
    /// All items, one after the other.
    pub text: String,
}

impl Texts {
    /// Appends one item.
    pub fn push(&mut self, item: &str) {
        self.text.push_str(item);
        self.ends.push(end(self.text.len()));
    }

    /// The item at `index`.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn get(&self, index: usize) -> &str {
        &self.text[start(&self.ends, index)..self.ends[index] as usize]
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All items, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Appends all items of `other`.
    pub fn append(&mut self, other: &Self) {
        let offset = end(self.text.len());
        self.text.push_str(&other.text);
        self.ends.extend(other.ends.iter().map(|end| end + offset));
    }
}

/// A column of byte strings in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blobs {
    /// Where each item ends in `bytes`; it starts where the one before ends.
    pub ends: Vec<u32>,
    /// All items, one after the other.
    pub bytes: Vec<u8>,
}

impl Blobs {
    /// Appends one item.
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.end_item();
    }

    /// Makes one item of the bytes that were appended since the last one.
    pub fn end_item(&mut self) {
        self.ends.push(end(self.bytes.len()));
    }

    /// The item at `index`.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.bytes[start(&self.ends, index)..self.ends[index] as usize]
    }

    /// Appends all items of `other`.
    pub fn append(&mut self, other: &Self) {
        let offset = end(self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + offset));
    }
}

/// Extension attributes of n events, sparse, in compressed-row form.
///
/// Event `i` owns the entries `row_ends[i - 1]..row_ends[i]`; entry `j` is named
/// `names[name_of[j]]` and has the text `values.get(j)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The distinct attribute names.
    pub names: Vec<String>,
    /// Where the entries of each event end.
    pub row_ends: Vec<u32>,
    /// For each entry, the index of its name.
    pub name_of: Vec<u32>,
    /// For each entry, its value.
    pub values: Texts,
}

impl Extensions {
    /// A column for `rows` events without any attribute.
    pub fn empty(rows: usize) -> Self {
        Self { row_ends: vec![0; rows], ..Self::default() }
    }

    /// Appends the attributes of one more event.
    pub fn push<'a>(&mut self, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (name, value) in attributes {
            let name = self.intern(name);
            self.name_of.push(name);
            self.values.push(value);
        }
        self.row_ends.push(end(self.name_of.len()));
    }

    /// The attributes of event `row`, in the order given.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (&str, &str)> {
        let entries = start(&self.row_ends, row)..self.row_ends[row] as usize;
        entries.map(|entry| {
            (self.names[self.name_of[entry] as usize].as_str(), self.values.get(entry))
        })
    }

    fn intern(&mut self, name: &str) -> u32 {
        let known = self.names.iter().position(|known| known == name);
        end(known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }))
    }
}

/// A length as a column stores it.
///
/// # Panics
/// If a batch grew beyond 4 GiB, which the bounds of every edge rule out.
pub(super) fn end(len: usize) -> u32 {
    u32::try_from(len).expect("edges bound a batch far below 4 GiB")
}

fn start(ends: &[u32], index: usize) -> usize {
    if index == 0 { 0 } else { ends[index - 1] as usize }
}
