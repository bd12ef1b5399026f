//! One instance of a plugin: made and configured, called under its limits, judged when it fails.
//!
//! An instance that trapped, ran out of a limit or answered nonsense is not called again; its
//! step makes a new one.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Func, InstancePre, TypedFunc};
use wasmtime::{Error, Store, Trap, WasmBacktrace};
use weir_fields::{FIELDS_MAX, Path};

use super::answer::{MESSAGE_MAX, Outcome};
use super::artifact::{Artifact, LoadError};
use super::clip;
use super::columns::{Field, Input, Needs, StepName};
use super::engine::{Watch, ticks};
use super::host::{self, Host, Lends, Log, Overrun, Voice};
use crate::component::{ComponentId, Rows, TransformError, Verdicts};
use crate::event::{Batch, Column, Fields};

/// How long instantiation and `configure` may take together, and handing state over.
const CONFIGURE_TIME: Duration = Duration::from_secs(2);

/// Most bytes of state that are handed over.
const STATE_MAX: usize = 16 << 20;

/// Bytes that a plugin may answer in any case.
const OUTPUT_FLOOR: usize = 1 << 20;

/// Bytes that a plugin may answer per byte it was given.
const OUTPUT_FACTOR: usize = 4;

/// What the fixed-size columns weigh per event.
const EVENT_BYTES: usize = 40;

/// Handles to resources that an instance may hold.
const HANDLES_MAX: usize = 1024;

/// Frames of a trap's backtrace that are named in its message.
const FRAMES_MAX: usize = 4;

/// What one step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time that judging one batch may take.
    pub time: Duration,
    /// Most memory that one instance may hold, in bytes; at most 1 GiB.
    pub memory: usize,
    /// Most bytes that the step's state may have.
    pub state: usize,
    /// Longest time that it may wait for servers elsewhere, per batch.
    pub http: Duration,
    /// Most bytes that it may send them, or they may answer, in one body.
    pub http_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(50),
            memory: 64 << 20,
            state: 16 << 20,
            http: Duration::from_secs(1),
            http_body: 1 << 20,
        }
    }
}

/// What a step says about its plugin.
#[derive(Debug, Clone)]
pub struct StepSetup {
    /// The step.
    pub id: ComponentId,
    /// The step's `config` as JSON.
    pub config_json: String,
    /// What it may use.
    pub limits: Limits,
    /// The capabilities that it grants.
    pub grants: Vec<String>,
    /// What these give access to.
    pub lends: Lends,
}

/// What an instance has used since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory that it holds; it never gives any back.
    pub memory: usize,
    /// Instructions that it has executed, if the engine counts them.
    pub instructions: u64,
}

type ProcessArgs<'a> = (Input<'a>,);
type ProcessAnswer = (Result<Outcome, String>,);
type Tick = TypedFunc<(u64,), ProcessAnswer>;
type Save = TypedFunc<(), (Vec<u8>,)>;
type Restore = TypedFunc<(Vec<u8>,), (Result<(), String>,)>;
type ConfigureArgs<'a> = (&'a str, StepName<'a>);
type ConfigureAnswer = (Result<Needs, String>,);

/// What instances of one step are made of.
pub(super) struct Mould {
    pub(super) artifact: Arc<Artifact>,
    pub(super) pre: InstancePre<Host>,
    pub(super) setup: StepSetup,
    pub(super) voice: Arc<Voice>,
}

/// A configured instance.
pub(super) struct Instance {
    store: Store<Host>,
    /// Checked to be of type `(ProcessArgs) -> ProcessAnswer`.
    process: Func,
    /// Of a plugin that is told the time.
    tick: Option<Tick>,
    /// Of a plugin that hands its state over.
    save: Option<Save>,
    restore: Option<Restore>,
    wants_data: bool,
    /// The fields of JSON data that it reads.
    pub(super) reads: Vec<Path>,
    /// The columns of the batch at hand; kept for their memory.
    columns: Vec<Column>,
    /// How many batches it has judged.
    pub(super) batches: u32,
}

