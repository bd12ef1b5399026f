//! Dead letters of a running pipeline: who keeps what a component refuses, and the way back in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ack::{Ack, AckMode, Refusal, Rescue};
use crate::chain::{OnError, Target as Taker};
use crate::component::{ComponentId, Host};
use crate::config::SinkSpec;
use crate::dead::{DeadLetterSettings, Letters};
use crate::edge::{Outlet, Sender, Target};
use crate::event::Batch;
use crate::runtime::build::Built;

/// Who keeps what the components of one pipeline refuse for good.
pub(super) struct Rescues {
    /// `None` if no component asks for it.
    letters: Option<Arc<Letters>>,
    host: Arc<Host>,
    settings: DeadLetterSettings,
    generation: u64,
}

/// Keeps what a sink refuses after it was spooled, though its file does not ask for it: nobody
/// else has the event. Opens the dead letters when the first one comes.
#[derive(Debug)]
struct LastResort {
    host: Arc<Host>,
    settings: DeadLetterSettings,
    generation: u64,
    sink: ComponentId,
}

impl Rescue for LastResort {
    fn rescue(&self, batch: &Batch, row: usize, refusal: Refusal, ack: Ack) {
        let letters = open(&self.host, self.sink.pipeline.as_str(), self.settings);
        letters.rescue(&self.sink.name, self.generation).rescue(batch, row, refusal, ack);
    }
}

fn open(host: &Host, pipeline: &str, settings: DeadLetterSettings) -> Arc<Letters> {
    host.dead.open(pipeline, settings, &host.tasks, &host.goodbye.stop())
}

impl Rescues {
    /// Opens the dead letters of the pipeline if a component asks for it, and has those of its
    /// steps kept.
    pub(super) fn open(built: &mut Built, host: &Arc<Host>, generation: u64) -> Self {
        let pipeline = &built.pipeline;
        let on_errors = pipeline.transforms.iter().map(|spec| spec.on_error);
        let mut on_errors = on_errors.chain(pipeline.sinks.iter().map(|spec| spec.on_error));
        let settings = pipeline.dead_letters;
        let is_asked = on_errors.any(|on_error| on_error == OnError::DeadLetter);
        let letters = is_asked.then(|| open(host, built.name.as_str(), settings));
        let rescues = Self { letters, host: Arc::clone(host), settings, generation };
        for step in &mut built.steps {
            step.rescue = rescues.of(step.on_error, &step.id);
        }
        rescues
    }

    /// What the pipeline borrows from.
    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The edge into a sink, which keeps what the sink refuses where its file says so.
    pub(super) fn guard(&self, edge: Sender, sink: &SinkSpec) -> Sender {
        match self.of(sink.on_error, &sink.id) {
            Some(rescue) => edge.rescued_by(rescue),
            None => edge,
        }
    }

    /// Keeps what the sink `id` refuses after it was spooled.
    pub(super) fn last_resort(&self, id: &ComponentId) -> Arc<dyn Rescue> {
        let (host, settings, generation) = (Arc::clone(&self.host), self.settings, self.generation);
        Arc::new(LastResort { host, settings, generation, sink: id.clone() })
    }

    fn of(&self, on_error: OnError, id: &ComponentId) -> Option<Arc<dyn Rescue>> {
        let letters = self.letters.as_ref().filter(|_| on_error == OnError::DeadLetter)?;
        Some(letters.rescue(&id.name, self.generation))
    }
}

/// A way through `intake` to each transform and sink, by its name; `built` gets an entry for each.
pub(super) fn doors(built: &mut Built, intake: &Sender) -> BTreeMap<String, Outlet> {
    let pipeline = &built.pipeline;
    let steps = pipeline.transforms.iter().map(|spec| &spec.id.name).enumerate();
    let steps = steps.map(|(index, name)| (name, Taker::Step(index)));
    let sinks = pipeline.sinks.iter().map(|spec| &spec.id.name).enumerate();
    let sinks = sinks.map(|(index, name)| (name, Taker::Sink(index)));
    let mut doors = BTreeMap::new();
    for (name, taker) in steps.chain(sinks) {
        let entry = built.graph.entries.len();
        built.graph.entries.push(vec![taker]);
        let outlet = Outlet::new(Arc::clone(&built.account));
        outlet.point(Some(Target {
            sender: intake.clone(),
            entry: u16::try_from(entry).expect("a file is bounded to 1 MiB"),
            ack: AckMode::Settled,
            dedupe: None,
        }));
        doors.insert(name.clone(), outlet);
    }
    doors
}
