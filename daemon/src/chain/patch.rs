//! Makes the changes to JSON data that a step asked for, without building a document.
//!
//! Most go where a field was found before, or next to where it would be: these need no walk over
//! the text, and the places of all that is wanted move with them. The others do.

use std::mem;
use std::ops::Range;

use weir_fields::{PatchError, Plan, Splicer, Target, Value, Wanted};

use crate::component::{Failure, FailureKind, Patches, Verdict, Verdicts};
use crate::event::{Blobs, Found};

/// Up to how many fields a chain looks for because a step changes them, so that the next time the
/// change needs no walk of its own.
const SLOTS_MAX: usize = 32;

/// What is known of the events' data.
pub(super) struct Known<'a> {
    /// The fields that are looked for.
    pub(super) wanted: &'a mut Wanted,
    /// Where they are.
    pub(super) found: &'a mut Found,
}

/// The payloads of a batch after the changes of the events judged `patch`.
///
/// What has no changes, or no data that they fit, is judged anew: `keep` or `fail`.
pub(super) fn patched(before: &Blobs, verdicts: &mut Verdicts, known: Known<'_>) -> Blobs {
    let patches = mem::take(&mut verdicts.patches);
    let mut patcher = Patcher::new(&patches, known);
    let mut data = Blobs {
        ends: Vec::with_capacity(before.ends.len()),
        bytes: Vec::with_capacity(before.bytes.len() + patches.values.text.len() * 2),
    };
    let mut next = 0;
    for (row, verdict) in verdicts.verdicts.iter_mut().enumerate() {
        let first = next;
        while patches.origins.get(next).is_some_and(|origin| *origin as usize == row) {
            next += 1;
        }
        if *verdict == Verdict::Patch {
            match patcher.apply(first..next, (row, before.get(row)), &mut data.bytes) {
                Ok(true) => {
                    data.end_item();
                    continue;
                }
                Ok(false) => *verdict = Verdict::Keep,
                Err(message) => {
                    *verdict = Verdict::Fail;
                    let event = u32::try_from(row).expect("a batch is bounded");
                    let failure = Failure { event, kind: FailureKind::Invalid, message };
                    verdicts.failures.push(failure);
                }
            }
        }
        data.push(before.get(row));
    }
    verdicts.failures.sort_by_key(|failure| failure.event);
    data
}

/// Changes one event after the other; most of them the same way.
struct Patcher<'p> {
    patches: &'p Patches,
    /// For each name of the patches, where changes of it go, if that can be known.
    targets: Vec<Option<Target>>,
    slots: usize,
    found: &'p mut Found,
    splicer: Splicer,
    plan: Plan,
    /// The changes that the plan was made for.
    planned: Range<usize>,
    text: String,
}

impl<'p> Patcher<'p> {
    fn new(patches: &'p Patches, Known { wanted, found }: Known<'p>) -> Self {
        // A chain whose steps read no field does not look for any.
        let is_used = !found.is_empty();
        let target = |name| if is_used { wanted.target(name, SLOTS_MAX) } else { None };
        Self {
            patches,
            targets: patches.names.iter().map(target).collect(),
            slots: wanted.len(),
            found,
            splicer: Splicer::default(),
            plan: Plan::default(),
            planned: 0..0,
            text: String::new(),
        }
    }

    /// Appends `data` with the `changes` to `out`; answers whether there were any, or why they
    /// are impossible.
    fn apply(
        &mut self,
        changes: Range<usize>,
        (row, data): (usize, &[u8]),
        out: &mut Vec<u8>,
    ) -> Result<bool, String> {
        let patches = self.patches;
        if changes.is_empty() {
            return Ok(false);
        }
        if let Some(places) = self.found.places_mut(row, self.slots) {
            let change = |change: usize| {
                let target = self.targets[patches.name_of[change] as usize].as_ref();
                (target, patches.value(change))
            };
            if self.splicer.splice(data, places, changes.clone().map(change), out) {
                return Ok(true);
            }
        }
        self.found.forget(row);
        self.walk(changes, data)?;
        out.extend_from_slice(self.text.as_bytes());
        Ok(true)
    }

    /// Makes `text` the `data` with the changes, which may be of any kind.
    fn walk(&mut self, changes: Range<usize>, data: &[u8]) -> Result<(), String> {
        let patches = self.patches;
        if patches.name_of[self.planned.clone()] != patches.name_of[changes.clone()] {
            let names = patches.name_of[changes.clone()].iter();
            self.plan = Plan::new(names.map(|name| &patches.names[*name as usize]));
            self.planned = changes.clone();
        }
        let values: Vec<Value<'_>> = changes.clone().map(|change| patches.value(change)).collect();
        self.text.clear();
        self.plan.apply(data, &values, &mut self.text).map_err(|error| {
            let change = match error {
                PatchError::NotJson => 0,
                PatchError::NoPlace(change) => change,
            };
            let name = &patches.names[patches.name_of[changes.start + change] as usize];
            format!("`{name}` cannot be set: {error}")
        })
    }
}
