//! The capability `log`: a plugin's lines in the daemon's log, bounded per call and over time.
//!
//! Text is cut and logged as the value of a field, which formatters quote and escape: a plugin can
//! neither flood the log nor forge its lines.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tracing::{debug, error, info, trace, warn};
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::super::clip;
use super::Host;
use crate::component::ComponentId;

/// Lines that one call may write.
const CALL_LINES_MAX: u32 = 64;

/// Bytes that one call may write.
const CALL_BYTES_MAX: usize = 8 << 10;

/// Longest line; the rest is cut.
const LINE_MAX: usize = 1 << 10;

/// Lines that a quiet step may write at once.
const BURST: f64 = 256.0;

/// Lines a second that a step may write for ever.
const LINES_PER_SECOND: f64 = 32.0;

/// `log.level`.
#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the derived code makes them out of what the plugin passes")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// The step that speaks; outlives its instances, so that a trap does not refill its bucket.
#[derive(Debug)]
pub(in crate::wasm) struct Voice {
    id: ComponentId,
    /// Touched once per line, by the one thread that runs the step, hence a std mutex.
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    lines: f64,
    filled: Instant,
    dropped: u64,
}

/// What one instance may still write.
pub(in crate::wasm) struct Log {
    voice: Arc<Voice>,
    lines: u32,
    bytes: usize,
}

impl Voice {
    pub(in crate::wasm) fn new(id: ComponentId) -> Self {
        let bucket = Bucket { lines: BURST, filled: Instant::now(), dropped: 0 };
        Self { id, bucket: Mutex::new(bucket) }
    }

    /// Takes a token if there is one, and answers how many lines were dropped since the last.
    fn take(&self) -> Option<u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(bucket.filled).as_secs_f64() * LINES_PER_SECOND;
        bucket.lines = (bucket.lines + earned).min(BURST);
        bucket.filled = now;
        if bucket.lines < 1.0 {
            bucket.dropped += 1;
            return None;
        }
        bucket.lines -= 1.0;
        Some(std::mem::take(&mut bucket.dropped))
    }

    fn drop_line(&self) {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).dropped += 1;
    }

    fn say(&self, level: Level, text: &str, dropped: u64) {
        let (pipeline, step) = (&self.id.pipeline, self.id.name.as_str());
        if dropped > 0 {
            warn!(%pipeline, step, dropped, "plugin log lines dropped");
        }
        match level {
            Level::Trace => trace!(%pipeline, step, text, "plugin log"),
            Level::Debug => debug!(%pipeline, step, text, "plugin log"),
            Level::Info => info!(%pipeline, step, text, "plugin log"),
            Level::Warn => warn!(%pipeline, step, text, "plugin log"),
            Level::Error => error!(%pipeline, step, text, "plugin log"),
        }
    }
}

impl Log {
    pub(in crate::wasm) fn new(voice: &Arc<Voice>) -> Self {
        Self { voice: Arc::clone(voice), lines: CALL_LINES_MAX, bytes: CALL_BYTES_MAX }
    }

    /// Starts a new call's budget.
    pub(in crate::wasm) fn reset(&mut self) {
        self.lines = CALL_LINES_MAX;
        self.bytes = CALL_BYTES_MAX;
    }
}

impl Level {
    fn is_enabled(self) -> bool {
        match self {
            Self::Trace => tracing::enabled!(tracing::Level::TRACE),
            Self::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Self::Info => tracing::enabled!(tracing::Level::INFO),
            Self::Warn => tracing::enabled!(tracing::Level::WARN),
            Self::Error => tracing::enabled!(tracing::Level::ERROR),
        }
    }
}

/// Links the capability.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let mut log = linker.instance("weir:plugin/log@1.0.0")?;
    log.func_wrap("enabled", |cx: StoreContextMut<'_, Host>, (level,): (Level,)| {
        Ok((cx.data().log.lines > 0 && level.is_enabled(),))
    })?;
    log.func_wrap("log", |cx: StoreContextMut<'_, Host>, (level, text): (Level, WasmStr)| {
        write(cx, level, &text)
    })
}

fn write(mut cx: StoreContextMut<'_, Host>, level: Level, text: &WasmStr) -> Result<()> {
    if !level.is_enabled() {
        return Ok(());
    }
    let log = &cx.data().log;
    if log.lines == 0 || log.bytes == 0 {
        log.voice.drop_line();
        return Ok(());
    }
    let text = text.to_str(&cx)?;
    let line = clip(&text, LINE_MAX).into_owned();
    let log = &mut cx.data_mut().log;
    log.lines -= 1;
    log.bytes = log.bytes.saturating_sub(line.len());
    if let Some(dropped) = log.voice.take() {
        log.voice.say(level, &line, dropped);
    }
    Ok(())
}
