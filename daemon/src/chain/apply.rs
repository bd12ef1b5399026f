//! What verdicts do to a delivery: which events pass, as what, and on which route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_fields::Wanted;

use super::parcel::Parcel;
use super::patch::{Known, patched};
use super::{OnError, Step};
use crate::ack::{Ack, Code, Outcome, Refusal};
use crate::component::{Failure, FailureKind, Rows, Verdict, Verdicts};
use crate::edge::Delivery;
use crate::event::{Batch, Draft, Event, Found, NONE};

/// A parcel and the named route it takes.
type Routed = (Option<String>, Parcel);

/// Settles what ends here and answers what passes, in order, grouped by route. `wanted` are the
/// fields that were looked for.
pub(super) fn apply(
    step: &Step,
    (mut parcel, wanted): (Parcel, &mut Wanted),
    mut verdicts: Verdicts,
) -> Vec<Routed> {
    if verdicts.verdicts.contains(&Verdict::Patch) {
        let batch = &mut parcel.delivery.batch;
        let known = Known { wanted, found: &mut parcel.found };
        let data = patched(&batch.data, &mut verdicts, known);
        match Arc::get_mut(batch) {
            Some(batch) => batch.data = data,
            None => *batch = Arc::new(batch.with_data(data)),
        }
    }
    let passes = |verdict: &Verdict| matches!(verdict, Verdict::Keep | Verdict::Patch);
    if verdicts.verdicts.iter().all(passes) {
        return vec![(None, parcel)];
    }
    let passed = if verdicts.verdicts.contains(&Verdict::Emit) {
        replace(step, parcel.delivery, &verdicts)
    } else {
        vec![(None, sift(step, parcel, &verdicts))]
    };
    passed.into_iter().filter(|(_, parcel)| parcel.len() > 0).collect()
}

/// Verdicts that fail every one of `events` events for the same reason.
pub(super) fn all_failed(events: usize, message: &str) -> Verdicts {
    let failure = |event: usize| Failure {
        event: u32::try_from(event).expect("a batch is bounded"),
        kind: FailureKind::Internal,
        message: message.to_owned(),
    };
    Verdicts {
        verdicts: vec![Verdict::Fail; events],
        failures: (0..events).map(failure).collect(),
        ..Verdicts::default()
    }
}

/// The events that a step without replacements lets through.
fn sift(step: &Step, parcel: Parcel, verdicts: &Verdicts) -> Parcel {
    let Parcel { delivery, found } = parcel;
    let mut rows = Vec::with_capacity(delivery.acks.len());
    let mut kept = Vec::with_capacity(delivery.acks.len());
    let batch = &delivery.batch;
    for (row, ack) in delivery.acks.into_iter().enumerate() {
        if let Some(ack) = pass(step, (batch, row), ack, verdicts) {
            rows.push(u32::try_from(row).expect("a batch is bounded"));
            kept.push(ack);
        }
    }
    let batch = Arc::new(delivery.batch.select(&rows));
    let delivery = Delivery { batch, acks: kept, entry: delivery.entry };
    Parcel { delivery, found: found.select(&rows) }
}

/// Settles the event unless it passes as it came.
fn pass(step: &Step, (batch, row): (&Batch, usize), ack: Ack, verdicts: &Verdicts) -> Option<Ack> {
    match verdicts.verdicts[row] {
        Verdict::Keep | Verdict::Patch => Some(ack),
        Verdict::Drop | Verdict::Emit => {
            step.stats.filtered.fetch_add(1, Ordering::Relaxed);
            ack.settle(Outcome::Filtered);
            None
        }
        Verdict::Fail => {
            step.stats.failed.fetch_add(1, Ordering::Relaxed);
            if step.on_error == OnError::Pass {
                return Some(ack);
            }
            let failure = verdicts.failures.iter().find(|failure| failure.event as usize == row);
            let why = failure.map_or("no reason given", |failure| failure.message.as_str());
            let refusal = Refusal::new(Code::Rejected, format!("`{}`: {why}", step.id.name));
            match &step.rescue {
                Some(rescue) => rescue.rescue(batch, row, refusal, ack),
                None => ack.refuse(refusal),
            }
            None
        }
    }
}

/// The events that pass, with rows in place of the events they replace.
fn replace(step: &Step, delivery: Delivery, verdicts: &Verdicts) -> Vec<Routed> {
    let rows = &verdicts.emitted;
    let mut passed = Passed::default();
    let mut next = 0;
    for (index, ack) in delivery.acks.into_iter().enumerate() {
        let event = delivery.batch.event(index);
        let first = next;
        while rows.origins.get(next).is_some_and(|origin| *origin as usize == index) {
            next += 1;
        }
        let verdict = verdicts.verdicts[index];
        if verdict != Verdict::Emit || first == next {
            if let Some(ack) = pass(step, (&delivery.batch, index), ack, verdicts) {
                passed.push(NONE, ack, |batch| batch.push_event(&event));
            }
            continue;
        }
        for row in first..next - 1 {
            passed.push(route(rows, row), ack.fork(), |batch| push_row(batch, rows, row, &event));
        }
        let last = next - 1;
        passed.push(route(rows, last), ack, |batch| push_row(batch, rows, last, &event));
    }
    let name = |route: u32| (route != NONE).then(|| rows.dictionary.get(route as usize).to_owned());
    let routed = passed.by_route.into_iter().map(|(route, batch, acks)| {
        let delivery = Delivery { batch: Arc::new(batch), acks, entry: delivery.entry };
        (name(route), Parcel { delivery, found: Found::default() })
    });
    routed.collect()
}

/// What passes a step, gathered by route.
#[derive(Default)]
struct Passed {
    by_route: Vec<(u32, Batch, Vec<Ack>)>,
}

impl Passed {
    fn push(&mut self, route: u32, ack: Ack, push: impl FnOnce(&mut Batch)) {
        let known = self.by_route.iter().position(|(known, ..)| *known == route);
        let known = known.unwrap_or_else(|| {
            self.by_route.push((route, Batch::default(), Vec::new()));
            self.by_route.len() - 1
        });
        let (_, batch, acks) = &mut self.by_route[known];
        push(batch);
        acks.push(ack);
    }
}

fn route(rows: &Rows, row: usize) -> u32 {
    rows.routes.get(row).copied().unwrap_or(NONE)
}

/// Appends row `row`, which inherits from `origin` what it does not say.
fn push_row(batch: &mut Batch, rows: &Rows, row: usize, origin: &Event<'_>) {
    let text = |index: &u32| (*index != NONE).then(|| rows.dictionary.get(*index as usize));
    let extensions: Vec<_> = match &rows.extensions {
        Some(extensions) => extensions.row(row).collect(),
        None => origin.extensions().collect(),
    };
    let data = if rows.data.ends.is_empty() { origin.data() } else { rows.data.get(row) };
    batch.push(&Draft {
        event_type: rows.types.get(row).and_then(text).unwrap_or(origin.event_type()),
        subject: rows.subjects.get(row).map_or(origin.subject(), text),
        content_type: rows.content_types.get(row).map_or(origin.content_type(), text),
        data,
        extensions: &extensions,
        ..origin.draft()
    });
}
