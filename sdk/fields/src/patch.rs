//! Changes fields of a JSON text in one walk; all that is not changed keeps its bytes.

use std::fmt;

use crate::find::Seen;
use crate::path::{Path, Segment};
use crate::scan::{DEPTH_MAX, Scanner, is_json};
use crate::text::{push_quoted, push_unescaped};

/// The paths that a text is changed at, by their place in the order given.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Changes that can be made in one walk; one that lies inside of another waits for the next.
    walks: Vec<Node>,
    len: usize,
}

/// What a field is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Nothing: the field is removed.
    Remove,
    /// `null`.
    Null,
    /// `false` or `true`.
    Bool(bool),
    /// A number, an array or an object, as JSON.
    Json(&'a str),
    /// A string.
    Text(&'a str),
}

/// Why a text could not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchError {
    /// The text is not JSON.
    NotJson,
    /// There is no place for the change of this number: what it would be in is something else.
    NoPlace(usize),
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "data is not JSON",
            Self::NoPlace(_) => "what the field would be in is neither an object nor missing",
        })
    }
}

impl std::error::Error for PatchError {}

/// What is changed at one place, or below it.
#[derive(Debug, Clone, Default)]
struct Node {
    change: Option<usize>,
    below: Vec<(Segment, Node)>,
}

impl Plan {
    /// A plan to change `paths`. Of two changes at one path the later counts.
    pub fn new<'p, I: IntoIterator<Item = &'p Path>>(paths: I) -> Self {
        let mut plan = Self::default();
        for path in paths {
            let change = plan.len;
            plan.len += 1;
            let is_added = plan.walks.last_mut().is_some_and(|root| root.add(path, change));
            if !is_added {
                let mut root = Node::default();
                root.add(path, change);
                plan.walks.push(root);
            }
        }
        plan
    }

    /// Appends `data` to `out` with each path set to its value.
    ///
    /// Objects on the way to a field are made where they are missing or `null`; an element of an
    /// array can be set or, right behind the last one, added. A key that an object names more
    /// than once is changed everywhere.
    ///
    /// # Errors
    /// If `data` is not JSON, or there is no place for a change; what was appended is useless then.
    ///
    /// # Panics
    /// If there are fewer values than paths.
    pub fn apply(
        &self,
        data: &[u8],
        values: &[Value<'_>],
        out: &mut String,
    ) -> Result<(), PatchError> {
        assert!(values.len() >= self.len, "a value for each path");
        let text = std::str::from_utf8(data).ok().ok_or(PatchError::NotJson)?;
        let Some((last, others)) = self.walks.split_last() else {
            out.push_str(text);
            return if is_json(text) { Ok(()) } else { Err(PatchError::NotJson) };
        };
        let mut between: Option<String> = None;
        for root in others {
            let mut next = String::new();
            rewrite(root, between.as_deref().unwrap_or(text), values, &mut next)?;
            between = Some(next);
        }
        rewrite(last, between.as_deref().unwrap_or(text), values, out)
    }
}

impl Node {
    /// Adds a change; answers whether it fits in, which it does not below another one.
    fn add(&mut self, path: &Path, change: usize) -> bool {
        let mut node = self;
        for segment in path.segments() {
            if node.change.is_some() {
                return false;
            }
            let known = node.below.iter().position(|(known, _)| known == segment);
            let index = known.unwrap_or_else(|| {
                node.below.push((segment.clone(), Self::default()));
                node.below.len() - 1
            });
            node = &mut node.below[index].1;
        }
        *node = Self { change: Some(change), below: Vec::new() };
        true
    }

