//! One pipeline file: from its text to a [`Pipeline`], or to all that is wrong with it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::dead_letters::take_dead_letters;
use super::dedupe::take_dedupe;
use super::interpolate::Interpolation;
use super::keys::{not_offered, take_on_error, take_tables, take_text, take_texts, unknown_keys};
use super::limits::{LimitKeys, grants, limits};
use super::listing::{read_text, whole};
use super::names::Names;
use super::tables::take_lookups;
use super::{
    DaemonSettings, Fault, Kinds, Pipeline, SinkSpec, SourceFile, SourceSpec, TransformSpec,
};
use crate::ack::DedupeSettings;
use crate::chain::OnError;
use crate::component::{
    BuildError, ComponentId, PipelineName, Settings, Table, Value, did_you_mean, quoted,
};
use crate::dead::DeadLetterSettings;
use crate::units::Time;

/// The most transforms of one pipeline: each is a frame on the stack of its thread.
const TRANSFORMS_MAX: usize = 100;

/// The keys of a pipeline file.
const KEYS: [&str; 7] =
    ["description", "dedupe", "dead_letters", "table", "source", "transform", "sink"];

/// Keys that belong into `weir.toml`.
const DAEMON_KEYS: [&str; 6] = ["listener", "admin", "hub", "app", "data_dir", "plugins"];

/// Keys that a pipeline file will have one day, and what they are.
const PLANNED_KEYS: [(&str, &str); 1] = [("test", "`[[test]]`, a test of the pipeline,")];

/// What is known of one file after reading it.
#[derive(Default)]
pub(super) struct ReadFile {
    /// The pipeline's name, if the file has a fit one.
    pub(super) name: Option<PipelineName>,
    /// The pipeline, if there are no faults.
    pub(super) pipeline: Option<Pipeline>,
    /// All that is wrong.
    pub(super) faults: Vec<Fault>,
    /// The files that it refers to by interpolation.
    pub(super) files: BTreeSet<PathBuf>,
}

/// Reads the pipeline file at `path`.
pub(super) fn read_pipeline(path: &Path, settings: &DaemonSettings, kinds: Kinds) -> ReadFile {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match PipelineName::new(&stem) {
        Ok(name) => name,
        Err(error) => {
            let error = BuildError::new("W0005", error.to_string()).help("rename the file");
            return ReadFile { faults: vec![whole(path, error)], ..ReadFile::default() };
        }
    };
    let failed = |faults| ReadFile { name: Some(name.clone()), faults, ..ReadFile::default() };
    let text = match read_text(path) {
        Ok(text) => text,
        Err(fault) => return failed(vec![fault]),
    };
    let (table, syntax) = Table::parse(&text);
    if !syntax.is_empty() {
        let file = Arc::new(SourceFile::new(path, text));
        return failed(file.faults(syntax));
    }
    if table.entries.is_empty() {
        let help = "a pipeline has at least a `[[source]]` and a `[[sink]]`";
        let error = BuildError::new("W0008", "the file is empty").help(help);
        return failed(vec![whole(path, error)]);
    }
    read_table(path, text, table, &Reader { name: &name, settings, kinds })
}

/// Reads what is TOML already.
fn read_table(path: &Path, text: String, mut table: Table, reader: &Reader<'_>) -> ReadFile {
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut interpolation = Interpolation::new(&reader.settings.environment, dir, &text);
    interpolation.table(&mut table);
    let Interpolation { mut faults, secrets, mut files, .. } = interpolation;
    let mut digest = Sha256::new();
    for part in iter::once(&text).chain(&secrets) {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    let tables = take_lookups(&mut table, dir, &mut faults);
    files.extend(tables.iter().map(|table| table.settings.file.clone()));
    let parts = reader.parts(table, &mut faults);
    let file = Arc::new(SourceFile::new(path, text).hiding(secrets));
    let faults = file.faults(faults);
    let Parts { description, dedupe, dead_letters, sources, transforms, sinks } = parts;
    let pipeline = Pipeline {
        name: reader.name.clone(),
        file,
        description,
        digest: hex(&digest.finalize()),
        dedupe,
        dead_letters,
        tables,
        sources,
        transforms,
        sinks,
    };
    let pipeline = faults.is_empty().then_some(pipeline);
    ReadFile { name: Some(reader.name.clone()), pipeline, faults, files }
}

/// What a file is read with.
struct Reader<'a> {
    name: &'a PipelineName,
    settings: &'a DaemonSettings,
    kinds: Kinds,
}

