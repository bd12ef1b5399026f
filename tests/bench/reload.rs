//! 200 reloads under load, half of them of broken files, with 200 subscribers attached.
//!
//! The short form is a test; this is the full one, and fails like it.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::time::Duration;

use weir_harness::endurance::{Plan, reload_under_load};

pub(crate) async fn run() {
    let plan = Plan {
        reloads: 200,
        reload_every: Duration::from_millis(100),
        requests_per_second: 1_000,
        lanes: 20,
        subscribers: 200,
    };
    let findings = reload_under_load(&plan).await;
    println!("\n{} reloads, half of them of broken files", plan.reloads);
    println!("{findings}");
    findings.assert_unnoticed();
}
