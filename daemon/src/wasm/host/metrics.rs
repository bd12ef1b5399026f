//! The capability `metrics`: counters, gauges and histograms of a step, bounded in number.
//!
//! What an update says outlives the instance that made it. One that does not fit is dropped and
//! counted: a plugin's mistake in telling about itself must not cost an event.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::{Host, HttpStats};

/// Names that one step may use.
const SERIES_MAX: usize = 64;

/// Longest name.
const NAME_MAX: usize = 64;

/// The upper bounds of a histogram's buckets: three per power of ten, whatever the unit is.
pub const BUCKETS: [f64; 24] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0,
    100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4,
];

/// What the plugin of one step counts and measures.
#[derive(Debug, Default)]
pub struct StepMetrics {
    /// Touched once per update, by the one thread that runs the step, and by whoever looks.
    series: Mutex<Series>,
    http: HttpStats,
}

/// All numbers of a step at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// By the name that the plugin gave.
    pub values: BTreeMap<String, Measure>,
    /// Updates that did not fit: too many names, a bad one, another kind than before, no number.
    pub dropped: u64,
}

/// One number, or many.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// It only grows.
    Count(u64),
    /// It goes up and down.
    Gauge(f64),
    /// How values are distributed.
    Histogram(Box<Histogram>),
}

/// How values are distributed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many there are in each of [`BUCKETS`], and beyond the last.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// How many there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

enum Update {
    Count(u64),
    Gauge(f64),
    Observe(f64),
}

impl StepMetrics {
    /// What has been counted and measured so far.
    pub fn series(&self) -> Series {
        self.series.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How its requests fared.
    pub fn http(&self) -> &HttpStats {
        &self.http
    }

    fn update(&self, name: &str, update: &Update) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = series.values.len() < SERIES_MAX;
        let done = match series.values.get_mut(name) {
            Some(measure) => measure.update(update),
            None if has_room && is_name(name) => {
                let mut measure = Measure::begun(update);
                let done = measure.update(update);
                if done.is_some() {
                    series.values.insert(name.to_owned(), measure);
                }
                done
            }
            None => None,
        };
        if done.is_none() {
            series.dropped += 1;
        }
    }
}

impl Measure {
    fn begun(update: &Update) -> Self {
        match update {
            Update::Count(_) => Self::Count(0),
            Update::Gauge(_) => Self::Gauge(0.0),
            Update::Observe(_) => Self::Histogram(Box::default()),
        }
    }

    /// Takes `update` in; `None` if it does not fit.
    fn update(&mut self, update: &Update) -> Option<()> {
        match (self, update) {
            (Self::Count(count), Update::Count(n)) => *count = count.saturating_add(*n),
            (Self::Gauge(gauge), Update::Gauge(value)) if value.is_finite() => *gauge = *value,
            (Self::Histogram(histogram), Update::Observe(value)) if value.is_finite() => {
                histogram.observe(*value);
            }
            _ => return None,
        }
        Some(())
    }
}

impl Histogram {
    /// Takes `value` in.
    pub(super) fn observe(&mut self, value: f64) {
        let bucket = BUCKETS.iter().position(|bound| value <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS.len())] += 1;
        self.count += 1;
        self.sum += value;
    }
}

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut metrics = linker.instance("weir:plugin/metrics@1.0.0")?;
    metrics.func_wrap("count", |cx: StoreContextMut<'_, Host>, (name, n): (WasmStr, u64)| {
        update(cx, &name, &Update::Count(n))
    })?;
    metrics.func_wrap(
        "gauge",
        |cx: StoreContextMut<'_, Host>, (name, value): (WasmStr, f64)| {
            update(cx, &name, &Update::Gauge(value))
        },
    )?;
    metrics.func_wrap("observe", |cx: StoreContextMut<'_, Host>, (name, value): (WasmStr, f64)| {
        update(cx, &name, &Update::Observe(value))
    })
}

fn update(mut cx: StoreContextMut<'_, Host>, name: &WasmStr, update: &Update) -> Result<()> {
    cx.data_mut().calls.take()?;
    let name = name.to_str(&cx)?;
    cx.data().lends.metrics.update(&name, update);
    Ok(())
}

fn is_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_fit)
}