    fn sets_something(&self, values: &[Value<'_>]) -> bool {
        match self.change {
            Some(change) => values[change] != Value::Remove,
            None => self.below.iter().any(|(_, node)| node.sets_something(values)),
        }
    }

    /// The number of a change at or below this place.
    fn first_set(&self, values: &[Value<'_>]) -> Option<usize> {
        match self.change {
            Some(change) => (values[change] != Value::Remove).then_some(change),
            None => self.below.iter().find_map(|(_, node)| node.first_set(values)),
        }
    }
}

impl Value<'_> {
    pub(crate) fn push(self, out: &mut String) {
        match self {
            Self::Remove | Self::Null => out.push_str("null"),
            Self::Bool(is_true) => out.push_str(if is_true { "true" } else { "false" }),
            Self::Json(json) => out.push_str(json),
            Self::Text(text) => push_quoted(text, out),
        }
    }
}

fn rewrite(
    root: &Node,
    text: &str,
    values: &[Value<'_>],
    out: &mut String,
) -> Result<(), PatchError> {
    if let Some(change) = root.change {
        values[change].push(out);
        return Ok(());
    }
    out.reserve(text.len() + 64);
    let mut writer = Writer { text, scanner: Scanner::new(text), values, out, done: 0 };
    writer.scanner.skip_space();
    writer.value(root, 0)?;
    writer.scanner.end().ok_or(PatchError::NotJson)?;
    writer.flush(text.len());
    Ok(())
}

/// A text while it is read and written again.
struct Writer<'a, 'v> {
    text: &'a str,
    scanner: Scanner<'a>,
    values: &'v [Value<'v>],
    out: &'v mut String,
    /// Up to here the text is written, or left out.
    done: usize,
}

/// How far an array or an object was read.
struct Members {
    /// Where the last member that stays ends, or the bracket that opens.
    end: usize,
    has_kept: bool,
}

impl Writer<'_, '_> {
    /// Passes the value that is next, which is at `node`, and changes it below that.
    fn value(&mut self, node: &Node, depth: u32) -> Result<(), PatchError> {
        let start = self.scanner.at;
        match self.scanner.peek().ok_or(PatchError::NotJson)? {
            b'{' => return self.object(node, depth),
            b'[' => return self.array(node, depth),
            _ => self.scanner.skip_value(depth).ok_or(PatchError::NotJson)?,
        };
        let Some(change) = node.first_set(self.values) else { return Ok(()) };
        if &self.text[start..self.scanner.at] != "null" {
            return Err(PatchError::NoPlace(change));
        }
        self.flush(start);
        self.done = self.scanner.at;
        self.create(node)
    }

    fn object(&mut self, node: &Node, depth: u32) -> Result<(), PatchError> {
        if node.below.iter().any(|(segment, _)| matches!(segment, Segment::Index(_))) {
            return self.misfit(node, depth);
        }
        let mut seen = Seen::default();
        let mut members = self.open(depth)?;
        let mut is_open = self.peek()? != b'}';
        while is_open {
            let start = self.scanner.at;
            let key = self.scanner.key().ok_or(PatchError::NotJson)?;
            let mut name = String::new();
            let inside = &self.text[key.start..key.end];
            let name = if key.is_escaped {
                push_unescaped(inside, &mut name);
                name.as_str()
            } else {
                inside
            };
            let is_it = |(segment, _): &(Segment, Node)| matches!(segment, Segment::Key(key) if key == name);
            let child = node.below.iter().position(is_it);
            if let Some(index) = child {
                seen.is_again(index);
            }
            let child = child.map(|index| &node.below[index].1);
            is_open = self.member(child, (start, depth), &mut members)?;
        }
        self.add_missing(node, &seen, &members)?;
        self.close(b'}')
    }

    fn array(&mut self, node: &Node, depth: u32) -> Result<(), PatchError> {
        if node.below.iter().any(|(segment, _)| matches!(segment, Segment::Key(_))) {
            return self.misfit(node, depth);
        }
        let mut members = self.open(depth)?;
        let mut is_open = self.peek()? != b']';
        let mut len = 0;
        while is_open {
            let child = node.below.iter().find(|(it, _)| *it == Segment::Index(len));
            let start = self.scanner.at;
            is_open = self.member(child.map(|(_, node)| node), (start, depth), &mut members)?;
            len += 1;
        }
        for (segment, child) in &node.below {
            let Segment::Index(index) = segment else { continue };
            if *index < len || !child.sets_something(self.values) {
                continue;
            }
            if *index > len {
                return Err(PatchError::NoPlace(child.first_set(self.values).unwrap_or(0)));
            }
            self.begin_member(&mut members);
            self.create(child)?;
            len += 1;
        }
        self.close(b']')
    }

