//! Golden files: what goes into a plugin and what it shall say, one folder per case.
//!
//! ```text
//! golden/CASE/step.toml       config, limits and grants, as in a [[transform]]; may be missing
//! golden/CASE/events.jsonl    one event per line; an empty line ends a batch, and so does
//!                             {"tick":1764000000000000}, the time that the plugin is told then
//! golden/CASE/verdicts.jsonl  one verdict per event, and what is emitted per tick
//! ```

use std::borrow::Cow;
use std::fs;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::Failure;
use crate::component::{BuildError, ComponentId, PipelineName};
use crate::config::{Environment, Fault, SourceFile, StepFile};
use crate::event::cloudevents::{Form, Spelled};
use crate::event::{Batch, Draft, json};
use crate::wasm::StepSetup;

/// The folder of the cases within a project.
const FOLDER: &str = "golden";

/// What an event is that says nothing else. The time is fixed, so that verdicts are.
const SOURCE: &str = "/golden";
const TYPE: &str = "event";
const TIME: u64 = 1_764_000_000_000_000;

/// An event of usual size.
const SAMPLE: &str = r#"{"type":"cart.add","subject":"u-1842","data":{"sku":"a1","title":"Teapot, blue","price":24.9,"user":{"id":"u-1842","plan":"pro","email":"ada@example.com"},"referrer":"/spring"}}"#;

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) step: StepFile,
    pub(super) turns: Vec<Turn>,
    dir: PathBuf,
}

/// What a plugin is called for.
#[derive(Debug)]
pub(super) enum Turn {
    /// It judges these events.
    Batch(Box<Batch>),
    /// It is told the time, in microseconds since the Unix epoch.
    Tick(u64),
}

/// The verdicts that a case expects.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) path: PathBuf,
    /// Each with the number of its line, from 1.
    pub(super) verdicts: Vec<(usize, Value)>,
}

impl Case {
    /// The cases of a project, or those in `dir` itself, in the order of their names.
    pub(super) fn all(dir: &Path) -> Result<Vec<Self>, Failure> {
        let folder = if dir == Path::new(".") { FOLDER.into() } else { dir.join(FOLDER) };
        let folder = if folder.is_dir() { folder } else { dir.to_owned() };
        let entries = fs::read_dir(&folder);
        let entries = entries.map_err(|error| Failure::io("read the folder", &folder, &error))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| events_of(path).is_file()).collect();
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    /// The case in the folder `dir`.
    pub(super) fn read(dir: PathBuf) -> Result<Self, Failure> {
        let step = StepFile::read(&dir.join("step.toml"), &Environment::of_process())?;
        let file = SourceFile::read(&events_of(&dir))?;
        let turns = turns(&file)?;
        let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, step, turns, dir })
    }

    /// A case for a plugin that has none: no config, and the event of a shop.
    pub(super) fn sample() -> Self {
        let mut batch = Batch::default();
        push(SAMPLE, 1, &mut batch).expect("the sample is an event");
        let nowhere = PathBuf::new();
        let step = StepFile::read(&nowhere, &Environment::of_process());
        let step = step.expect("a file that is not there is without faults");
        let name = "the built-in sample".to_owned();
        Self { name, step, turns: vec![Turn::Batch(Box::new(batch))], dir: nowhere }
    }

    /// The events, as they come together.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.turns.iter().filter_map(|turn| match turn {
            Turn::Batch(batch) => Some(&**batch),
            Turn::Tick(_) => None,
        })
    }

    /// How many events it has.
    pub(super) fn events(&self) -> usize {
        self.batches().map(Batch::len).sum()
    }

    /// Whether the plugin is told the time.
    pub(super) fn has_ticks(&self) -> bool {
        self.turns.iter().any(|turn| matches!(turn, Turn::Tick(_)))
    }

    /// The step that the plugin runs in.
    pub(super) fn setup(&self) -> StepSetup {
        let pipeline = PipelineName::new("golden").expect("it is a good name");
        let id = ComponentId::new(&pipeline, "step").expect("it is a good name");
        StepSetup {
            id,
            config_json: self.step.config_json.clone(),
            limits: self.step.limits,
            grants: self.step.grants.clone(),
            lends: self.step.lends.clone(),
        }
    }

    /// What the plugin shall say; `None` if nobody has written that down yet.
    pub(super) fn expected(&self) -> Result<Option<Expected>, Failure> {
        let path = self.verdicts_path();
        if !path.exists() {
            return Ok(None);
        }
        let file = SourceFile::read(&path)?;
        let mut verdicts = Vec::new();
        let mut faults = Vec::new();
        for (number, span) in lines(&file.text) {
            match serde_json::from_str(&file.text[span.clone()]) {
                Ok(verdict) => verdicts.push((number, verdict)),
                Err(_) if span.is_empty() => {}
                Err(error) => faults.push(wrong(&file, "W0702", &error.to_string(), span)),
            }
        }
        if faults.is_empty() { Ok(Some(Expected { path, verdicts })) } else { Err(faults.into()) }
    }

    /// Where the verdicts are.
    pub(super) fn verdicts_path(&self) -> PathBuf {
        self.dir.join("verdicts.jsonl")
    }
}

