//! Who gets the events of a channel: exact names in a table, patterns in a tree of segments.

use std::collections::HashMap;
use std::sync::Arc;

use super::pattern::Pattern;
use super::subscriber::Subscriber;

/// The subscribers of a hub, by the patterns that they named.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<Arc<Subscriber>>>,
    patterns: Node,
}

/// A place in the tree of patterns.
#[derive(Debug, Default)]
struct Node {
    /// Those whose pattern ends here.
    here: Vec<Arc<Subscriber>>,
    /// The next segment, `*` and `**` among them.
    next: HashMap<Box<str>, Self>,
}

impl Index {
    /// Adds one subscription.
    pub(super) fn add(&mut self, pattern: &Pattern, subscriber: Arc<Subscriber>) {
        if pattern.is_exact() {
            if let Some(subscribers) = self.exact.get_mut(pattern.as_str()) {
                subscribers.push(subscriber);
            } else {
                self.exact.insert(pattern.as_str().into(), vec![subscriber]);
            }
            return;
        }
        let mut node = &mut self.patterns;
        for segment in pattern.as_str().split('.') {
            node = node.next.entry(segment.into()).or_default();
        }
        node.here.push(subscriber);
    }

    /// Takes one subscription out again.
    pub(super) fn remove(&mut self, pattern: &Pattern, subscriber: &Arc<Subscriber>) {
        if !pattern.is_exact() {
            let segments: Vec<&str> = pattern.as_str().split('.').collect();
            self.patterns.remove(&segments, subscriber);
            return;
        }
        let Some(subscribers) = self.exact.get_mut(pattern.as_str()) else { return };
        forget(subscribers, subscriber);
        if subscribers.is_empty() {
            self.exact.remove(pattern.as_str());
        }
    }

    /// The lists of those who get the events of `channel`. Somebody may be in several of them.
    pub(super) fn find(&self, channel: &str) -> Vec<&[Arc<Subscriber>]> {
        let mut found = Vec::new();
        found.extend(self.exact.get(channel).map(Vec::as_slice));
        if !self.patterns.next.is_empty() {
            let segments: Vec<&str> = channel.split('.').collect();
            self.patterns.find(&segments, &mut found);
        }
        found
    }

    /// Calls `act` for every subscription; somebody may have several.
    pub(super) fn for_each(&self, act: &mut impl FnMut(&Subscriber)) {
        self.exact.values().flatten().for_each(|subscriber| act(subscriber));
        self.patterns.for_each(act);
    }

    /// How many channels are named exactly by somebody.
    pub(super) fn channels(&self) -> usize {
        self.exact.len()
    }
}

impl Node {
    fn find<'a>(&'a self, segments: &[&str], found: &mut Vec<&'a [Arc<Subscriber>]>) {
        if segments.is_empty() && !self.here.is_empty() {
            found.push(&self.here);
        }
        if self.next.is_empty() {
            return;
        }
        if let Some((first, rest)) = segments.split_first() {
            for name in [*first, "*"] {
                if let Some(node) = self.next.get(name) {
                    node.find(rest, found);
                }
            }
        }
        if let Some(node) = self.next.get("**") {
            for skipped in 0..=segments.len() {
                node.find(&segments[skipped..], found);
            }
        }
    }

    fn for_each(&self, act: &mut impl FnMut(&Subscriber)) {
        self.here.iter().for_each(|subscriber| act(subscriber));
        self.next.values().for_each(|node| node.for_each(act));
    }

    fn remove(&mut self, segments: &[&str], subscriber: &Arc<Subscriber>) {
        let Some((first, rest)) = segments.split_first() else {
            forget(&mut self.here, subscriber);
            return;
        };
        let Some(node) = self.next.get_mut(*first) else { return };
        node.remove(rest, subscriber);
        if node.here.is_empty() && node.next.is_empty() {
            self.next.remove(*first);
        }
    }
}

fn forget(subscribers: &mut Vec<Arc<Subscriber>>, subscriber: &Arc<Subscriber>) {
    if let Some(place) = subscribers.iter().position(|known| Arc::ptr_eq(known, subscriber)) {
        subscribers.swap_remove(place);
    }
}
