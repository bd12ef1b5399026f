//! `weir dead`: looks at the dead letters of a running daemon, replays and removes them.

use std::io::{self, Write, stderr, stdout};
use std::net::SocketAddr;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{error, info};

use super::client::{Client, ClientError};
use super::{Exit, Global, Output};
use crate::config::report::{self, Format};
use crate::config::{DaemonSettings, Environment, Overrides};

/// Look at events that were refused for good, replay and remove them.
#[derive(Debug, Args)]
pub(super) struct Dead {
    #[command(subcommand)]
    command: Command,
    /// Address of the daemon's admin API [default: as the settings say]
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Form of what is printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the letters of a pipeline, or how many each pipeline has
    Ls {
        /// The pipeline
        pipeline: Option<String>,
    },
    /// Show one letter with its event
    Show {
        /// The pipeline
        pipeline: String,
        /// Number of the letter
        seq: u64,
    },
    /// Publish letters again, at the component that refused them
    Replay(Letters),
    /// Remove letters
    Purge(Letters),
}

/// Letters of a pipeline.
#[derive(Debug, Args)]
struct Letters {
    /// The pipeline
    pipeline: String,
    /// Numbers of letters
    #[arg(required_unless_present = "all")]
    seqs: Vec<u64>,
    /// All that are there now
    #[arg(long, conflicts_with = "seqs")]
    all: bool,
}

/// How many letters a pipeline has.
#[derive(Deserialize)]
struct Summary {
    pipeline: String,
    letters: u64,
    bytes: u64,
    next: u64,
    state: Value,
}

#[derive(Deserialize)]
struct Summaries {
    pipelines: Vec<Summary>,
}

