//! Live hubs: channels, history and subscribers, and the protocols that reach them.

mod hub;

pub use hub::{Hub, Hubs};
