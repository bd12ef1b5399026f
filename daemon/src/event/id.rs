//! Ids for events whose publisher gave none.
//!
//! The time of arrival comes in, a ULID goes out; nothing is shared between threads.

use std::cell::Cell;

use ulid::{ULID_LEN, Ulid};

thread_local! {
    /// The newest id of this thread, so that ids made within one millisecond still ascend.
    static NEWEST: Cell<Ulid> = const { Cell::new(Ulid::nil()) };
}

/// Room for one id as text.
pub type IdBuffer = [u8; ULID_LEN];

/// A new ULID for an event that arrived at `arrival` (microseconds), written into `buffer`.
///
/// Ids of one thread ascend strictly, also when the clock steps back.
pub fn ulid(arrival: u64, buffer: &mut IdBuffer) -> &str {
    let millis = arrival / 1_000;
    let id = NEWEST.with(|newest| {
        let last = newest.get();
        let next = (millis <= last.timestamp_ms()).then(|| last.increment()).flatten();
        let id = next.unwrap_or_else(|| Ulid::from_parts(millis, fastrand::u128(..)));
        newest.set(id);
        id
    });
    id.array_to_str(buffer)
}
