//! Comma-separated values as RFC 4180 has them: the first line names the columns.

use super::TableError;
use super::rows::Rows;

/// Reads a table whose keys are in the column `key`, the first one unless it is named.
///
/// A row becomes a JSON object of its other columns; all values are strings, as CSV has no types.
pub(super) fn rows(text: &str, key: Option<&str>) -> Result<Rows, TableError> {
    let mut records = Records { rest: text, line: 1 };
    let columns = records.next().transpose()?.map(|(_, columns)| columns).unwrap_or_default();
    if columns.is_empty() {
        return Err(TableError("it is empty; its first line names the columns".to_owned()));
    }
    let at = match key {
        None => 0,
        Some(key) => columns.iter().position(|column| column == key).ok_or_else(|| {
            let known = columns.join("`, `");
            TableError(format!("it has no column `{key}`, it has `{known}`"))
        })?,
    };
    let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let mut rows = Rows::default();
    for record in records {
        let (line, fields) = record?;
        if fields.len() != columns.len() {
            let (has, wants) = (fields.len(), columns.len());
            return Err(TableError(format!("{has} fields where {wants} are named")).at(line));
        }
        let others = names.iter().zip(&fields).enumerate().filter(|(column, _)| *column != at);
        let write = |out: &mut String| {
            out.push('{');
            for (index, (_, (name, value))) in others.enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(name);
                out.push(':');
                out.push_str(&quoted(value));
            }
            out.push('}');
        };
        rows.add(&fields[at], write).map_err(|error| error.at(line))?;
    }
    Ok(rows)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The records of a text, each with the line that it begins on; empty lines are passed over.
struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<(usize, Vec<String>), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) =
            self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n"))
        {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            match self.field() {
                Ok((field, is_last)) => {
                    fields.push(field);
                    if is_last {
                        return Some(Ok((line, fields)));
                    }
                }
                Err(error) => {
                    self.rest = "";
                    return Some(Err(error.at(line)));
                }
            }
        }
    }
}

impl Records<'_> {
    /// The next field, and whether it is the last of its record.
    fn field(&mut self) -> Result<(String, bool), TableError> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let field = &self.rest[..end];
        self.rest = &self.rest[end..];
        let is_last = self.pass();
        let field = if is_last { field.strip_suffix('\r').unwrap_or(field) } else { field };
        Ok((field.to_owned(), is_last))
    }

    /// The same for a field in quotes, where two stand for one.
    fn quoted(&mut self) -> Result<(String, bool), TableError> {
        let mut field = String::new();
        loop {
            let inside = &self.rest[1..];
            let end = inside.find('"').ok_or_else(|| {
                TableError("a field begins with a quote and does not end with one".to_owned())
            })?;
            field.push_str(&inside[..end]);
            self.rest = &inside[end + 1..];
            if !self.rest.starts_with('"') {
                break;
            }
            field.push('"');
        }
        self.line += field.matches('\n').count();
        self.rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        if !self.rest.is_empty() && !self.rest.starts_with([',', '\n']) {
            return Err(TableError("something follows a field in quotes".to_owned()));
        }
        Ok((field, self.pass()))
    }

    /// Passes over what ends a field; answers whether that ends the record too.
    fn pass(&mut self) -> bool {
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return false;
        }
        if let Some(rest) = self.rest.strip_prefix('\n') {
            self.rest = rest;
            self.line += 1;
        }
        true
    }
}
