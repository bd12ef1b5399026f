//! Tables to look things up in: loaded once, shared by all who ask, replaced while they do.
//!
//! A pipeline file declares them (`[table.NAME]`); [`LookupTable::prepare`] reads the file when a
//! generation is prepared, [`LookupTable::replace`] puts what it read in force when the generation
//! is. Whoever looks something up sees one state of the table for a whole batch of keys.

mod csv;
mod json;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use maxminddb::Reader;
use serde::Deserialize;
use thiserror::Error;

use self::rows::Rows;

/// Largest file of a table: the free city database of MaxMind has 70 MB.
pub const FILE_MAX: u64 = 256 << 20;

/// What the file of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// One JSON object that has the values by key.
    Json,
    /// A JSON object on each line.
    Jsonl,
    /// A database of networks as MaxMind makes them; keys are IP addresses.
    Mmdb,
}

impl Format {
    /// All of them, as files say them; also the extensions that files of them have.
    pub const NAMES: [&str; 4] = ["csv", "json", "jsonl", "mmdb"];

    /// The format that files with this extension have.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "csv" => Self::Csv,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::Jsonl,
            "mmdb" => Self::Mmdb,
            _ => return None,
        })
    }
}

/// What a pipeline file says about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSettings {
    /// Where the table is.
    pub file: PathBuf,
    /// What it is.
    pub format: Format,
    /// The column or field that has the keys; `None` for the first column of a CSV file.
    pub key: Option<String>,
}

/// Why a table cannot be loaded; in words for who wrote the pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the table cannot be loaded: {0}")]
pub struct TableError(pub(crate) String);

/// A table and what is in it at present.
#[derive(Debug)]
pub struct LookupTable {
    settings: TableSettings,
    contents: ArcSwap<Contents>,
    /// The file that `contents` came from. Touched once per reload, hence a std mutex.
    stamp: Mutex<Option<Stamp>>,
}

/// What a file held, not in force yet.
#[derive(Debug)]
pub struct Fresh {
    contents: Contents,
    stamp: Stamp,
}

/// Enough to know that a file is the same: device, number, size, time of change.
type Stamp = (u64, u64, u64, i64, i64);

enum Contents {
    Rows(Rows),
    Networks(Box<Reader<Vec<u8>>>),
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows(_) => "Rows",
            Self::Networks(_) => "Networks",
        })
    }
}

impl LookupTable {
    /// A table without anything in it. Does no I/O.
    pub fn new(settings: TableSettings) -> Self {
        let contents = ArcSwap::from_pointee(Contents::Rows(Rows::default()));
        Self { settings, contents, stamp: Mutex::default() }
    }

    /// What tells a table with these settings from others of its pipeline.
    pub fn identity(pipeline: &str, name: &str, settings: &TableSettings) -> String {
        let TableSettings { file, format, key } = settings;
        format!("{pipeline}.{name} {format:?} {key:?} {}", file.display())
    }

    /// Reads the file unless what it holds is in force already. Blocks.
    ///
    /// # Errors
    /// If it cannot be read, or is no such table.
    pub fn prepare(&self) -> Result<Option<Fresh>, TableError> {
        let TableSettings { file: path, format, key } = &self.settings;
        let cannot = |error: std::io::Error| TableError(format!("{}: {error}", path.display()));
        let metadata = fs::metadata(path).map_err(cannot)?;
        let stamp = (
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        );
        if *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) == Some(stamp) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(cannot)?;
        file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(TableError(format!("it is larger than {} MiB", FILE_MAX >> 20)));
        }
        let contents = match format {
            Format::Mmdb => networks(bytes)?,
            Format::Csv => Contents::Rows(csv::rows(text(&bytes)?, key.as_deref())?),
            Format::Json => Contents::Rows(json::members(text(&bytes)?)?),
            Format::Jsonl => {
                let key = key.as_deref().unwrap_or("id");
                Contents::Rows(json::lines(text(&bytes)?, key)?)
            }
        };
        Ok(Some(Fresh { contents, stamp }))
    }

    /// Puts `fresh` in force. Who is looking something up right now still sees the old.
    pub fn replace(&self, fresh: Fresh) {
        let Fresh { contents, stamp } = fresh;
        self.contents.store(Arc::new(contents));
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
    }

    /// Where it comes from.
    pub fn file(&self) -> &Path {
        &self.settings.file
    }

    /// Whether it has been loaded.
    pub fn is_loaded(&self) -> bool {
        self.stamp.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Looks `keys` up in one state of the table: calls `found` with the value of each as JSON
    /// text, in order.
    ///
    /// # Errors
    /// The first that `found` answers.
    pub fn look_up<E>(
        &self,
        keys: &[&str],
        mut found: impl FnMut(Option<&str>) -> Result<(), E>,
    ) -> Result<(), E> {
        let contents = self.contents.load();
        for key in keys {
            match &**contents {
                Contents::Rows(rows) => found(rows.get(key))?,
                Contents::Networks(reader) => found(network(reader, key).as_deref())?,
            }
        }
        Ok(())
    }
}

fn networks(bytes: Vec<u8>) -> Result<Contents, TableError> {
    let reader = Reader::from_source(bytes).map_err(|error| TableError(error.to_string()))?;
    Ok(Contents::Networks(Box::new(reader)))
}

/// What the database says about an address. A text that is none is in no network.
fn network(reader: &Reader<Vec<u8>>, key: &str) -> Option<String> {
    let address: IpAddr = key.parse().ok()?;
    let record: serde_json::Value = reader.lookup(address).ok()?.decode().ok()??;
    Some(record.to_string())
}

/// The text of a file, without the mark that some editors begin one with.
fn text(bytes: &[u8]) -> Result<&str, TableError> {
    let text = str::from_utf8(bytes)
        .map_err(|error| TableError(format!("byte {} is not UTF-8", error.valid_up_to())))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