    /// Passes a value that has no such children as `node` wants to change.
    fn misfit(&mut self, node: &Node, depth: u32) -> Result<(), PatchError> {
        self.scanner.skip_value(depth).ok_or(PatchError::NotJson)?;
        node.first_set(self.values).map_or(Ok(()), |change| Err(PatchError::NoPlace(change)))
    }

    /// Passes one member, from its value on, and what follows it; answers whether another does.
    fn member(
        &mut self,
        child: Option<&Node>,
        (start, depth): (usize, u32),
        members: &mut Members,
    ) -> Result<bool, PatchError> {
        let value = self.scanner.at;
        let change = child.and_then(|child| child.change);
        match child {
            Some(child) if change.is_none() => self.value(child, depth + 1)?,
            _ => drop(self.scanner.skip_value(depth + 1).ok_or(PatchError::NotJson)?),
        }
        let end = self.scanner.at;
        let is_last = self.peek()? != b',';
        let separator = self.scanner.at;
        self.scanner.at += usize::from(!is_last);
        self.scanner.skip_space();
        match change.map(|change| self.values[change]) {
            Some(Value::Remove) if members.has_kept => {
                self.flush(members.end);
                self.done = if is_last { end } else { separator };
            }
            Some(Value::Remove) => {
                self.flush(start);
                self.done = if is_last { end } else { self.scanner.at };
            }
            other => {
                if let Some(new) = other {
                    self.flush(value);
                    new.push(self.out);
                    self.done = end;
                }
                *members = Members { end, has_kept: true };
            }
        }
        Ok(!is_last)
    }

    /// Adds the members that were not there.
    fn add_missing(
        &mut self,
        node: &Node,
        seen: &Seen,
        members: &Members,
    ) -> Result<(), PatchError> {
        let mut members = Members { ..*members };
        for (index, (segment, child)) in node.below.iter().enumerate() {
            let Segment::Key(key) = segment else { continue };
            if seen.has(index) || !child.sets_something(self.values) {
                continue;
            }
            self.begin_member(&mut members);
            push_quoted(key, self.out);
            self.out.push(':');
            self.create(child)?;
        }
        Ok(())
    }

    fn begin_member(&mut self, members: &mut Members) {
        self.flush(members.end);
        if members.has_kept {
            self.out.push(',');
        }
        members.has_kept = true;
    }

    /// Writes what a missing value becomes.
    fn create(&mut self, node: &Node) -> Result<(), PatchError> {
        if let Some(change) = node.change {
            self.values[change].push(self.out);
            return Ok(());
        }
        let is_array = matches!(node.below.first(), Some((Segment::Index(_), _)));
        self.out.push(if is_array { '[' } else { '{' });
        let values = self.values;
        let set = node.below.iter().filter(|(_, child)| child.sets_something(values));
        for (position, (segment, child)) in set.enumerate() {
            if position > 0 {
                self.out.push(',');
            }
            match segment {
                Segment::Key(key) if !is_array => {
                    push_quoted(key, self.out);
                    self.out.push(':');
                }
                Segment::Index(index) if is_array && *index == position => {}
                _ => return Err(PatchError::NoPlace(child.first_set(values).unwrap_or(0))),
            }
            self.create(child)?;
        }
        self.out.push(if is_array { ']' } else { '}' });
        Ok(())
    }

    fn open(&mut self, depth: u32) -> Result<Members, PatchError> {
        if depth >= DEPTH_MAX {
            return Err(PatchError::NotJson);
        }
        self.scanner.at += 1;
        let end = self.scanner.at;
        self.scanner.skip_space();
        Ok(Members { end, has_kept: false })
    }

    /// Passes the bracket that closes.
    fn close(&mut self, bracket: u8) -> Result<(), PatchError> {
        self.scanner.skip_space();
        self.scanner.expect(bracket).ok_or(PatchError::NotJson)
    }

    fn peek(&mut self) -> Result<u8, PatchError> {
        self.scanner.skip_space();
        self.scanner.peek().ok_or(PatchError::NotJson)
    }

    /// Writes the text up to `end`, unless that was done.
    fn flush(&mut self, end: usize) {
        if end > self.done {
            self.out.push_str(&self.text[self.done..end]);
            self.done = end;
        }
    }
}
