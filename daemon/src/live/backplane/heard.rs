//! Which messages of each daemon came out of the stream: a daemon that does not know whether one
//! got there sends it again.

use std::collections::{BTreeSet, HashMap};

/// Daemons that are remembered; every start of one is another.
const NODES_MAX: usize = 256;

/// Messages of one daemon that may still come after later ones.
const LATE_MAX: usize = 1_024;

/// The messages that came, by the daemon that they are from.
#[derive(Debug, Default)]
pub(super) struct Heard {
    of_node: HashMap<u64, Numbers>,
    clock: u64,
}

/// The numbers of one daemon's messages.
#[derive(Debug, Default)]
struct Numbers {
    newest: u64,
    /// Older ones that did not come.
    late: BTreeSet<u64>,
    touched: u64,
}

impl Heard {
    /// Notes message `number` of `node`; answers whether it is new.
    pub(super) fn note(&mut self, node: u64, number: u64) -> bool {
        self.clock += 1;
        let is_known = self.of_node.contains_key(&node);
        if !is_known && self.of_node.len() >= NODES_MAX {
            let oldest = self.of_node.iter().min_by_key(|(_, numbers)| numbers.touched);
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.of_node.remove(&oldest);
            }
        }
        let numbers = self.of_node.entry(node).or_default();
        numbers.touched = self.clock;
        if number <= numbers.newest {
            return numbers.late.remove(&number);
        }
        // Of a daemon that was not heard before all may still come.
        let oldest = number.saturating_sub(LATE_MAX as u64);
        numbers.late.extend((numbers.newest + 1).max(oldest)..number);
        while numbers.late.len() > LATE_MAX {
            numbers.late.pop_first();
        }
        numbers.newest = number;
        true
    }
}
