//! Changes at places that are known already, made without walking over the text again.
//!
//! What [`Wanted::find`] found in a text says where most changes go: over a field that is there, or
//! behind the last member of the object that it is missing in. The places are kept up to date, so
//! that whoever reads or changes the text next need not walk over it either. Where a change is not
//! of that simple kind nothing happens, and a [`Plan`](crate::Plan) makes it.

use crate::find::{Kind, Place, Wanted};
use crate::patch::Value;
use crate::path::{Path, Segment};
use crate::text::push_quoted;

/// Where a path is among those that are wanted.
#[derive(Debug, Clone)]
pub struct Target {
    slot: usize,
    /// The slot of the object around it, and the key with its quotes and colon.
    parent: Option<(usize, String)>,
    /// Whether something inside of it is wanted as well.
    has_inside: bool,
}

/// Makes changes to one text after the other; kept for its memory.
#[derive(Debug, Default)]
pub struct Splicer {
    edits: Vec<Edit>,
    /// The new texts, one after the other.
    new: String,
}

/// What takes the place of a part of the text.
#[derive(Debug, Clone, Copy)]
struct Edit {
    start: u32,
    end: u32,
    /// Where its text is among the new ones, and where in that the value starts.
    new_start: usize,
    value_start: usize,
    new_end: usize,
    /// The slot of the path whose value it is.
    slot: usize,
}

impl Wanted {
    /// Where changes at `path` go. It and what is around it are wanted from then on, as long as
    /// there are at most `slots_max` slots.
    pub fn target(&mut self, path: &Path, slots_max: usize) -> Option<Target> {
        let (last, around) = path.segments().split_last()?;
        let around = Path::from(around.to_vec());
        let is_new = |path: &Path| usize::from(!self.paths().contains(path));
        let new = is_new(path) + is_new(&around);
        if new > 0 && self.len() + new > slots_max {
            return None;
        }
        let parent = match last {
            Segment::Key(key) => {
                let mut quoted = String::new();
                push_quoted(key, &mut quoted);
                quoted.push(':');
                Some((self.slot(&around), quoted))
            }
            Segment::Index(_) => None,
        };
        let slot = self.slot(path);
        let is_inside =
            |other: &Path| other != path && other.segments().starts_with(path.segments());
        let has_inside = self.paths().iter().any(is_inside);
        Some(Target { slot, parent, has_inside })
    }
}

impl Splicer {
    /// Appends `text` with the changes to `out` and moves `places` with it, those that were found
    /// in it; or does nothing and answers `false`, where another walk is needed.
    ///
    /// # Panics
    /// If the places are not those of this text.
    pub fn splice<'t>(
        &mut self,
        text: &[u8],
        places: &mut [Place],
        changes: impl Iterator<Item = (Option<&'t Target>, Value<'t>)>,
        out: &mut Vec<u8>,
    ) -> bool {
        self.edits.clear();
        self.new.clear();
        for (target, value) in changes {
            let Some(edit) = target.and_then(|target| self.edit(text, places, target, value))
            else {
                return false;
            };
            self.edits.push(edit);
        }
        self.edits.sort_by_key(|edit| edit.start);
        let is_apart =
            |pair: &[Edit]| pair[0].end <= pair[1].start && pair[0].start < pair[1].start;
        if self.edits.is_empty() || !self.edits.windows(2).all(is_apart) {
            return false;
        }
        let mut done = 0;
        for edit in &self.edits {
            out.extend_from_slice(&text[done..edit.start as usize]);
            out.extend_from_slice(&self.new.as_bytes()[edit.new_start..edit.new_end]);
            done = edit.end as usize;
        }
        out.extend_from_slice(&text[done..]);
        self.shift(places);
        true
    }

    fn edit(
        &mut self,
        text: &[u8],
        places: &[Place],
        target: &Target,
        value: Value<'_>,
    ) -> Option<Edit> {
        let place = places[target.slot];
        if place.is_ambiguous || target.has_inside || value == Value::Remove {
            return None;
        }
        let new_start = self.new.len();
        let (start, end) = match place.kind {
            Kind::Absent => self.missing(text, places, target)?,
            Kind::NotJson => return None,
            _ => place.outside(),
        };
        let value_start = self.new.len();
        value.push(&mut self.new);
        // A place has no spaces around it.
        let new = &self.new[value_start..];
        let is_tight = !new.is_empty() && new.trim_ascii().len() == new.len();
        let (new_end, slot) = (self.new.len(), target.slot);
        is_tight.then_some(Edit { start, end, new_start, value_start, new_end, slot })
    }

    /// Where a missing member goes; its key is written.
    fn missing(&mut self, text: &[u8], places: &[Place], target: &Target) -> Option<(u32, u32)> {
        let (slot, key) = target.parent.as_ref()?;
        let around = places[*slot];
        let object = &text[around.start as usize..around.end as usize];
        if around.kind != Kind::Json || around.is_ambiguous || object.first() != Some(&b'{') {
            return None;
        }
        let members = object[..object.len() - 1].trim_ascii_end();
        if members.len() > 1 {
            self.new.push(',');
        }
        self.new.push_str(key);
        let at = around.start + members.len() as u32;
        Some((at, at))
    }

    /// Moves `places` to where their fields are in the new text.
    fn shift(&self, places: &mut [Place]) {
        // From the back, so that what is before an edit is where it was.
        for edit in self.edits.iter().rev() {
            let new_len = (edit.new_end - edit.new_start) as u32;
            let moved = |at: u32| at - (edit.end - edit.start) + new_len;
            for place in places.iter_mut().filter(|place| place.end > edit.start) {
                if place.start >= edit.end {
                    place.start = moved(place.start);
                }
                place.end = moved(place.end);
            }
            let start = edit.start + (edit.value_start - edit.new_start) as u32;
            places[edit.slot] = Place::of(&self.new[edit.value_start..edit.new_end], start);
        }
    }
}

impl Place {
    /// Where it is, with the quotes of a string.
    fn outside(self) -> (u32, u32) {
        let quote = u32::from(matches!(self.kind, Kind::Text | Kind::EscapedText));
        (self.start - quote, self.end + quote)
    }

    /// The place of `value`, which is JSON without spaces around it, at `start`.
    fn of(value: &str, start: u32) -> Self {
        let kind = match value.as_bytes()[0] {
            b'"' if value.contains('\\') => Kind::EscapedText,
            b'"' => Kind::Text,
            b'{' | b'[' => Kind::Json,
            b't' => Kind::True,
            b'f' => Kind::False,
            b'n' => Kind::Null,
            _ => Kind::Number,
        };
        let quote = u32::from(matches!(kind, Kind::Text | Kind::EscapedText));
        let end = start + value.len() as u32 - quote;
        Self { kind, is_ambiguous: false, start: start + quote, end }
    }
}
