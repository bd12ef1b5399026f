//! The table that the run prints and writes: faults survived, and figures beside their targets.
//!
//! A row takes the place of the row of the same name in the file, so that a part of the run can be
//! repeated alone.

use std::fmt::Write as _;
use std::process::Command;
use std::{env, fs};

/// What one kind of fault came to.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) times: usize,
    /// Events that a publisher was told are kept.
    pub(crate) acknowledged: u64,
    /// Acknowledged events that nobody can read in the end.
    pub(crate) lost: u64,
    /// Messages beyond the first of each event.
    pub(crate) repeated: u64,
    /// Events of a publisher that came after a later one of the same publisher.
    pub(crate) reordered: u64,
    pub(crate) note: String,
}

/// A number and what it should be.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) measured: String,
    pub(crate) is_met: bool,
}

/// The rows of both tables.
#[derive(Default)]
pub(crate) struct Report {
    path: Option<String>,
    faults: Vec<String>,
    figures: Vec<String>,
}

const FAULTS: &str = "| fault under load | times | acknowledged | lost | repeated | reordered | |\n\
     |---|---:|---:|---:|---:|---:|---|\n";
const FIGURES: &str = "| figure | target | measured | |\n|---|---|---|---|\n";

impl Report {
    /// The report in the file at `path`, if there is one.
    pub(crate) fn at(path: Option<String>) -> Self {
        let text = path.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let (faults, figures) = text.split_once(FIGURES).unwrap_or((&text, ""));
        let faults = faults.split_once(FAULTS).map_or("", |(_, rows)| rows);
        let rows = |text: &str| {
            text.lines().take_while(|line| line.starts_with("| ")).map(str::to_owned).collect()
        };
        Self { path, faults: rows(faults), figures: rows(figures) }
    }

    /// Adds a row, prints it and writes the file.
    pub(crate) fn fault(&mut self, fault: &Fault) {
        let Fault { name, times, acknowledged, lost, repeated, reordered, note } = fault;
        let row = format!(
            "| {name} | {times} | {acknowledged} | {lost} | {repeated} | {reordered} | {note} |"
        );
        self.put(row, |report| &mut report.faults);
    }

    /// Adds a row, prints it and writes the file.
    pub(crate) fn figure(&mut self, figure: &Figure) {
        let Figure { name, target, measured, is_met } = figure;
        let verdict = if *is_met { "met" } else { "**missed**" };
        let row = format!("| {name} | {target} | {measured} | {verdict} |");
        self.put(row, |report| &mut report.figures);
    }

    /// Acknowledged events that were lost, over all rows.
    pub(crate) fn lost(&self) -> u64 {
        self.sum(3)
    }

    #[expect(clippy::print_stdout, reason = "a measurement prints its table")]
    fn put(&mut self, row: String, table: impl Fn(&mut Self) -> &mut Vec<String>) {
        println!("{row}");
        let rows = table(self);
        let name = |row: &str| row.split('|').nth(1).map(str::to_owned);
        match rows.iter_mut().find(|known| name(known) == name(&row)) {
            Some(known) => *known = row,
            None => rows.push(row),
        }
        if let Some(path) = &self.path {
            fs::write(path, self.text()).expect("the file can be written");
        }
    }

    /// The sum of a column of the first table.
    fn sum(&self, column: usize) -> u64 {
        let cell = |row: &String| row.split('|').nth(column + 1)?.trim().parse::<u64>().ok();
        self.faults.iter().filter_map(cell).sum()
    }

    fn text(&self) -> String {
        let mut text = String::from("# What survives which fault\n\n");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = output("uname", &["-sr"]);
        let broker = ["-W", "-f", "RabbitMQ ${Version}", "rabbitmq-server"];
        let (broker, version) = (output("dpkg-query", &broker), env!("CARGO_PKG_VERSION"));
        let (acknowledged, lost) = (self.sum(2), self.lost());
        write!(
            text,
            "Written by `make chaos`; `target/release/weir-bench chaos FILE PART…` repeats parts of it. \
             Publishers send batches of\nevents and send a batch again, with the same ids, until \
             every event in it is acknowledged; the daemon hands\nthem to a durable queue of one \
             node, over a sink with a spool, or to its own log. In the end everything is\nread \
             back. While the broker is in trouble the pipeline is also reloaded with another \
             window.\n\n{cores} cores, {kernel}, {broker}, Weir {version}.\n\n{FAULTS}"
        )
        .expect("a string takes everything");
        for row in &self.faults {
            text.extend([row, "\n"]);
        }
        write!(text, "\n{acknowledged} events acknowledged, {lost} lost.\n\n{FIGURES}")
            .expect("a string takes everything");
        for row in &self.figures {
            text.extend([row, "\n"]);
        }
        text
    }
}

/// What a command prints; empty where it is missing.
fn output(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
