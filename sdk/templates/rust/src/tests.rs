//! Runs natively with `cargo test`; `weir plugin test` runs the golden files in the sandbox.

use weir_plugin::testing::{Harness, Judged, event};

use crate::Tax;

#[test]
fn orders_are_taxed() {
    let mut tax = Harness::<Tax>::new(r#"{"rate":0.5}"#).unwrap();
    let judged = tax.judge(event().event_type("order").data(r#"{"net":10}"#));
    assert_eq!(judged.texts(), [r#"{"net":10,"tax":5.0}"#]);
    assert_eq!(tax.judge(event().event_type("ping")), Judged::Drop);
}

#[test]
fn a_rate_is_a_fraction() {
    assert!(Harness::<Tax>::new(r#"{"rate":19}"#).is_err());
}
