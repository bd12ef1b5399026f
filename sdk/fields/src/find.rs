//! Finds all wanted fields of a JSON text in one walk.

use crate::path::{Path, Segment};
use crate::scan::{DEPTH_MAX, Passed, Scanner};
use crate::text::push_unescaped;

/// The paths to look for, as a tree; each has a slot, in the order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    paths: Vec<Path>,
    root: Node,
}

/// What is wanted at one place, and below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    slot: Option<usize>,
    below: Vec<(Segment, Node)>,
}

/// What a field is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// There is no such field.
    #[default]
    Absent,
    /// It is `null`.
    Null,
    /// It is `false`.
    False,
    /// It is `true`.
    True,
    /// It is a number.
    Number,
    /// It is a string without escapes.
    Text,
    /// It is a string with escapes.
    EscapedText,
    /// It is an array or an object.
    Json,
    /// There is no such field, for the text as a whole is not JSON, nor blank.
    NotJson,
}

/// Where a field is in its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub kind: Kind,
    /// Whether an object on the way to it names its key more than once, so that another reader
    /// may see another value.
    pub is_ambiguous: bool,
    /// Where it starts; a string behind its quote.
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Place {
    /// Whether its kind does not say it all.
    pub fn has_text(&self) -> bool {
        matches!(self.kind, Kind::Number | Kind::Text | Kind::EscapedText | Kind::Json)
    }

    /// Appends the field: the text of a string, the JSON of a number, an array or an object,
    /// nothing for what its kind says already.
    ///
    /// # Panics
    /// If `text` is not the one that it was found in.
    pub fn write(&self, text: &str, out: &mut String) {
        let span = || &text[self.start as usize..self.end as usize];
        match self.kind {
            Kind::Absent | Kind::Null | Kind::False | Kind::True | Kind::NotJson => {}
            Kind::Number | Kind::Text | Kind::Json => out.push_str(span()),
            Kind::EscapedText => push_unescaped(span(), out),
        }
    }
}

impl Wanted {
    /// The slot of `path`, which is added unless it is there.
    pub fn slot(&mut self, path: &Path) -> usize {
        if let Some(known) = self.paths.iter().position(|known| known == path) {
            return known;
        }
        let slot = self.paths.len();
        self.paths.push(path.clone());
        let mut node = &mut self.root;
        for segment in path.segments() {
            node = node.child_or_new(segment);
        }
        node.slot = Some(slot);
        slot
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The paths, by their slots.
    pub(crate) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Fills `places`, one for each slot. Where `data` is not JSON all of them are
    /// [`Kind::NotJson`], or absent where it is blank.
    ///
    /// # Panics
    /// If `places` has not as many entries as there are slots.
    pub fn find(&self, data: &[u8], places: &mut [Place]) {
        assert_eq!(places.len(), self.len(), "a place for each slot");
        places.fill(Place::default());
        if self.walk(data, places).is_none() && !data.trim_ascii().is_empty() {
            places.fill(Place { kind: Kind::NotJson, ..Place::default() });
        }
    }

    fn walk(&self, data: &[u8], places: &mut [Place]) -> Option<()> {
        let text = std::str::from_utf8(data).ok()?;
        // A text whose ends do not fit the places is beyond what any edge lets through.
        u32::try_from(text.len()).ok()?;
        let mut walk = Walk { text, scanner: Scanner::new(text), places };
        walk.scanner.skip_space();
        walk.value(&self.root, 0)?;
        walk.scanner.end()
    }
}

impl Node {
    fn child_or_new(&mut self, segment: &Segment) -> &mut Self {
        let known = self.below.iter().position(|(known, _)| known == segment);
        let index = known.unwrap_or_else(|| {
            self.below.push((segment.clone(), Self::default()));
            self.below.len() - 1
        });
        &mut self.below[index].1
    }

