//! A plugin that asks for the capability `clock` and keeps every event.

wit_bindgen::generate!({
    inline: "
        package tests:timekeeper;
        world timekeeper {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/clock@1.0.0;
        }
    ",
    path: "../../../sdk/wit",
    generate_all,
});

use exports::weir::plugin::{lifecycle, transform};
use weir::plugin::clock;
use weir::plugin::types::{Batch, Needs, Outcome, Step, Verdict};

struct Timekeeper;

export!(Timekeeper);

impl lifecycle::Guest for Timekeeper {
    fn configure(_: String, _: Step) -> Result<Needs, String> {
        Ok(Needs { fields: Vec::new(), data: false })
    }

    fn schema() -> Option<String> {
        None
    }
}

impl transform::Guest for Timekeeper {
    fn process(input: Batch) -> Result<Outcome, String> {
        let is_past = |time: &u64| *time <= clock::now();
        let judge = |time| if is_past(time) { Verdict::Keep } else { Verdict::Drop };
        let verdicts = input.times.iter().map(judge).collect();
        Ok(Outcome { verdicts, patches: None, emitted: None, failures: Vec::new() })
    }
}
