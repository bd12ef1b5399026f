//! `weir journal`: what the logs on the local disk hold.
//!
//! A journal that a daemon has open is read through its admin API, any other from its file.

use std::io::{self, Write, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;
use tracing::{error, warn};

use super::client::{Client, ClientError};
use super::{Exit, Global, Output};
use crate::admin::NEXT;
use crate::config::{DaemonSettings, Environment, Overrides};
use crate::live;
use crate::sinks::log;
use crate::spool;
use crate::store::{self, StoreError, Volume, write_lines};

/// Bytes of records that are read from a file at once.
const PAGE: usize = 1 << 20;

/// The folders of journals that hold events as they came.
const FOLDERS: &[&str] = &[log::FOLDER, spool::FOLDER, live::FOLDER];

/// How long a request for what follows may wait, in seconds.
const WAIT: u64 = 20;

/// How long a daemon that has a file open may take to say so.
const LISTED_WITHIN: Duration = Duration::from_secs(2);

/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Look into journals: what logs, spools and hubs keep on the local disk.
#[derive(Debug, Args)]
pub(super) struct Journal {
    #[command(subcommand)]
    command: Command,
    /// Address of the daemon's admin API [default: as in weir.toml]
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Directory of the journals, for when no daemon runs [default: as in weir.toml]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the journals
    Ls {
        /// Form of what is printed
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print events as JSON lines, oldest first
    Read {
        /// Name of the journal, such as `logs/demo.log`
        name: String,
        /// Number of the first event [default: the oldest]
        #[arg(long, default_value_t, hide_default_value = true, value_name = "SEQ")]
        from: u64,
        /// Most events to print
        #[arg(long, value_name = "EVENTS")]
        limit: Option<u64>,
        /// Go on with new events as they come
        #[arg(long)]
        follow: bool,
    },
    /// Read everything and say what is missing or damaged; exit code 3 if anything is
    Verify {
        /// Name of the journal [default: all]
        name: Option<String>,
        /// Form of what is printed
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Why a command gave up.
#[derive(Debug, Error)]
enum JournalError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no journal `{0}`; `weir journal ls` lists those that are")]
    Unknown(String),
    #[error("new events come only while a daemon runs, and none answers at {0}")]
    NothingToFollow(SocketAddr),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A journal as `ls` shows it.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    name: String,
    first: u64,
    next: u64,
    events: u64,
    bytes: u64,
}

/// The answer to `/v1/journals`.
#[derive(Debug, Deserialize)]
struct Served {
    journals: Vec<Listed>,
}

/// What a verification found.
#[derive(Debug, Serialize)]
struct Verified {
    name: String,
    events: u64,
    /// Events between the first and the last that are not there or cannot be read.
    missing: u64,
}

impl Journal {
    pub(super) fn run(self, global: &Global) -> Exit {
        let Self { command, admin, data_dir } = self;
        let overrides = Overrides { admin, data_dir, listen: None };
        let path = global.config.as_deref();
        // Faults elsewhere in the settings do not keep anybody from reading a journal.
        let (settings, _) = DaemonSettings::load(path, &overrides, Environment::of_process());
        let done = Reader::new(&settings).and_then(|reader| match command {
            Command::Ls { output } => reader.ls(output),
            Command::Read { name, from, limit, follow } => {
                reader.print(&name, from, limit.unwrap_or(u64::MAX), follow)
            }
            Command::Verify { name, output } => reader.verify(name.as_deref(), output),
        });
        match done {
            Ok(exit) => exit,
            // Whoever reads has read enough.
            Err(JournalError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Err(failure) => {
                error!("{failure}");
                match failure {
                    JournalError::Client(error) => error.exit(),
                    JournalError::Unknown(_) => Exit::Refused,
                    JournalError::NothingToFollow(_) => Exit::Unreachable,
                    _ => Exit::GaveUp,
                }
            }
        }
    }
}

/// A part of a journal as JSON lines.
struct Part {
    text: Vec<u8>,
    next: u64,
}

/// Reads journals wherever they are.
struct Reader {
    client: Client,
    admin: SocketAddr,
    data_dir: PathBuf,
    /// The journals that the daemon has open; nothing if there is none.
    served: Vec<Listed>,
    is_served: bool,
}

impl Reader {
    fn new(settings: &DaemonSettings) -> Result<Self, JournalError> {
        let client = Client::new(settings.admin);
        let served: Option<Served> = match client.ask("GET", "/v1/journals") {
            Ok(served) => Some(served),
            Err(ClientError::Unreachable(..)) => None,
            Err(error) => return Err(error.into()),
        };
        let is_served = served.is_some();
        let served = served.map(|served| served.journals).unwrap_or_default();
        let data_dir = settings.data_dir.clone();
        Ok(Self { client, admin: settings.admin, data_dir, served, is_served })
    }

    /// Every journal, whoever has it open.
    fn all(&self) -> Result<Vec<Listed>, JournalError> {
        let mut all: Vec<Listed> = Vec::new();
        for (name, path) in store::files(&self.data_dir, FOLDERS) {
            if self.served.iter().any(|served| served.name == name) {
                continue;
            }
            let stats = match Volume::open(&path) {
                Ok(volume) => volume.stats(),
                Err(StoreError::Locked(_)) if let Some(listed) = self.listed_soon(&name) => {
                    all.push(listed);
                    continue;
                }
                Err(error) => {
                    warn!(journal = name, %error, "a journal cannot be opened");
                    continue;
                }
            };
            let (first, next, events, bytes) = (stats.first, stats.next, stats.events, stats.bytes);
            all.push(Listed { name, first, next, events, bytes });
        }
        let again = |listed: &Listed| Listed { name: listed.name.clone(), ..*listed };
        all.extend(self.served.iter().map(again));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn ls(&self, output: Output) -> Result<Exit, JournalError> {
        let all = self.all()?;
        let mut out = stdout().lock();
        if output == Output::Json {
            serde_json::to_writer(&mut out, &all).map_err(io::Error::from)?;
            writeln!(out)?;
            return Ok(Exit::Ok);
        }
        let width = all.iter().map(|journal| journal.name.len()).max().unwrap_or(0).max(4);
        writeln!(out, "{:<width$}  {:>12}  {:>12}  {:>12}", "name", "events", "bytes", "from")?;
        for Listed { name, first, events, bytes, .. } in &all {
            writeln!(out, "{name:<width$}  {events:>12}  {bytes:>12}  {first:>12}")?;
        }
        Ok(Exit::Ok)
    }

    fn print(&self, name: &str, from: u64, limit: u64, follow: bool) -> Result<Exit, JournalError> {
        if follow && !self.is_served {
            return Err(JournalError::NothingToFollow(self.admin));
        }
        let name = self.find(name)?;
        let volume = self.volume(&name)?;
        let mut out = stdout().lock();
        let (mut from, mut left) = (from, limit);
        while left > 0 {
            let wait = if follow { WAIT } else { 0 };
            let part = self.part(&name, volume.as_ref(), (from, left, wait))?;
            if part.text.is_empty() && part.next <= from && !follow {
                break;
            }
            left -= part.text.iter().filter(|byte| **byte == b'\n').count() as u64;
            from = part.next;
            out.write_all(&part.text)?;
            out.flush()?;
        }
        Ok(Exit::Ok)
    }

    fn verify(&self, name: Option<&str>, output: Output) -> Result<Exit, JournalError> {
        let all = self.all()?;
        let names = match name {
            Some(name) => vec![self.find(name)?],
            None => all.iter().map(|journal| journal.name.clone()).collect(),
        };
        let mut found = Vec::new();
        for name in names {
            let known = all.iter().find(|journal| journal.name == name);
            let (first, next) = known.map_or((0, 0), |journal| (journal.first, journal.next));
            found.push(self.verify_one(name, first, next)?);
        }
        let mut out = stdout().lock();
        if output == Output::Json {
            serde_json::to_writer(&mut out, &found).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            for Verified { name, events, missing } in &found {
                writeln!(out, "{name}: {events} events, {missing} missing or damaged")?;
            }
        }
        let is_whole = found.iter().all(|journal| journal.missing == 0);
        Ok(if is_whole { Exit::Ok } else { Exit::FoundProblems })
    }

    /// Reads the events from `first` up to `next` and counts those that are not there.
    fn verify_one(&self, name: String, first: u64, next: u64) -> Result<Verified, JournalError> {
        let volume = self.volume(&name)?;
        let mut events = 0;
        let mut from = first;
        while from < next {
            let part = self.part(&name, volume.as_ref(), (from, next - from, 0))?;
            events += part.text.iter().filter(|byte| **byte == b'\n').count() as u64;
            from = part.next.max(from + 1);
        }
        Ok(Verified { name, events, missing: (next - first).saturating_sub(events) })
    }

    /// The full name of the journal that somebody calls `name`.
    fn find(&self, name: &str) -> Result<String, JournalError> {
        let served = self.served.iter().map(|journal| journal.name.clone());
        let files = store::files(&self.data_dir, FOLDERS).into_iter().map(|(name, _)| name);
        let mut all: Vec<String> = served.chain(files).collect();
        all.sort();
        all.dedup();
        let is_meant = |known: &&String| {
            known.as_str() == name || known.rsplit_once('/').is_some_and(|(_, end)| end == name)
        };
        let meant: Vec<&String> = all.iter().filter(is_meant).collect();
        match meant[..] {
            [one] => Ok(one.clone()),
            _ => Err(JournalError::Unknown(name.to_owned())),
        }
    }

    /// The file of a journal that no daemon serves.
    fn volume(&self, name: &str) -> Result<Option<Volume>, JournalError> {
        if self.served.iter().any(|served| served.name == name) {
            return Ok(None);
        }
        let path = self.data_dir.join(format!("{name}.{}", store::EXTENSION));
        match Volume::open(Path::new(&path)) {
            Err(StoreError::Locked(_)) if self.listed_soon(name).is_some() => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }

    /// A journal that the daemon has opened since it was asked, as one that starts does.
    fn listed_soon(&self, name: &str) -> Option<Listed> {
        let deadline = Instant::now() + LISTED_WITHIN;
        while self.is_served && Instant::now() < deadline {
            let served: Served = self.client.ask("GET", "/v1/journals").ok()?;
            let found = served.journals.into_iter().find(|listed| listed.name == name);
            if found.is_some() {
                return found;
            }
            thread::sleep(LOOK_EVERY);
        }
        None
    }

    /// Up to `limit` events from number `from` on, after up to `wait` seconds.
    fn part(
        &self,
        name: &str,
        volume: Option<&Volume>,
        (from, limit, wait): (u64, u64, u64),
    ) -> Result<Part, JournalError> {
        let Some(volume) = volume else {
            let limit = limit.min(u64::from(u32::MAX));
            let path = format!("/v1/journals/{name}?from={from}&limit={limit}&wait={wait}");
            let answer = self.client.send("GET", &path)?;
            let next = answer.headers.get(NEXT).and_then(|next| next.to_str().ok()?.parse().ok());
            let next = next.unwrap_or(from);
            return Ok(Part { text: answer.body.to_vec(), next });
        };
        let records = volume.read(from, PAGE)?;
        let mut part = Part { text: Vec::new(), next: from };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut lines = 0;
        for stored in &records {
            if lines >= limit {
                return Ok(part);
            }
            let from = part.next.max(stored.seq);
            // What is no batch of events is as good as damaged; it is stepped over.
            let next = write_lines(stored, from, limit - lines, &mut part.text);
            part.next = next.unwrap_or(stored.seq + u64::from(stored.record.events.max(1)));
            lines += usize::try_from(part.next - from).unwrap_or(usize::MAX);
        }
        if records.is_empty() {
            part.next = part.next.max(volume.stats().next);
        }
        Ok(part)
    }
}
