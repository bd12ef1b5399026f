//! One field of JSON data, as a template names it: words split by dots.

use std::str;

use weir_fields::{Kind, Path, Place, Segment, Wanted};

use super::Encoding;

/// How many of a path's numbers may be the key of an object as well as the index of an array.
const NUMBERS_MAX: usize = 4;

/// A field to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    words: Vec<String>,
    /// One path, or one for each reading of its numbers.
    wanted: Wanted,
}

impl Lookup {
    pub(super) fn new(words: Vec<String>) -> Self {
        let mut readings = vec![Vec::new()];
        let mut numbers = 0;
        for word in &words {
            let index: Option<usize> = word.parse().ok();
            let is_open = index.is_some() && numbers < NUMBERS_MAX;
            numbers += usize::from(is_open);
            let others = if is_open { readings.clone() } else { Vec::new() };
            for reading in &mut readings {
                reading.push(index.map_or_else(|| Segment::Key(word.clone()), Segment::Index));
            }
            readings.extend(others.into_iter().map(|mut reading| {
                reading.push(Segment::Key(word.clone()));
                reading
            }));
        }
        let mut wanted = Wanted::default();
        for reading in readings {
            wanted.slot(&Path::from(reading));
        }
        Self { words, wanted }
    }

    /// The words that name it.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Appends the field in the JSON text `data`; answers whether there is a value.
    ///
    /// Strings, numbers and booleans are values; numbers keep the digits that the publisher
    /// wrote. As in every browser, the last of several fields of one name counts.
    pub(super) fn find(&self, data: &[u8], encoding: Encoding, out: &mut String) -> bool {
        let mut places = [Place::default(); 1 << NUMBERS_MAX];
        let places = &mut places[..self.wanted.len()];
        self.wanted.find(data, places);
        let Some(place) = places.iter().find(|place| place.kind != Kind::Absent) else {
            return false;
        };
        match place.kind {
            Kind::Absent | Kind::Null | Kind::Json | Kind::NotJson => return false,
            Kind::False => out.push_str("false"),
            Kind::True => out.push_str("true"),
            Kind::Number | Kind::Text | Kind::EscapedText => {
                let text = str::from_utf8(data).expect("fields are found in text");
                let mut value = String::new();
                place.write(text, &mut value);
                encoding.push(&value, out);
            }
        }
        true
    }
}
