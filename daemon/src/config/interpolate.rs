//! `${env:X}`, `${env:X:-default}` and `${file:path}` in string values, after parsing.
//!
//! A value can so never change the structure of a file. Values that came in are marked hidden and
//! remembered as secrets; `$$` stands for one `$`.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use crate::component::{BuildError, Node, Table, Value};

/// The largest file that an interpolation may read. Keys and tokens are far smaller.
const FILE_MAX: u64 = 64 << 10;

/// Variables that files and settings may refer to.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; what is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let pairs = env::vars_os();
        pairs
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where interpolated values come from.
pub(super) struct Interpolation<'a> {
    /// For `env:`.
    pub(super) environment: &'a Environment,
    /// What `file:` is relative to.
    pub(super) dir: &'a Path,
    /// The text of the file, to find places within values.
    pub(super) text: &'a str,
    /// What was wrong.
    pub(super) faults: Vec<BuildError>,
    /// What was put in.
    pub(super) secrets: Vec<String>,
}

impl<'a> Interpolation<'a> {
    pub(super) fn new(environment: &'a Environment, dir: &'a Path, text: &'a str) -> Self {
        Self { environment, dir, text, faults: Vec::new(), secrets: Vec::new() }
    }

    /// Puts values into every string of `table`.
    pub(super) fn table(&mut self, table: &mut Table) {
        for entry in &mut table.entries {
            self.node(&mut entry.node);
        }
    }

    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Table(table) => self.table(table),
            Value::Array(nodes) => nodes.iter_mut().for_each(|node| self.node(node)),
            Value::Text(text) if text.contains('$') => {
                let known = self.secrets.len();
                let replaced = self.text(text, &node.span);
                node.is_hidden = self.secrets.len() > known;
                *text = replaced;
            }
            _ => {}
        }
    }

    /// The string `value`, written at `span`, with values put in.
    fn text(&mut self, value: &str, span: &Range<usize>) -> String {
        let mut out = String::new();
        let mut at = 0;
        while let Some(dollar) = value[at..].find('$') {
            let dollar = at + dollar;
            out.push_str(&value[at..dollar]);
            let rest = &value[dollar + 1..];
            at = dollar + 1;
            if rest.starts_with('$') {
                out.push('$');
                at += 1;
            } else if let Some(inside) = rest.strip_prefix('{') {
                let Some(len) = inside.find('}') else {
                    let place = self.place(value, span, dollar..value.len());
                    let fault = BuildError::new("W0104", "`${` is never closed with `}`");
                    self.faults.push(fault.help("write `$$` for a plain `$`").at(place));
                    return out;
                };
                at += len + 2;
                let place = self.place(value, span, dollar..at);
                out.push_str(&self.value(&inside[..len], place));
            } else {
                out.push('$');
            }
        }
        out.push_str(&value[at..]);
        out
    }

    /// The value of one `${expression}`; empty if it has none, which is a fault then.
    fn value(&mut self, expression: &str, place: Range<usize>) -> String {
        let found = match expression.split_once(':') {
            Some(("env", variable)) => self.variable(variable),
            Some(("file", path)) if !path.is_empty() => self.file(path),
            _ => Err(BuildError::new("W0104", "unknown interpolation").help(
                "write `${env:NAME}`, `${env:NAME:-default}` or `${file:path}`, and `$$` for a plain `$`",
            )),
        };
        found.unwrap_or_else(|fault| {
            self.faults.push(fault.at(place));
            String::new()
        })
    }

    fn variable(&mut self, variable: &str) -> Result<String, BuildError> {
        let (name, default) = match variable.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (variable, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            let message = format!("`{name}` is not the name of an environment variable");
            return Err(BuildError::new("W0104", message));
        }
        // As in a shell, `:-` stands in for an empty value too.
        match (self.environment.get(name), default) {
            (None | Some(""), Some(default)) => Ok(default.to_owned()),
            (Some(value), _) => {
                self.secrets.push(value.to_owned());
                Ok(value.to_owned())
            }
            (None, None) => {
                let message = format!("the environment variable `{name}` is not set");
                let help = format!("set it, or give a default: `${{env:{name}:-default}}`");
                Err(BuildError::new("W0105", message).help(help))
            }
        }
    }

    fn file(&mut self, path: &str) -> Result<String, BuildError> {
        let full = self.dir.join(path);
        let fault = |why: String| {
            BuildError::new("W0106", format!("cannot read `{path}`: {why}"))
                .help(format!("looked for {}", full.display()))
        };
        let mut text = String::new();
        let file = File::open(&full).map_err(|error| fault(plain(&error)))?;
        let read = file.take(FILE_MAX + 1).read_to_string(&mut text);
        let read = read.map_err(|error| fault(plain(&error)))?;
        if read as u64 > FILE_MAX {
            return Err(fault(format!("it is larger than {} KiB", FILE_MAX >> 10)));
        }
        let value = text.trim_end_matches(['\n', '\r']).to_owned();
        self.secrets.push(value.clone());
        Ok(value)
    }

    /// Where `part` of `value` is in the file; all of `span` if the value has escapes.
    fn place(&self, value: &str, span: &Range<usize>, part: Range<usize>) -> Range<usize> {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let quotes = [1, 3, 4].into_iter().find(|quotes| {
            written.get(*quotes..).is_some_and(|written| written.starts_with(value))
        });
        match quotes {
            Some(quotes) => span.start + quotes + part.start..span.start + quotes + part.end,
            None => span.clone(),
        }
    }
}

/// What an I/O error says, without the number that the system gives it.
pub(super) fn plain(error: &std::io::Error) -> String {
    error.kind().to_string()
}
