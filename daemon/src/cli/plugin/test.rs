//! `weir plugin test`: golden events through the plugin in the sandbox, its verdicts compared.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::super::{Exit, Output};
use super::compare::difference;
use super::golden::{Case, Turn};
use super::{Failure, engine, plugin_at, verdict};
use crate::chain::Solo;
use crate::runtime::unusable;
use crate::wasm::{Artifact, LoadError, WasmTransform, Watch};

/// How many differences of one case are shown.
const SHOWN_MAX: usize = 20;

/// Compare a plugin's verdicts with golden files; exit code 3 if they differ
#[derive(Debug, Args)]
pub(super) struct Test {
    /// Folder of the project, or of golden cases
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Plugin to test [default: what the project makes, built if its sources are newer]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Write down what the plugin says now as what it shall say
    #[arg(long)]
    update: bool,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What became of one case.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    passed: bool,
    updated: bool,
    events: usize,
    /// In all; not each is listed.
    different: usize,
    differences: Vec<Difference>,
}

/// A verdict that is not as expected.
#[derive(Debug, Serialize)]
struct Difference {
    /// The line of the verdict, `None` where there is none.
    at: Option<String>,
    what: String,
    expected: Option<Value>,
    actual: Option<Value>,
}

impl Test {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let plugin = plugin_at(self.plugin.as_deref().unwrap_or(&self.dir))?;
        let cases = Case::all(&self.dir)?;
        if cases.is_empty() {
            let message = format!("{} has no golden cases", self.dir.display());
            let help = "write events into golden/first/events.jsonl, one JSON object per line, \
                        then run `weir plugin test --update`";
            return Err(Failure::new(message).help(help));
        }
        let loaded = engine(Watch::Time)?.load(&plugin);
        let artifact = loaded.map_err(|error| Failure::plugin(&plugin, &error))?;
        let mut outcomes = Vec::new();
        for case in &cases {
            outcomes.push(run(case, &artifact, self.update)?);
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
        let mut out = stdout().lock();
        match self.output {
            Output::Text => print(&outcomes, failed, &mut out)?,
            Output::Json => {
                serde_json::to_writer(&mut out, &outcomes).map_err(std::io::Error::from)?;
                writeln!(out)?;
            }
        }
        Ok(if failed > 0 { Exit::FoundProblems } else { Exit::Ok })
    }
}

fn run(case: &Case, artifact: &Arc<Artifact>, is_update: bool) -> Result<Outcome, Failure> {
    if case.has_ticks() && !artifact.has_timer() {
        let message = format!("the case {} has a tick, but the plugin has no timer", case.name);
        let help = "take the tick out, or export `timer`: in Rust `register!(Type, timer)`";
        return Err(Failure::found(message).help(help));
    }
    let mut solo = start(case, artifact)?;
    let lines = case.turns.iter().flat_map(|turn| match turn {
        Turn::Batch(batch) => verdict::judge(&mut solo, batch),
        Turn::Tick(now) => vec![verdict::tick(&mut solo, *now)],
    });
    let lines: Vec<String> = lines.collect();
    let actual: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a verdict is written as JSON"))
        .collect();
    let (path, expected) = match case.expected() {
        Ok(Some(expected)) => (expected.path, Some(expected.verdicts)),
        Ok(None) => (case.verdicts_path(), None),
        // What cannot be read is written anew.
        Err(_) if is_update => (case.verdicts_path(), None),
        Err(failure) => return Err(failure),
    };
    let mut differences = match expected {
        Some(expected) => differences(&path, expected, actual),
        None => vec![Difference {
            at: Some(path.display().to_string()),
            what: "there are no verdicts yet".to_owned(),
            expected: None,
            actual: None,
        }],
    };
    let updated = is_update && !differences.is_empty();
    if updated {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error))?;
    }
    let different = differences.len();
    differences.truncate(SHOWN_MAX);
    let passed = updated || differences.is_empty();
    Ok(Outcome {
        case: case.name.clone(),
        passed,
        updated,
        events: case.events(),
        different,
        differences,
    })
}

/// The plugin in the step of the case; what it refuses is a fault of the step's file.
pub(super) fn start(case: &Case, artifact: &Arc<Artifact>) -> Result<Solo<WasmTransform>, Failure> {
    WasmTransform::new(artifact, case.setup()).map(Solo::new).map_err(|error: LoadError| {
        if case.step.file.text.is_empty() {
            let help = "its `config` and `grants`, as in a [[transform]], go into \
                        golden/CASE/step.toml; `--case` names the folder for `bench`";
            return Failure::found(error.to_string()).help(help);
        }
        let span = if error.is_configuration() { case.step.config_span.clone() } else { 0..0 };
        case.step.file.fault(unusable(&error), span).into()
    })
}

fn differences(path: &Path, expected: Vec<(usize, Value)>, actual: Vec<Value>) -> Vec<Difference> {
    let len = expected.len().max(actual.len());
    let (mut expected, mut actual) = (expected.into_iter(), actual.into_iter());
    let mut found = Vec::new();
    for _ in 0..len {
        let (line, expected) = match expected.next() {
            Some((line, verdict)) => (Some(line), Some(verdict)),
            None => (None, None),
        };
        let actual = actual.next();
        let what = match (&expected, &actual) {
            (Some(expected), Some(actual)) => match difference(expected, actual) {
                Some(what) => what,
                None => continue,
            },
            (Some(_), None) => "there is no event for this verdict".to_owned(),
            _ => "there is no verdict for this event".to_owned(),
        };
        let at = line.map(|line| format!("{}:{line}", path.display()));
        found.push(Difference { at, what, expected, actual });
    }
    found
}

fn print(outcomes: &[Outcome], failed: usize, out: &mut impl Write) -> std::io::Result<()> {
    for Outcome { case, passed, updated, events, different, differences } in outcomes {
        let word = match (passed, updated) {
            (_, true) => "new ",
            (true, _) => "ok  ",
            (false, _) => "FAIL",
        };
        writeln!(out, "{word}  {case}  ({events} events)")?;
        if *updated {
            continue;
        }
        for Difference { at, what, expected, actual } in differences {
            writeln!(
                out,
                "      {}{what}",
                at.as_ref().map_or(String::new(), |at| format!("{at}: "))
            )?;
            if let Some(expected) = expected {
                writeln!(out, "      - {expected}")?;
            }
            if let Some(actual) = actual {
                writeln!(out, "      + {actual}")?;
            }
        }
        if *different > differences.len() {
            writeln!(out, "      … and {} more", different - differences.len())?;
        }
    }
    writeln!(out, "{} passed, {failed} failed", outcomes.len() - failed)?;
    if failed > 0 {
        writeln!(
            out,
            "If what the plugin says is right, `weir plugin test --update` writes it down."
        )?;
    }
    Ok(())
}