/// What a file declares.
struct Parts {
    description: Option<String>,
    dedupe: Option<DedupeSettings>,
    dead_letters: DeadLetterSettings,
    sources: Vec<SourceSpec>,
    transforms: Vec<TransformSpec>,
    sinks: Vec<SinkSpec>,
}

/// The keys of a `[[transform]]`, without those that every component has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransformKeys {
    plugin: Spanned<String>,
    #[serde(default)]
    on_error: OnError,
    #[serde(default)]
    limits: LimitKeys,
    #[serde(default)]
    grants: Vec<Spanned<String>>,
    #[serde(default)]
    tick: Option<Spanned<Time>>,
}

impl Reader<'_> {
    fn parts(&self, mut table: Table, faults: &mut Vec<BuildError>) -> Parts {
        let description = take_text(&mut table, "description", faults).map(Spanned::into_inner);
        let dedupe = take_dedupe(&mut table, faults);
        let dead_letters = take_dead_letters(&mut table, faults);
        let known = faults.len();
        let sources = take_tables(&mut table, "source", faults);
        let lacks_source = sources.is_empty() && faults.len() == known;
        let transforms = take_tables(&mut table, "transform", faults);
        let known = faults.len();
        let sinks = take_tables(&mut table, "sink", faults);
        let lacks_sink = sinks.is_empty() && faults.len() == known;
        refuse_others(&mut table, faults);
        if lacks_source {
            let help = "add one, for example `[[source]]` with `type = \"http\"`";
            faults.push(BuildError::new("W0107", "the pipeline has no source").help(help));
        }
        if lacks_sink {
            let help = "add one, for example `[[sink]]` with `type = \"broadcast\"`";
            faults.push(BuildError::new("W0108", "the pipeline has no sink").help(help));
        }
        if let Some(table) = transforms.get(TRANSFORMS_MAX) {
            let message = format!("a pipeline has at most {TRANSFORMS_MAX} transforms");
            faults.push(BuildError::new("W0114", message).at(table.span.clone()));
        }
        let mut names = Names::of(self.name, [&sources, &transforms, &sinks]);
        let sources =
            sources.into_iter().filter_map(|table| self.source(table, &mut names, faults));
        let sources = sources.collect();
        let transforms = transforms.into_iter();
        let transforms = transforms.filter_map(|table| self.transform(table, &mut names, faults));
        let transforms = transforms.collect();
        let sinks = sinks.into_iter().filter_map(|table| self.sink(table, &mut names, faults));
        Parts { description, dedupe, dead_letters, sources, transforms, sinks: sinks.collect() }
    }

    fn source(
        &self,
        mut table: Table,
        names: &mut Names<'_>,
        faults: &mut Vec<BuildError>,
    ) -> Option<SourceSpec> {
        let known: Vec<&str> = self.kinds.sources.iter().map(|kind| kind.name).collect();
        let kind = take_type(&mut table, &known, faults);
        let id = names.take(&mut table, kind.as_ref(), faults);
        if let Some(inputs) = table.take("inputs") {
            let fault = BuildError::new("W0405", "a source has no inputs");
            faults.push(fault.at(inputs.key_span));
        }
        let kind = kind?;
        match self.kinds.sources.iter().find(|known| known.name == kind.get_ref()) {
            Some(kind) => {
                let span = table.span.clone();
                Some(SourceSpec { id: id?, kind: *kind, settings: Settings::new(table), span })
            }
            None => {
                faults.push(unknown_type(&kind, "source", &known));
                None
            }
        }
    }

    fn sink(
        &self,
        mut table: Table,
        names: &mut Names<'_>,
        faults: &mut Vec<BuildError>,
    ) -> Option<SinkSpec> {
        let known: Vec<&str> = self.kinds.sinks.iter().map(|kind| kind.name).collect();
        let kind = take_type(&mut table, &known, faults);
        let id = names.take(&mut table, kind.as_ref(), faults);
        let inputs = take_texts(&mut table, "inputs", faults);
        let spool = table.take("spool");
        let on_error = take_on_error(&mut table, faults);
        let kind = kind?;
        match self.kinds.sinks.iter().find(|known| known.name == kind.get_ref()) {
            Some(kind) => {
                let (kind, span) = (*kind, table.span.clone());
                let spool = super::spool::settings(spool, &kind, faults)?;
                let settings = Settings::new(table);
                Some(SinkSpec { id: id?, kind, settings, spool, on_error, inputs, span })
            }
            None => {
                faults.push(unknown_type(&kind, "sink", &known));
                None
            }
        }
    }

    fn transform(
        &self,
        mut table: Table,
        names: &mut Names<'_>,
        faults: &mut Vec<BuildError>,
    ) -> Option<TransformSpec> {
        let span = table.span.clone();
        let plugin = table.get("plugin").and_then(|entry| match &entry.node.value {
            Value::Text(text) => Some(Spanned::new(entry.node.span.clone(), text.clone())),
            _ => None,
        });
        let id = names.take(&mut table, plugin.as_ref(), faults);
        let inputs = take_texts(&mut table, "inputs", faults);
        let config = table.take("config");
        let config_span =
            config.as_ref().map_or_else(|| span.clone(), |config| config.node.span.clone());
        let config_json = super::json::text(config.map(|config| config.node), faults);
        let keys: Option<TransformKeys> = match Settings::new(table).read() {
            Ok(keys) => Some(keys),
            Err(errors) => {
                faults.extend(errors);
                None
            }
        };
        // Looked up by the name alone, so that it is told also where other keys are wrong.
        let plugin_path = self.plugin(&plugin?, faults);
        let keys = keys?;
        Some(TransformSpec {
            id: id?,
            plugin_span: keys.plugin.span(),
            plugin: keys.plugin.into_inner(),
            plugin_path: plugin_path?,
            config_json: config_json?,
            config_span,
            on_error: keys.on_error,
            limits: limits(&keys.limits, faults),
            grants: grants(keys.grants, faults),
            tick: tick(keys.tick.as_ref(), faults),
            inputs,
            span,
        })
    }

    /// The file of `plugin`.
    fn plugin(&self, plugin: &Spanned<String>, faults: &mut Vec<BuildError>) -> Option<PathBuf> {
        let name = plugin.get_ref();
        if ComponentId::new(self.name, name).is_err() {
            let message = format!("`{name}` is not the name of a plugin");
            let help = "it is the name of a file in the plugin directories, without `.wasm`";
            faults.push(BuildError::new("W0602", message).help(help).at(plugin.span()));
            return None;
        }
        let path = self.settings.find_plugin(name);
        if path.is_none() {
            let known = self.settings.plugin_names();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let dirs: Vec<String> =
                self.settings.plugins.iter().map(|dir| dir.display().to_string()).collect();
            let help = match did_you_mean(name, &known, "plugins") {
                help if help.starts_with("did") => help,
                help => format!("{help}; looked in {}", dirs.join(", ")),
            };
            let message = format!("there is no plugin `{name}`");
            faults.push(BuildError::new("W0601", message).help(help).at(plugin.span()));
        }
        path
    }
}

