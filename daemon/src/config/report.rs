//! Prints faults: with a finger on the spot for people, as JSON for machines.

use std::io::{self, Write};

use miette::{GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;

use super::{Fault, PlainFault};

/// How wide a report for people is. Fixed, so that a report reads the same everywhere.
const WIDTH: usize = 100;

/// For whom to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People.
    Text,
    /// Machines: one document, `{"faults":[…]}`.
    Json,
}

/// The document that [`Format::Json`] prints.
#[derive(Serialize)]
struct Document {
    faults: Vec<PlainFault>,
}

/// Prints `faults` to `out`.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(
    faults: &[Fault],
    out: &mut impl Write,
    format: Format,
    has_color: bool,
) -> io::Result<()> {
    match format {
        Format::Json => {
            let document = Document { faults: faults.iter().map(PlainFault::from).collect() };
            serde_json::to_writer(&mut *out, &document)?;
            writeln!(out)
        }
        Format::Text => {
            for fault in faults {
                writeln!(out, "{}", text(fault, has_color))?;
            }
            Ok(())
        }
    }
}

/// One fault for people: place, snippet with a caret, code, help.
pub fn text(fault: &Fault, has_color: bool) -> String {
    let theme =
        if has_color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        .with_links(false)
        .with_context_lines(1);
    let mut text = format!("{}\n", fault.place());
    let rendered = handler.render_report(&mut text, fault);
    if rendered.is_err() {
        text = format!("{} {}: {}\n", fault.place(), fault.code, fault.message);
    }
    text
}