fn events_of(case: &Path) -> PathBuf {
    case.join("events.jsonl")
}

/// What `file` says, all faults of all lines otherwise.
fn turns(file: &Arc<SourceFile>) -> Result<Vec<Turn>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut turns = Vec::new();
    let mut events = 0;
    let mut batch = Batch::default();
    let end = |batch: &mut Batch, turns: &mut Vec<Turn>| {
        let batch = mem::take(batch);
        turns.extend((!batch.is_empty()).then_some(Turn::Batch(Box::new(batch))));
    };
    for (_, span) in lines(&file.text) {
        let line = &file.text[span.clone()];
        let tick = serde_json::from_str::<Tick>(line).ok();
        if line.is_empty() || tick.is_some() {
            end(&mut batch, &mut turns);
            turns.extend(tick.map(|tick| Turn::Tick(tick.tick)));
            continue;
        }
        events += 1;
        if let Err(why) = push(line, events, &mut batch) {
            faults.push(wrong(file, "W0701", &why, span));
        }
    }
    end(&mut batch, &mut turns);
    if events == 0 {
        faults.push(wrong(file, "W0701", "there is no event", 0..0));
    }
    if faults.is_empty() { Ok(turns) } else { Err(faults) }
}

/// A line that tells the time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tick {
    tick: u64,
}

/// Appends the event that `line` spells. Its id is its number unless it has one.
fn push(line: &str, number: usize, batch: &mut Batch) -> Result<(), String> {
    let checked = json::check_text(line).map_err(|error| error.to_string())?;
    let form = if checked.is_cloudevent { Form::CloudEvents } else { Form::Weir };
    let spelled = Spelled::from_json(checked.text, form).map_err(|it| it.error.to_string())?;
    let extensions: Vec<(&str, &str)> =
        spelled.extensions.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let number = number.to_string();
    let time = spelled.time.unwrap_or(TIME);
    batch.push(&Draft {
        id: spelled.id.as_deref().unwrap_or(&number),
        source: spelled.source.as_deref().unwrap_or(SOURCE),
        event_type: spelled.event_type.as_deref().unwrap_or(TYPE),
        subject: spelled.subject.as_deref(),
        content_type: spelled.media_type(),
        time,
        arrival: time,
        data: spelled.data(),
        extensions: &extensions,
    });
    Ok(())
}

/// The lines of `text`, each with its number from 1 and without the white space around it.
fn lines(text: &str) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut at = 0;
    text.split_inclusive('\n').enumerate().map(move |(index, line)| {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let end = (start + line.trim().len()).min(at);
        (index + 1, start.min(end)..end)
    })
}

fn wrong(file: &Arc<SourceFile>, code: &'static str, why: &str, span: Range<usize>) -> Fault {
    let help: Cow<'static, str> = match code {
        "W0701" => r#"a line is one event, such as {"type":"order","data":{"net":10}}"#.into(),
        _ => "`weir plugin test --update` writes what the plugin says".into(),
    };
    // Every text here is one line, whose number the place of the fault says.
    let why = why.split(" at line ").next().unwrap_or_default().to_owned();
    file.fault(BuildError::new(code, why).help(help), span)
}