    /// Where the child with this key is.
    #[inline]
    fn child(&self, key: &str) -> Option<usize> {
        self.below.iter().position(|(segment, _)| match segment {
            Segment::Key(known) => known == key,
            Segment::Index(_) => false,
        })
    }
}

/// A text while it is read.
struct Walk<'a, 'p> {
    text: &'a str,
    scanner: Scanner<'a>,
    places: &'p mut [Place],
}

impl Walk<'_, '_> {
    /// Passes the value that is next, which is at `node`.
    fn value(&mut self, node: &Node, depth: u32) -> Option<()> {
        let start = self.scanner.at;
        let kind = match self.scanner.peek()? {
            b'{' if !node.below.is_empty() => self.object(node, depth).map(|()| Kind::Json)?,
            b'[' if !node.below.is_empty() => self.array(node, depth).map(|()| Kind::Json)?,
            _ => self.scanner.skip_value(depth)?,
        };
        if let Some(slot) = node.slot {
            let place = &mut self.places[slot];
            let quote = usize::from(matches!(kind, Kind::Text | Kind::EscapedText));
            place.kind = kind;
            place.start = (start + quote) as u32;
            place.end = (self.scanner.at - quote) as u32;
        }
        Some(())
    }

    fn object(&mut self, node: &Node, depth: u32) -> Option<()> {
        self.open(depth)?;
        if self.scanner.peek()? == b'}' {
            self.scanner.at += 1;
            return Some(());
        }
        let mut seen = Seen::default();
        loop {
            let key = self.scanner.key()?;
            match self.child(node, key) {
                Some(index) => {
                    let child = &node.below[index].1;
                    if seen.is_again(index) {
                        self.forget(child);
                    }
                    self.value(child, depth + 1)?;
                }
                None => drop(self.scanner.skip_value(depth + 1)?),
            }
            if !self.go_on(b'}')? {
                return Some(());
            }
        }
    }

    fn array(&mut self, node: &Node, depth: u32) -> Option<()> {
        self.open(depth)?;
        if self.scanner.peek()? == b']' {
            self.scanner.at += 1;
            return Some(());
        }
        for index in 0.. {
            let child = node.below.iter().find(|(segment, _)| *segment == Segment::Index(index));
            match child {
                Some((_, child)) => self.value(child, depth + 1)?,
                None => drop(self.scanner.skip_value(depth + 1)?),
            }
            if !self.go_on(b']')? {
                break;
            }
        }
        Some(())
    }

    fn open(&mut self, depth: u32) -> Option<()> {
        self.scanner.at += 1;
        self.scanner.skip_space();
        (depth < DEPTH_MAX).then_some(())
    }

    /// Passes what follows a member; answers whether another one does.
    #[inline]
    fn go_on(&mut self, closing: u8) -> Option<bool> {
        self.scanner.skip_space();
        let next = self.scanner.peek()?;
        self.scanner.at += 1;
        if next == b',' {
            self.scanner.skip_space();
            return Some(true);
        }
        (next == closing).then_some(false)
    }

    #[inline]
    fn child(&self, node: &Node, key: Passed) -> Option<usize> {
        let inside = &self.text[key.start..key.end];
        if !key.is_escaped {
            return node.child(inside);
        }
        let mut unescaped = String::new();
        push_unescaped(inside, &mut unescaped);
        node.child(&unescaped)
    }

    /// Of keys that repeat the last counts, also for what lies below them.
    fn forget(&mut self, node: &Node) {
        if let Some(slot) = node.slot {
            self.places[slot] = Place { is_ambiguous: true, ..Place::default() };
        }
        node.below.iter().for_each(|(_, node)| self.forget(node));
    }
}

/// Which children of one object were met; a bit for each, beyond which there is a list.
#[derive(Default)]
pub(crate) struct Seen {
    first: u64,
    others: Vec<usize>,
}

impl Seen {
    /// Whether `index` was met before.
    #[inline]
    pub(crate) fn is_again(&mut self, index: usize) -> bool {
        let was_met = self.has(index);
        match index {
            0..64 => self.first |= 1 << index,
            _ if !was_met => self.others.push(index),
            _ => {}
        }
        was_met
    }

    #[inline]
    pub(crate) fn has(&self, index: usize) -> bool {
        if index < 64 { self.first >> index & 1 == 1 } else { self.others.contains(&index) }
    }
}
