//! Breaks the daemon and what it depends on under load, again and again, and counts what was lost.
//!
//! `weir-bench chaos [FILE [PART…]]` runs all parts, or those that are named, prints a row for each fault and
//! figure, and keeps the table in the file. It fails if anything that was acknowledged is lost.

mod broker;
mod daemon;
mod disk;
mod load;
mod network;
mod outage;
mod overload;
mod refusals;
mod report;
mod scene;
mod spool;

use std::process;

use weir_harness::broker::Broker;

use self::report::Report;

/// The parts of the run, in order.
const PARTS: &[&str] =
    &["daemon", "broker", "network", "refusals", "spool", "overload", "outage", "disk"];

/// Runs the parts that `arguments` name after the file.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) {
    let broker = match Broker::private().await {
        Ok(broker) => broker,
        Err(missing) => return missing.skip(),
    };
    let mut report = Report::at(arguments.next());
    let mut parts: Vec<String> = arguments.collect();
    if parts.is_empty() {
        parts = PARTS.iter().map(|part| (*part).to_owned()).collect();
    }
    for part in parts {
        match part.as_str() {
            "daemon" => daemon::run(&broker, &mut report).await,
            "broker" => broker::run(&broker, &mut report).await,
            "network" => network::run(&broker, &mut report).await,
            "disk" => disk::run(&broker, &mut report).await,
            "refusals" => refusals::run(&broker, &mut report).await,
            "spool" => spool::run(&mut report).await,
            "overload" => overload::run(&broker, &mut report).await,
            "outage" => outage::run(&broker, &mut report).await,
            other => panic!("no part `{other}`; there are {PARTS:?}"),
        }
    }
    if report.lost() > 0 {
        process::exit(1);
    }
}
