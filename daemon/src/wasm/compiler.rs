//! Compiles plugins, in a process of its own where the program is `weir`.
//!
//! A `.wasm` may be made to break the compiler: to take all time or memory, or to end the process.
//! Then that ends alone. The child reads the plugin from its standard input, and writes the
//! compiled code to its standard output or what is wrong with it to its standard error.

use std::any::Any;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::artifact::{FILE_MAX, LoadError};
use super::clip;
use super::engine::{Watch, compiling};
use crate::tasks::Tasks;

/// The hidden command of `weir` that compiles: `weir plugin compile WATCH`.
const COMPILE: [&str; 2] = ["plugin", "compile"];

/// The program that is running, also after its file was replaced by a newer one.
const ITSELF: &str = "/proc/self/exe";

/// Seconds of processor time: a plugin in Python takes 25 where the machine is busy.
const CPU_SECONDS: u64 = 90;

/// The longest that a compilation takes by the clock on the wall.
const TIME_MAX: Duration = Duration::from_secs(180);

/// Address space: what the largest plugin needs twice over.
const MEMORY_MAX: u64 = 4 << 30;

/// How the child says that the plugin is to blame, in the words on its standard error: the exit
/// code of a check that found problems.
const REFUSED: i32 = 3;

/// How the child says that it took too long: the exit code of that.
const TOO_LONG: i32 = 7;

/// Bytes of the child's words that are told.
const WORDS_MAX: usize = 4 << 10;

/// The least priority but for nothing at all: events go first.
const NICENESS: i32 = 10;

/// Where plugins are compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Compiler {
    /// Here: the program may be any.
    #[default]
    Here,
    /// In a child, which runs the same program.
    Apart,
}

impl Compiler {
    /// The plugin in `binary`, compiled for `engine`.
    pub(super) fn compile(
        self,
        engine: &Engine,
        watch: Watch,
        binary: &[u8],
    ) -> Result<Component, LoadError> {
        match self {
            Self::Here => {
                let compile = || Component::from_binary(engine, binary);
                guarded(compile).map_err(LoadError::Compile)
            }
            Self::Apart => {
                let code = apart(watch, binary)?;
                // SAFETY: `code` is what a child that runs this very program wrote to a pipe that
                // nobody else has; the engine checks that its settings are the same.
                #[expect(unsafe_code, reason = "compiled code is executed; see the argument above")]
                let component = unsafe { Component::deserialize(engine, &code) };
                component.map_err(|error| LoadError::Compile(format!("{error:#}")))
            }
        }
    }
}

/// Compiles a plugin from the standard input for an engine that watches so, and writes the code to
/// the standard output: the child's whole work.
///
/// # Errors
/// What is wrong with the plugin.
pub fn compile_apart(watch: Watch) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    // What the parent cannot set: from outside it would take unsafe code.
    for (resource, max) in [(Resource::Cpu, CPU_SECONDS), (Resource::As, MEMORY_MAX)] {
        // One that is lower already cannot be raised, and need not be.
        let max = getrlimit(resource).maximum.map_or(max, |known| known.min(max));
        let limit = Rlimit { current: Some(max), maximum: Some(max) };
        setrlimit(resource, limit).map_err(|error| said(error.into()))?;
    }
    // Without it a compilation is merely a worse neighbour.
    nice(NICENESS).ok();
    let watchdog = || {
        thread::sleep(TIME_MAX);
        std::process::exit(TOO_LONG);
    };
    Tasks::default().thread("weir-watchdog".to_owned(), watchdog).map_err(said)?;
    let mut binary = Vec::new();
    io::stdin().take(FILE_MAX).read_to_end(&mut binary).map_err(said)?;
    let code = guarded(|| compiling(watch)?.precompile_component(&binary))?;
    io::stdout().write_all(&code).map_err(said)
}

/// The code that a child makes of `binary`.
fn apart(watch: Watch, binary: &[u8]) -> Result<Vec<u8>, LoadError> {
    let failed = |error: io::Error| LoadError::Compile(format!("no compiler: {error}"));
    let mut child = Command::new(ITSELF)
        .args(COMPILE)
        .arg(watch.name())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // The child reads all of it before it writes anything, or ends, which the pipe tells.
    let fed = feed(&mut child, binary);
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(failed)?;
    match status.code() {
        Some(0) => fed.map(|()| stdout).map_err(failed),
        Some(REFUSED) => {
            let words = String::from_utf8_lossy(&stderr);
            Err(LoadError::Compile(clip(words.trim_end(), WORDS_MAX).into_owned()))
        }
        _ => Err(LoadError::Compiler(ending(status, &stderr))),
    }
}

fn feed(child: &mut Child, binary: &[u8]) -> io::Result<()> {
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(binary)
}

/// What ended the child.
fn ending(status: ExitStatus, stderr: &[u8]) -> String {
    const ABORTED: i32 = 6;
    const KILLED: i32 = 9;
    const OVERFLOWN: i32 = 11;
    const OUT_OF_TIME: i32 = 24;
    match status.signal() {
        Some(OUT_OF_TIME | KILLED) => "took more processor time than it may".to_owned(),
        Some(ABORTED) => {
            let words = String::from_utf8_lossy(stderr);
            format!("gave up: {}", clip(words.lines().next().unwrap_or("no words"), 200))
        }
        Some(OVERFLOWN) => "ran out of its stack".to_owned(),
        _ if status.code() == Some(TOO_LONG) => format!("took more than {} s", TIME_MAX.as_secs()),
        _ => format!("ended with {status}"),
    }
}

/// A bug in the compiler must cost the plugin, not the program.
fn guarded<T>(work: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, String> {
    let done = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(&*panic))?;
    done.map_err(|error| format!("{error:#}"))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the compiler panicked: {}", text.unwrap_or("no words"))
}