fn take_type(
    table: &mut Table,
    known: &[&str],
    faults: &mut Vec<BuildError>,
) -> Option<Spanned<String>> {
    if table.get("type").is_none() {
        let fault = BuildError::new("W0109", "the component has no `type`");
        let help = format!("known types: {}", quoted(known));
        faults.push(fault.help(help).at(table.span.clone()));
    }
    take_text(table, "type", faults)
}

fn unknown_type(kind: &Spanned<String>, what: &str, known: &[&str]) -> BuildError {
    let message = format!("there is no {what} of type `{kind}`");
    let help = did_you_mean(kind.get_ref(), known, "types");
    BuildError::new("W0110", message).help(help).at(kind.span())
}

/// Faults for the keys of a file that are none of its own.
fn refuse_others(table: &mut Table, faults: &mut Vec<BuildError>) {
    for key in DAEMON_KEYS {
        if let Some(entry) = table.take(key) {
            let fault = BuildError::new("W0113", format!("`{key}` is a setting of the daemon"));
            faults.push(fault.help("it belongs into weir.toml").at(entry.key_span));
        }
    }
    for (key, what) in PLANNED_KEYS {
        if let Some(entry) = table.take(key) {
            faults.push(not_offered(what, entry.key_span));
        }
    }
    unknown_keys(table, &KEYS, faults);
}

/// How often a plugin is told the time, where the file says so.
fn tick(key: Option<&Spanned<Time>>, faults: &mut Vec<BuildError>) -> Option<Spanned<Duration>> {
    let every = key?.get_ref().0;
    if every < TICK_MIN {
        let message = format!("a plugin is told the time every {}ms at most", TICK_MIN.as_millis());
        faults.push(BuildError::new("W0114", message).at(key?.span()));
    }
    Some(Spanned::new(key?.span(), every))
}

/// More often the calls would cost more than they can be good for.
const TICK_MIN: Duration = Duration::from_millis(10);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}
