//! `weir plugin bench`: what a plugin costs, and how much of that is the sandbox.
//!
//! Times are medians of many calls, the best of several rounds, so that what else runs on the
//! machine counts little. Instructions are counted, so they are the same on every machine.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::super::{Exit, Output};
use super::golden::Case;
use super::test::start;
use super::{Failure, engine, plugin_at};
use crate::chain::Solo;
use crate::event::{Batch, Event};
use crate::wasm::{Artifact, Usage, WasmTransform, Watch};

/// Events a batch: one alone, what a busy pipeline hands over, and the most.
const SIZES: [usize; 3] = [1, 64, 256];

/// How many rounds are measured with and without the clock, by turns.
const ROUNDS: usize = 5;

/// How long a round lasts, and how many calls it has.
const ROUND: Duration = Duration::from_millis(100);
const CALLS_MIN: usize = 5;
const CALLS_MAX: usize = 20_000;

/// How many times the plugin is started.
const STARTS: usize = 10;

/// Measure what a plugin costs
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// A plugin's file, or the folder of its project
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// Folder of the golden case whose step and events are used [default: the project's first]
    #[arg(long, value_name = "DIR")]
    case: Option<PathBuf>,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    case: String,
    /// Nanoseconds to link, instantiate and configure it.
    start: u64,
    /// Bytes of memory that it held at most.
    memory: usize,
    batches: Vec<Cost>,
}

/// What events cost in batches of one size.
#[derive(Debug, Serialize)]
struct Cost {
    events: usize,
    nanos_per_event: f64,
    nanos_per_event_without_clock: f64,
    instructions_per_event: u64,
}

impl Bench {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let file = plugin_at(&self.plugin)?;
        let case = self.case()?;
        let report = measure(&file, &case)?;
        let mut out = stdout().lock();
        match self.output {
            Output::Text => print(&report, &mut out)?,
            Output::Json => {
                serde_json::to_writer(&mut out, &report).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
        }
        Ok(Exit::Ok)
    }

    fn case(&self) -> Result<Case, Failure> {
        if let Some(dir) = &self.case {
            return Case::read(dir.clone());
        }
        let cases = if self.plugin.is_dir() { Case::all(&self.plugin)? } else { Vec::new() };
        Ok(cases.into_iter().next().unwrap_or_else(Case::sample))
    }
}

fn measure(file: &Path, case: &Case) -> Result<Report, Failure> {
    let load = |watch| {
        let loaded = engine(watch)?.load(file);
        loaded.map_err(|error| Failure::plugin(file, &error))
    };
    let timed = load(Watch::Time)?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let since = Instant::now();
        start(case, &timed)?;
        starts.push(since.elapsed());
    }
    // First under the clock: a plugin that never ends is told apart here.
    let mut clocked = start(case, &timed)?;
    let batches = SIZES.map(|size| filled(case, size));
    for batch in &batches {
        call(&mut clocked, batch)?;
    }
    let mut free = start(case, &load(Watch::Nothing)?)?;
    let counted = load(Watch::Instructions)?;
    let mut costs = Vec::new();
    for batch in &batches {
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            best[0] = best[0].min(round(&mut clocked, batch)?);
            best[1] = best[1].min(round(&mut free, batch)?);
        }
        let events = batch.len();
        costs.push(Cost {
            events,
            nanos_per_event: best[0] / events as f64,
            nanos_per_event_without_clock: best[1] / events as f64,
            instructions_per_event: instructions(case, &counted, batch)? / events as u64,
        });
    }
    starts.sort();
    let start = u64::try_from(starts[STARTS / 2].as_nanos()).unwrap_or(u64::MAX);
    let memory = clocked.transform.usage().memory;
    Ok(Report { file: file.to_owned(), case: case.name.clone(), start, memory, batches: costs })
}

/// A batch of `size` events, those of the case over and over.
fn filled(case: &Case, size: usize) -> Batch {
    let mut batch = Batch::default();
    let events: Vec<Event<'_>> = case.batches().flat_map(Batch::iter).collect();
    (0..size).for_each(|at| batch.push_event(&events[at % events.len()]));
    batch
}

/// The median duration of a call in nanoseconds.
fn round(solo: &mut Solo<WasmTransform>, batch: &Batch) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut calls = Vec::new();
    while calls.len() < CALLS_MIN || (begin.elapsed() < ROUND && calls.len() < CALLS_MAX) {
        let since = Instant::now();
        call(solo, batch)?;
        calls.push(since.elapsed());
    }
    calls.sort();
    Ok(calls[calls.len() / 2].as_nanos() as f64)
}

/// How many instructions the second call of a new instance takes; the first one sets things up.
fn instructions(case: &Case, artifact: &Arc<Artifact>, batch: &Batch) -> Result<u64, Failure> {
    let mut solo = start(case, artifact)?;
    call(&mut solo, batch)?;
    let Usage { instructions: before, .. } = solo.transform.usage();
    call(&mut solo, batch)?;
    Ok(solo.transform.usage().instructions - before)
}

fn call(solo: &mut Solo<WasmTransform>, batch: &Batch) -> Result<(), Failure> {
    match solo.judge(batch) {
        Ok(_) => Ok(()),
        Err(error) => {
            let (events, reason) = (batch.len(), error.reason);
            let message = format!("it fails on a batch of {events} events ({reason}): {error}");
            Err(Failure::found(message).help("measure it with events of its own: --case DIR"))
        }
    }
}

fn print(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let Report { file, case, start, memory, batches } = report;
    let mut row = |name: &str, cell: &dyn Fn(&Cost) -> String| {
        let cells: String = batches.iter().map(|cost| format!("{:>12}", cell(cost))).collect();
        writeln!(out, "{name:<24}{cells}")
    };
    row("events a batch", &|cost| cost.events.to_string())?;
    row("ns per event", &|cost| format!("{:.0}", cost.nanos_per_event))?;
    row("  without the clock", &|cost| format!("{:.0}", cost.nanos_per_event_without_clock))?;
    row("  the clock costs", &|cost| {
        let free = cost.nanos_per_event_without_clock;
        format!("{:+.1} %", (cost.nanos_per_event - free) / free * 100.0)
    })?;
    row("instructions per event", &|cost| cost.instructions_per_event.to_string())?;
    writeln!(
        out,
        "{:<24}{:>9.0} µs  to link, instantiate and configure",
        "start",
        *start as f64 / 1e3
    )?;
    writeln!(out, "{:<24}{:>8.2} MiB  at most", "memory", *memory as f64 / f64::from(1 << 20))?;
    writeln!(out, "{} with the events of {case}", file.display())
}