impl Mould {
    /// A new instance, configured.
    pub(super) fn cast(&self) -> Result<Instance, LoadError> {
        let host = Host::new(&self.setup, Log::new(&self.voice));
        let mut store = Store::new(&self.artifact.sandbox.engine, host);
        store.limiter(|host| &mut host.memory);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_hostcall_fuel(OUTPUT_FLOOR);
        store.set_epoch_deadline(ticks(CONFIGURE_TIME));
        store.epoch_deadline_callback(host::on_deadline);
        if self.artifact.sandbox.watch == Watch::Instructions {
            store.set_fuel(u64::MAX).expect("this engine counts instructions");
        }
        let _ticking = self.artifact.sandbox.ticking();
        let instance = self.pre.instantiate(&mut store).map_err(|error| {
            let failure = failure(&error, &store);
            LoadError::Start(failure.message)
        })?;
        let exports = &self.artifact.exports;
        let shape = |error: Error| LoadError::Shape(format!("{error:#}"));
        let configure = instance
            .get_typed_func::<ConfigureArgs<'_>, ConfigureAnswer>(&mut store, exports.configure)
            .map_err(shape)?;
        let process = instance
            .get_typed_func::<ProcessArgs<'_>, ProcessAnswer>(&mut store, exports.process)
            .map_err(shape)?;
        let process = *process.func();
        let tick = exports.tick.map(|tick| instance.get_typed_func(&mut store, tick));
        let tick = tick.transpose().map_err(shape)?;
        let save = exports.save.map(|save| instance.get_typed_func(&mut store, save));
        let save = save.transpose().map_err(shape)?;
        let restore = exports.restore.map(|it| instance.get_typed_func(&mut store, it));
        let restore = restore.transpose().map_err(shape)?;
        let id = &self.setup.id;
        let name = StepName {
            pipeline: id.pipeline.as_str(),
            name: &id.name,
            instance: 0,
            host_version: env!("CARGO_PKG_VERSION"),
        };
        let needs = match configure.call(&mut store, (&self.setup.config_json, name)) {
            Ok((Ok(needs),)) => needs,
            Ok((Err(message),)) => return Err(LoadError::Refused(short(&message))),
            Err(error) => {
                let TransformError { reason, message } = failure(&error, &store);
                return Err(LoadError::Configure { reason, message });
            }
        };
        let reads = paths(&needs.fields)?;
        let columns = vec![Column::default(); reads.len()];
        let (wants_data, batches) = (needs.data, 0);
        Ok(Instance { store, process, tick, save, restore, wants_data, reads, columns, batches })
    }

    /// Calls `process`. After an error other than `error` the instance must not be used again.
    pub(super) fn process(
        &self,
        instance: &mut Instance,
        batch: &Batch,
        fields: &Fields<'_>,
    ) -> Result<Verdicts, TransformError> {
        let columns = &mut instance.columns;
        columns.iter_mut().enumerate().for_each(|(index, it)| fields.fill(index, batch, it));
        let fields: Vec<Field<'_>> = columns.iter().map(Field::of).collect();
        let store = &mut instance.store;
        self.begin_run(store, batch.bytes() + batch.len() * EVENT_BYTES, batch.len());
        instance.batches += 1;
        let _ticking = self.artifact.sandbox.ticking();
        let process = borrowing(instance.process);
        match process.call(&mut *store, (Input::of(batch, &fields, instance.wants_data),)) {
            Ok((Ok(outcome),)) => outcome
                .checked(batch.len())
                .map_err(|wrong| TransformError { reason: "bad_answer", message: wrong }),
            Ok((Err(message),)) => {
                Err(TransformError { reason: "error", message: short(&message) })
            }
            Err(error) => Err(failure(&error, store)),
        }
    }

    /// Calls `tick`, as [`process`](Self::process) does; a plugin without a timer emits nothing.
    pub(super) fn tick(&self, instance: &mut Instance, now: u64) -> Result<Rows, TransformError> {
        let Some(tick) = &instance.tick else { return Ok(Rows::default()) };
        let store = &mut instance.store;
        self.begin_run(store, 0, 0);
        instance.batches += 1;
        let _ticking = self.artifact.sandbox.ticking();
        match tick.call(&mut *store, (now,)) {
            Ok((Ok(outcome),)) => outcome
                .checked_tick()
                .map_err(|wrong| TransformError { reason: "bad_answer", message: wrong }),
            Ok((Err(message),)) => {
                Err(TransformError { reason: "error", message: short(&message) })
            }
            Err(error) => Err(failure(&error, store)),
        }
    }

    /// Calls `save`, if the plugin has it.
    pub(super) fn save(&self, instance: &mut Instance) -> Option<Result<Vec<u8>, TransformError>> {
        let save = instance.save.as_ref()?;
        let store = &mut instance.store;
        self.begin_handover(store);
        let _ticking = self.artifact.sandbox.ticking();
        let saved = save.call(&mut *store, ());
        Some(saved.map(|(state,)| state).map_err(|error| failure(&error, store)))
    }