#[derive(Deserialize)]
struct Page {
    letters: Vec<Value>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Replayed {
    results: Vec<Value>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

/// One letter; its event stays the text that it is.
#[derive(Deserialize)]
struct Letter {
    seq: u64,
    at: String,
    component: String,
    generation: u64,
    code: String,
    error: String,
    event: Box<RawValue>,
}

impl Dead {
    pub(super) fn run(self, global: &Global) -> Exit {
        let overrides = Overrides { admin: self.admin, ..Overrides::default() };
        let (settings, faults) =
            DaemonSettings::load(global.config.as_deref(), &overrides, Environment::of_process());
        if !faults.is_empty() {
            let has_color = global.color.applies_to(&stderr());
            // Nobody is left to tell if stderr is closed; the exit code says it too.
            drop(report::print(&faults, &mut stderr().lock(), Format::Text, has_color));
            return Exit::FoundProblems;
        }
        let client = Client::new(settings.admin);
        let done = match &self.command {
            Command::Ls { pipeline: None } => self.summaries(&client),
            Command::Ls { pipeline: Some(pipeline) } => self.list(&client, pipeline),
            Command::Show { pipeline, seq } => self.show(&client, pipeline, *seq),
            Command::Replay(letters) => self.replay(&client, letters),
            Command::Purge(letters) => self.purge(&client, letters),
        };
        done.unwrap_or_else(|error| {
            let exit = error.exit();
            if exit != Exit::Ok {
                error!("{error}");
            }
            exit
        })
    }

    fn summaries(&self, client: &Client) -> Result<Exit, ClientError> {
        if self.output == Output::Json {
            let answer: Box<RawValue> = client.ask("GET", "/v1/dead")?;
            writeln!(stdout(), "{answer}")?;
            return Ok(Exit::Ok);
        }
        let Summaries { pipelines } = client.ask("GET", "/v1/dead")?;
        if pipelines.iter().all(|summary| summary.letters == 0) {
            info!("there are no dead letters");
        }
        let mut out = stdout().lock();
        for Summary { pipeline, letters, bytes, state, .. } in pipelines {
            let trouble = state.get("failed").and_then(Value::as_str);
            let trouble = trouble.map(|why| format!("  failed: {why}")).unwrap_or_default();
            writeln!(out, "{pipeline}  {letters} letters  {bytes} bytes{trouble}")?;
        }
        Ok(Exit::Ok)
    }

    fn list(&self, client: &Client, pipeline: &str) -> Result<Exit, ClientError> {
        let mut from = Some(0);
        while let Some(start) = from {
            let page: Page = client.ask("GET", &format!("/v1/dead/{pipeline}?from={start}"))?;
            self.print_lines(&page.letters, letter_line)?;
            from = page.next;
        }
        Ok(Exit::Ok)
    }

    fn show(&self, client: &Client, pipeline: &str, seq: u64) -> Result<Exit, ClientError> {
        let path = format!("/v1/dead/{pipeline}/{seq}");
        let mut out = stdout().lock();
        if self.output == Output::Json {
            let answer: Box<RawValue> = client.ask("GET", &path)?;
            writeln!(out, "{answer}")?;
            return Ok(Exit::Ok);
        }
        let letter: Letter = client.ask("GET", &path)?;
        let Letter { seq, at, component, generation, code, error, event } = letter;
        let error = printable(&error);
        writeln!(out, "letter      {seq}\nkept        {at}\ncomponent   {component}")?;
        writeln!(out, "generation  {generation}\ncode        {code}\nerror       {error}")?;
        writeln!(out, "event       {event}")?;
        Ok(Exit::Ok)
    }

    fn replay(&self, client: &Client, letters: &Letters) -> Result<Exit, ClientError> {
        let pipeline = &letters.pipeline;
        let mut results = Vec::new();
        for seq in &letters.seqs {
            let path = format!("/v1/dead/{pipeline}/{seq}/replay");
            results.extend(client.ask::<Replayed>("POST", &path)?.results);
        }
        // What is refused again becomes a new letter, behind those that are there now.
        let end = if letters.all { end(client, pipeline)? } else { 0 };
        let mut from = Some(0);
        while let Some(start) = from.filter(|start| *start < end) {
            let path = format!("/v1/dead/{pipeline}/replay?from={start}&before={end}");
            let replayed: Replayed = client.ask("POST", &path)?;
            results.extend(replayed.results);
            from = replayed.next;
        }
        self.print_lines(&results, result_line)?;
        let is_refused =
            |result: &Value| result["code"].is_string() || result["status"] == "dead-lettered";
        let refused = results.iter().filter(|result| is_refused(result)).count();
        if self.output == Output::Text {
            let replayed = results.len() - refused;
            writeln!(stderr(), "{replayed} replayed, {refused} refused again")?;
        }
        Ok(if refused == 0 { Exit::Ok } else { Exit::Refused })
    }

    fn purge(&self, client: &Client, letters: &Letters) -> Result<Exit, ClientError> {
        let pipeline = &letters.pipeline;
        let mut purged = 0;
        for seq in &letters.seqs {
            let path = format!("/v1/dead/{pipeline}/{seq}");
            purged += client.ask::<Purged>("DELETE", &path)?.purged;
        }
        if letters.all {
            purged += client.ask::<Purged>("DELETE", &format!("/v1/dead/{pipeline}"))?.purged;
        }
        match self.output {
            Output::Text => writeln!(stdout(), "{purged} purged")?,
            Output::Json => writeln!(stdout(), "{{\"purged\":{purged}}}")?,
        }
        Ok(Exit::Ok)
    }

    /// Prints one line for each of `values`.
    fn print_lines(&self, values: &[Value], line: fn(&Value) -> String) -> io::Result<()> {
        let mut out = stdout().lock();
        for value in values {
            match self.output {
                Output::Text => writeln!(out, "{}", line(value))?,
                Output::Json => writeln!(out, "{value}")?,
            }
        }
        Ok(())
    }
}

/// The number after the last letter of `pipeline`.
fn end(client: &Client, pipeline: &str) -> Result<u64, ClientError> {
    let Summaries { pipelines } = client.ask("GET", "/v1/dead")?;
    let known = pipelines.iter().find(|summary| summary.pipeline == pipeline);
    let none = || format!("there are no dead letters of a pipeline `{pipeline}`");
    known.map(|summary| summary.next).ok_or_else(|| ClientError::Refused(none()))
}

fn letter_line(letter: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let (at, component, code) = (&letter["at"], &letter["component"], &letter["code"]);
    let (id, kind) = (text(&letter["event"]["id"]), text(&letter["event"]["type"]));
    let (at, component, code, error) = (text(at), text(component), text(code), &letter["error"]);
    format!("{}  {at}  {component}  {code}  {kind}  {id}  {}", letter["seq"], text(error))
}

fn result_line(result: &Value) -> String {
    let text = |key: &str| printable(result[key].as_str().unwrap_or_default());
    let line =
        format!("{}  {}  {}  {}", result["seq"], text("id"), text("status"), text("message"));
    line.trim_end().to_owned()
}

/// What publishers and plugins wrote, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
