//! The Wasm engine with its settings, and the clock that ends calls which take too long.
//!
//! One engine serves the whole daemon. Its pool bounds how many instances there are and how
//! much each may hold; its epoch is advanced every millisecond while a plugin is being called.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use thiserror::Error;
use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel};
use wasmtime::{PoolingAllocationConfig, RegallocAlgorithm, Strategy};

use crate::tasks::Tasks;

/// The resolution of time limits.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Instances alive at one moment, over all steps of the generation in force and the next one.
const INSTANCES_MAX: u32 = 1024;

/// The most memory that a step's limits may grant one plugin.
pub(super) const MEMORY_MAX: usize = 1 << 30;

/// What a freed slot keeps, so that an instance made anew after a trap starts fast.
const KEEP_RESIDENT: usize = 256 << 10;

/// After this many ticks without a call the clock stands still, so that an idle daemon sleeps.
const IDLE_TICKS: u32 = 100;

/// What the engine compiles into plugins to watch over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watch {
    /// The clock, so that time limits hold: what a daemon wants.
    #[default]
    Time,
    /// The clock, and a counter of instructions.
    Instructions,
    /// Nothing, to measure what the clock costs; only for plugins that are known to end.
    Nothing,
}

/// Why there is no sandbox.
#[derive(Debug, Error)]
#[error("the Wasm engine cannot start: {0}")]
pub struct WasmError(String);

/// The engine and its clock; everything compiled by it holds it.
pub(super) struct Sandbox {
    pub(super) engine: Engine,
    pub(super) watch: Watch,
    clock: Arc<Clock>,
}

/// What callers and the ticking thread share.
#[derive(Default)]
struct Clock {
    calls: AtomicUsize,
    is_parked: AtomicBool,
    is_stopped: AtomicBool,
    /// Set by the ticking thread before it parks for the first time.
    thread: OnceLock<Thread>,
}

/// Keeps the clock going for as long as it lives.
pub(super) struct Ticking<'a>(&'a Clock);

impl Watch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Time, Self::Instructions, Self::Nothing];

    /// Its name, for the command that compiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Instructions => "instructions",
            Self::Nothing => "nothing",
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    pub(super) fn new(watch: Watch) -> Result<Self, WasmError> {
        let engine =
            Engine::new(&config(watch)).map_err(|error| WasmError(format!("{error:#}")))?;
        let clock = Arc::new(Clock::default());
        let (ticking, weak) = (Arc::clone(&clock), engine.weak());
        // A group of its own: the clock ends with the engine, no drain waits for it.
        Tasks::default()
            .thread("weir-epoch".to_owned(), move || tick(&ticking, &weak))
            .map_err(|error| WasmError(error.to_string()))?;
        Ok(Self { engine, watch, clock })
    }

    /// Says that a plugin is about to be called; its time limit holds until the guard is dropped.
    pub(super) fn ticking(&self) -> Ticking<'_> {
        let clock = &*self.clock;
        clock.calls.fetch_add(1, Ordering::SeqCst);
        // The thread says that it parks before it looks at `calls` once more, so one of the two
        // sees the other.
        if clock.is_parked.load(Ordering::SeqCst) && clock.is_parked.swap(false, Ordering::SeqCst) {
            clock.wake();
        }
        Ticking(clock)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.clock.is_stopped.store(true, Ordering::SeqCst);
        self.clock.wake();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Clock {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn is_idle(&self) -> bool {
        self.calls.load(Ordering::SeqCst) == 0
    }
}

/// How many ticks bound a call that may take `time`: the tick under way does not count.
pub(super) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2).max(1) + 1
}

fn tick(clock: &Clock, engine: &EngineWeak) {
    clock.thread.get_or_init(thread::current);
    let mut idle = 0;
    while !clock.is_stopped.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        idle = if clock.is_idle() { idle + 1 } else { 0 };
        if idle < IDLE_TICKS {
            continue;
        }
        idle = 0;
        clock.is_parked.store(true, Ordering::SeqCst);
        if clock.is_idle() && !clock.is_stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        clock.is_parked.store(false, Ordering::SeqCst);
    }
}

/// An engine that compiles what a sandbox that watches so runs, and reserves nothing for instances.
pub(super) fn compiling(watch: Watch) -> wasmtime::Result<Engine> {
    Engine::new(config(watch).allocation_strategy(InstanceAllocationStrategy::OnDemand))
}

fn config(watch: Watch) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 2)
        .total_gc_heaps(0)
        .max_memory_size(MEMORY_MAX)
        .max_unused_warm_slots(16)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10);
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .epoch_interruption(watch != Watch::Nothing)
        .consume_fuel(watch == Watch::Instructions)
        .memory_may_move(false)
        .concurrency_support(false)
        .wasm_component_model(true)
        // Proposals that no toolchain of plugins needs. Multi-memory stays on: without it 48.0
        // panics on components with fused adapters; tail calls: QuickJS needs them.
        .wasm_gc(false)
        .wasm_exceptions(false)
        .wasm_function_references(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