    /// Calls `restore`; a plugin without it takes nothing over.
    pub(super) fn restore(
        &self,
        instance: &mut Instance,
        state: Vec<u8>,
    ) -> Result<(), TransformError> {
        let Some(restore) = &instance.restore else { return Ok(()) };
        let store = &mut instance.store;
        self.begin_handover(store);
        let _ticking = self.artifact.sandbox.ticking();
        match restore.call(&mut *store, (state,)) {
            Ok((Ok(()),)) => Ok(()),
            Ok((Err(message),)) => {
                Err(TransformError { reason: "error", message: short(&message) })
            }
            Err(error) => Err(failure(&error, store)),
        }
    }

    /// Gives the instance what handing state over may use.
    fn begin_handover(&self, store: &mut Store<Host>) {
        self.begin_run(store, 0, 0);
        store.set_hostcall_fuel(STATE_MAX.min(self.setup.limits.memory));
        store.set_epoch_deadline(ticks(CONFIGURE_TIME));
    }

    /// Gives the instance what one run on so many bytes of so many events may use.
    fn begin_run(&self, store: &mut Store<Host>, input: usize, events: usize) {
        store.set_hostcall_fuel(input.saturating_mul(OUTPUT_FACTOR).saturating_add(OUTPUT_FLOOR));
        store.set_epoch_deadline(ticks(self.setup.limits.time));
        store.data_mut().begin_run(events, &self.setup.limits);
    }
}

impl Instance {
    /// Ends a run of `process`: what it changed in the step's state stays if it `is_good`.
    pub(super) fn end_run(&mut self, is_good: bool) {
        self.store.data_mut().end_run(is_good);
    }

    pub(super) fn usage(&self) -> Usage {
        let left = self.store.get_fuel().unwrap_or(u64::MAX);
        Usage { memory: self.store.data().memory.used, instructions: u64::MAX - left }
    }
}

/// The fields that a plugin asks for.
fn paths(fields: &[String]) -> Result<Vec<Path>, LoadError> {
    if fields.len() > FIELDS_MAX {
        let message = format!("{} fields are more than {FIELDS_MAX}", fields.len());
        return Err(LoadError::Fields(message));
    }
    let parse = |field: &String| field.parse::<Path>();
    let paths = fields.iter().map(parse).collect::<Result<Vec<Path>, _>>();
    paths.map_err(|error| LoadError::Fields(error.to_string()))
}

/// `process` as a function of columns borrowed for this one call.
fn borrowing<'a>(process: Func) -> TypedFunc<ProcessArgs<'a>, ProcessAnswer> {
    // SAFETY: `cast` took `process` out of a `TypedFunc` of these very types, so they were checked
    // against the component; only the lifetime of the borrowed columns differs, and neither the
    // check nor the layout depends on it. A checked conversion would compare all field names
    // of the contract for every batch.
    #[expect(unsafe_code, reason = "a typed function cannot be stored for all lifetimes at once")]
    unsafe {
        TypedFunc::new_unchecked(process)
    }
}

/// What kind of failure `error` is, and words for it.
fn failure(error: &Error, store: &Store<Host>) -> TransformError {
    let is_exhausted = store.data().memory.is_exhausted;
    let (reason, message) = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => ("timeout", "it took longer than its time limit".to_owned()),
        // Allocators abort when they get no more memory.
        Some(_) if is_exhausted => ("memory", "it wants more memory than its limit".to_owned()),
        Some(trap) => ("trap", format!("{trap}{}", place(error))),
        None if error.is::<Overrun>() => ("host_calls", error.root_cause().to_string()),
        None => {
            let cause = error.root_cause().to_string();
            let reason = if cause.contains(FUEL_EXHAUSTED) { "output" } else { "bad_answer" };
            (reason, cause)
        }
    };
    TransformError { reason, message: short(&message) }
}

/// How the engine words that more was handed over than the fuel allows; its type is private.
const FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls";

/// Where a trap happened: the innermost functions, if the plugin has their names.
fn place(error: &Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    let names: Vec<&str> = names.take(FRAMES_MAX).collect();
    if names.is_empty() { String::new() } else { format!(" in {}", names.join(" < ")) }
}

fn short(message: &str) -> String {
    clip(message, MESSAGE_MAX).into_owned()
}
