//! Makes the changes to JSON data that a step asked for, without building a document.

use std::mem;
use std::ops::Range;

use weir_fields::{PatchError, Plan, Value};

use crate::component::{Failure, FailureKind, Patches, Verdict, Verdicts};
use crate::event::Blobs;

/// The payloads of a batch after the changes of the events judged `patch`.
///
/// What has no changes, or no data that they fit, is judged anew: `keep` or `fail`.
pub(super) fn patched(before: &Blobs, verdicts: &mut Verdicts) -> Blobs {
    let patches = mem::take(&mut verdicts.patches);
    let mut patcher = Patcher { patches: &patches, plan: Plan::default(), planned: 0..0 };
    let mut data = Blobs {
        ends: Vec::with_capacity(before.ends.len()),
        bytes: Vec::with_capacity(before.bytes.len() + patches.values.text.len()),
    };
    let (mut next, mut text) = (0, String::new());
    for (row, verdict) in verdicts.verdicts.iter_mut().enumerate() {
        let first = next;
        while patches.origins.get(next).is_some_and(|origin| *origin as usize == row) {
            next += 1;
        }
        if *verdict != Verdict::Patch {
            data.push(before.get(row));
            continue;
        }
        text.clear();
        match patcher.apply(first..next, before.get(row), &mut text) {
            Ok(true) => data.push(text.as_bytes()),
            Ok(false) => {
                *verdict = Verdict::Keep;
                data.push(before.get(row));
            }
            Err(message) => {
                data.push(before.get(row));
                *verdict = Verdict::Fail;
                let event = u32::try_from(row).expect("a batch is bounded");
                let failure = Failure { event, kind: FailureKind::Invalid, message };
                verdicts.failures.push(failure);
            }
        }
    }
    verdicts.failures.sort_by_key(|failure| failure.event);
    data
}

/// Changes one event after the other; most of them the same way.
struct Patcher<'p> {
    patches: &'p Patches,
    plan: Plan,
    /// The changes that the plan was made for.
    planned: Range<usize>,
}

impl Patcher<'_> {
    /// Makes the `changes` to `data`; answers whether there were any, or why they are impossible.
    fn apply(
        &mut self,
        changes: Range<usize>,
        data: &[u8],
        out: &mut String,
    ) -> Result<bool, String> {
        let patches = self.patches;
        if changes.is_empty() {
            return Ok(false);
        }
        if patches.name_of[self.planned.clone()] != patches.name_of[changes.clone()] {
            let names = patches.name_of[changes.clone()].iter();
            self.plan = Plan::new(names.map(|name| &patches.names[*name as usize]));
            self.planned = changes.clone();
        }
        let values: Vec<Value<'_>> = changes.clone().map(|change| patches.value(change)).collect();
        let applied = self.plan.apply(data, &values, out);
        applied.map(|()| true).map_err(|error| {
            let change = match error {
                PatchError::NotJson => 0,
                PatchError::NoPlace(change) => change,
            };
            let name = &patches.names[patches.name_of[changes.start + change] as usize];
            format!("`{name}` cannot be set: {error}")
        })
    }
}
