//! What one connection wants: its patterns, and what it still reads from the history.

use super::pattern::Pattern;

/// The patterns of a connection.
#[derive(Debug, Default)]
pub(super) struct Filter {
    wanted: Vec<Wanted>,
}

/// One pattern of a connection.
#[derive(Debug, Clone)]
struct Wanted {
    pattern: Pattern,
    /// The first event that comes live.
    live_from: u64,
    /// The first event that comes at all, from a replay if not live.
    from: u64,
}

/// Events of the past that a connection asked for when it subscribed.
#[derive(Debug)]
pub(super) struct Replay {
    patterns: Vec<Pattern>,
    /// What the connection had before: these events do not come again.
    known: Vec<Wanted>,
    /// The next event to look at.
    pub(super) next: u64,
    /// The first event that comes live.
    pub(super) until: u64,
}

impl Filter {
    /// Adds `pattern`, live from event `from` on; answers whether it is new.
    pub(super) fn add(&mut self, pattern: &Pattern, from: u64) -> bool {
        let is_new = !self.contains(pattern);
        if is_new {
            self.wanted.push(Wanted { pattern: pattern.clone(), live_from: from, from });
        }
        is_new
    }

    /// Takes `pattern` out; answers whether it was there.
    pub(super) fn remove(&mut self, pattern: &Pattern) -> bool {
        let place = self.wanted.iter().position(|known| known.pattern == *pattern);
        if let Some(place) = place {
            self.wanted.swap_remove(place);
        }
        place.is_some()
    }

    pub(super) fn contains(&self, pattern: &Pattern) -> bool {
        self.wanted.iter().any(|known| known.pattern == *pattern)
    }

    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.wanted.iter().map(|wanted| &wanted.pattern)
    }

    /// Whether event `seq` of `channel` comes live.
    pub(super) fn wants(&self, channel: &str, seq: u64) -> bool {
        let is_live = |wanted: &Wanted| wanted.live_from <= seq && wanted.pattern.matches(channel);
        self.wanted.iter().any(is_live)
    }

    /// The replay of `patterns` before event `until`, for which nothing is chosen yet.
    pub(super) fn replay(&self, patterns: &[Pattern], until: u64) -> Replay {
        Replay { patterns: patterns.to_vec(), known: self.wanted.clone(), next: until, until }
    }

    /// Notes what `replay` brings.
    pub(super) fn note(&mut self, replay: &Replay) {
        for wanted in &mut self.wanted {
            if replay.patterns.contains(&wanted.pattern) {
                wanted.from = wanted.from.min(replay.next);
            }
        }
    }
}

impl Replay {
    /// Whether event `seq` of `channel` is part of it.
    pub(super) fn wants(&self, channel: &str, seq: u64) -> bool {
        let is_known = |known: &Wanted| known.from <= seq && known.pattern.matches(channel);
        self.patterns.iter().any(|pattern| pattern.matches(channel))
            && !self.known.iter().any(is_known)
    }

    pub(super) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Takes patterns out; answers whether any is left.
    pub(super) fn drop_patterns(&mut self, patterns: &[Pattern]) -> bool {
        self.patterns.retain(|pattern| !patterns.contains(pattern));
        !self.patterns.is_empty()
    }
}
