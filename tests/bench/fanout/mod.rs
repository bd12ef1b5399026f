//! What a delivery to a live subscriber and an idle subscriber cost, and what one that is slow or
//! many that leave do to the others; on the same load beside the servers that do something like it.
//!
//! `WEIR_BENCH_SHARE=0.05` measures with that share of the subscribers and the time, which shows
//! that everything works and nothing more.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

mod measure;
mod publisher;
mod server;

use std::env;
use std::time::Duration;

use self::measure::{Figures, measure};
use self::server::Server;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Subscribers of the same channel.
    subscribers: u64,
    /// Subscribers that get nothing, and those that leave all at once.
    idle: u64,
    /// How long each load lasts.
    duration: Duration,
    /// Subscribers that come one after the other, before and after that.
    arrivals: usize,
    /// Events of 4 KiB that come to a subscriber that reads nothing.
    flood: usize,
}

impl Sizes {
    fn chosen() -> Self {
        let share = env::var("WEIR_BENCH_SHARE").map_or(1.0, |share| {
            share.parse::<f64>().expect("WEIR_BENCH_SHARE is a number").clamp(0.001, 1.0)
        });
        let part = |whole: f64| (whole * share).ceil().max(10.0);
        Self {
            subscribers: part(1_000.0) as u64,
            idle: part(5_000.0) as u64,
            duration: Duration::from_secs(5).mul_f64(share.max(0.1)),
            arrivals: part(400.0) as usize,
            flood: 4_000,
        }
    }
}

/// A promise: its name, its limit, what was measured, and whether more is better.
type Promise = (&'static str, f64, f64, bool);

pub(crate) async fn run() {
    let sizes = Sizes::chosen();
    let Sizes { subscribers, idle, duration, .. } = sizes;
    println!("\nFan-out of events of 150 bytes, {subscribers} subscribers, {duration:?} each");
    println!(
        "{:<26}{:>9}{:>9}{:>9}{:>14}{:>9}",
        "", "p50 ms", "p99 ms", "µs CPU", "flat out/s", "µs CPU"
    );
    let mut all: Vec<Figures> = Vec::new();
    for start in Server::ALL {
        let server = match start().await {
            Ok(server) => server,
            Err(missing) => {
                println!("*** SKIPPED: {missing} ***");
                continue;
            }
        };
        let figures = measure(&server, sizes).await;
        let Figures { paced, flat, .. } = &figures;
        println!(
            "{:<26}{:>9.1}{:>9.1}{:>9.2}{:>14.0}{:>9.2}",
            figures.name, paced.half, paced.most, paced.cpu, flat.rate, flat.cpu
        );
        all.push(figures);
    }
    println!("    20 events a second, how long each took and the server's CPU time per delivery;");
    println!("    then bursts of {}, each once the last has arrived everywhere", measure::BURST);

    println!("\n{idle} idle subscribers; one that reads nothing; {idle} that leave at once");
    println!(
        "{:<26}{:>9}{:>12}{:>12}{:>9}{:>12}{:>12}",
        "", "KiB each", "p99 before", "with it ms", "its KiB", "connect p99", "after ms"
    );
    for figures in &all {
        let Figures { name, idle, stalled, before, after, .. } = figures;
        println!(
            "{name:<26}{idle:>9.1}{:>12.1}{:>12.1}{:>9}{before:>12.1}{after:>12.1}",
            stalled.without, stalled.with, stalled.kib
        );
    }
    judge(&all);
}

/// Says which promises are kept.
fn judge(all: &[Figures]) {
    let find = |name: &str| all.iter().find(|figures| figures.name == name);
    let (Some(socket), Some(stream)) = (find(server::WEBSOCKET), find(server::SSE)) else { return };
    let moved = (socket.stalled.with / socket.stalled.without - 1.0) * 100.0;
    let promises: [Promise; 9] = [
        ("p99 at 20 events a second, ms", 12.0, socket.paced.most, false),
        ("µs of CPU per delivery there", 11.0, socket.paced.cpu, false),
        ("deliveries a second, flat out", 1e6, socket.flat.rate, true),
        ("µs of CPU per delivery there", 1.0, socket.flat.cpu, false),
        ("KiB of an idle WebSocket", 6.0, socket.idle, false),
        ("KiB of an idle event stream", 20.0, stream.idle, false),
        ("p99 moved by a stalled one, %", 10.0, moved, false),
        ("KiB of a stalled subscriber", 1024.0, socket.stalled.kib as f64, false),
        ("connect p99 after a mass disconnect, ms", 200.0, socket.after, false),
    ];
    println!();
    for (name, limit, found, is_least) in promises {
        let is_met = if is_least { found >= limit } else { found <= limit };
        let (sign, verdict) =
            (if is_least { "≥" } else { "≤" }, if is_met { "met" } else { "missed" });
        println!("{name:<42}{found:>12.2}  {sign} {limit:<9} {verdict}");
    }
}
