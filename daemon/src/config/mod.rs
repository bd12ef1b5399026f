//! From files to pipelines: everything that can be known without building a component.
//!
//! [`load`] reads a directory of pipeline files under the [`DaemonSettings`] and answers the
//! pipelines that are well formed together with every [`Fault`] of the others; it never stops at
//! the first one. [`report`] prints faults, [`Watcher`] tells when to load again.

mod app;
mod codes;
mod dead_letters;
mod dedupe;
mod fault;
mod file;
mod hub;
mod interpolate;
mod json;
mod keys;
mod limits;
mod listing;
mod memory;
mod names;
mod plain;
pub mod report;
mod settings;
mod spool;
mod step;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::ack::DedupeSettings;
use crate::chain::OnError;
use crate::component::{ComponentId, PipelineName, Settings, SinkType, SourceType};
use crate::dead::DeadLetterSettings;
use crate::sinks::SINKS;
use crate::sources::SOURCES;
use crate::wasm::Limits;

pub use codes::CODES;
pub use fault::{Fault, Severity, SourceFile};
pub use interpolate::Environment;
pub use plain::PlainFault;
pub use settings::{DaemonSettings, ListenerSettings, Overrides};
pub use step::StepFile;
pub use tables::TableSpec;
pub use watch::{Watched, Watcher};

/// What a directory of pipeline files says.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The pipelines without a fault of their own, by name.
    pub pipelines: Vec<Pipeline>,
    /// The pipelines whose files have faults; what runs under these names may go on.
    pub broken: Vec<PipelineName>,
    /// Every fault of every file, in the order of files and lines.
    pub faults: Vec<Fault>,
    /// The files that pipeline files refer to; they matter as much.
    pub files: BTreeSet<PathBuf>,
}

/// What one pipeline file declares.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The stem of the file's name.
    pub name: PipelineName,
    /// The file.
    pub file: Arc<SourceFile>,
    /// What it is for, in the words of its author.
    pub description: Option<String>,
    /// Changes with the text, with what was interpolated, and with the plugins.
    pub digest: String,
    /// How many events it remembers to keep repeats back; `None` if it takes them.
    pub dedupe: Option<DedupeSettings>,
    /// How many dead letters are kept where a component asks for that.
    pub dead_letters: DeadLetterSettings,
    /// What its transforms can look things up in.
    pub tables: Vec<TableSpec>,
    /// In the order written.
    pub sources: Vec<SourceSpec>,
    /// In the order written.
    pub transforms: Vec<TransformSpec>,
    /// In the order written.
    pub sinks: Vec<SinkSpec>,
}

/// A `[[source]]`.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Its name.
    pub id: ComponentId,
    /// What builds it.
    pub kind: SourceType,
    /// What it is built from.
    pub settings: Settings,
    /// Its header.
    pub span: Range<usize>,
}

/// A `[[transform]]`.
#[derive(Debug, Clone)]
pub struct TransformSpec {
    /// Its name.
    pub id: ComponentId,
    /// The name of the plugin.
    pub plugin: String,
    /// Where that name is in the file.
    pub plugin_span: Range<usize>,
    /// The plugin's file.
    pub plugin_path: PathBuf,
    /// The plugin's configuration as JSON; `{}` if none is given.
    pub config_json: String,
    /// Where the configuration is in the file.
    pub config_span: Range<usize>,
    /// What happens to events that it cannot judge.
    pub on_error: OnError,
    /// What one call may use.
    pub limits: Limits,
    /// The capabilities that it gets.
    pub grants: Vec<String>,
    /// How often it is told the time, where the file says so.
    pub tick: Option<Spanned<Duration>>,
    /// Whose events it takes, where the file says so.
    pub inputs: Option<Vec<Spanned<String>>>,
    /// Its header.
    pub span: Range<usize>,
}

/// A `[[sink]]`.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// Its name.
    pub id: ComponentId,
    /// What builds it.
    pub kind: SinkType,
    /// What it is built from.
    pub settings: Settings,
    /// Where its events wait while it is away, if they do.
    pub spool: Option<crate::spool::SpoolSettings>,
    /// What happens to events that it refuses for good.
    pub on_error: OnError,
    /// Whose events it takes, where the file says so.
    pub inputs: Option<Vec<Spanned<String>>>,
    /// Its header.
    pub span: Range<usize>,
}

/// The kinds of components that files may name.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    sources: &'static [SourceType],
    sinks: &'static [SinkType],
}

/// Reads pipeline files, and every pipeline file of directories.
pub fn load(paths: &[PathBuf], settings: &DaemonSettings) -> Loaded {
    load_kinds(paths, settings, Kinds { sources: SOURCES, sinks: SINKS })
}

fn load_kinds(paths: &[PathBuf], settings: &DaemonSettings, kinds: Kinds) -> Loaded {
    let mut loaded = Loaded::default();
    let (files, faults) = listing::pipeline_files(paths);
    loaded.faults = faults;
    for path in files {
        let file = file::read_pipeline(&path, settings, kinds);
        loaded.faults.extend(file.faults);
        loaded.files.extend(file.files);
        match file.pipeline {
            Some(pipeline) => loaded.pipelines.push(pipeline),
            None => loaded.broken.extend(file.name),
        }
    }
    loaded
}
