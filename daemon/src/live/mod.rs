//! Live hubs: channels, history and subscribers, and the protocols that reach them.

mod cursor;
mod filter;
mod history;
mod hub;
mod index;
mod message;
mod mounts;
mod origins;
mod pattern;
mod protocol;
pub(crate) mod session;
mod sse;
mod subscriber;
mod subscription;
mod upgrade;

pub use cursor::{Cursor, CursorError, Epoch};
pub use history::HistoryLimits;
pub use hub::{Hub, HubSettings, HubStats, Hubs, Joined, Start};
pub use message::{FRAME_LEN_MAX, GapReason, Missed, Piece, Post};
pub use mounts::mounts;
pub use pattern::{Channel, NAME_LEN_MAX, NameError, Pattern};
pub use subscriber::{QueueLimits, SlowPolicy};
pub use subscription::{Gap, Next, Subscription, TooMany};

#[cfg(test)]
mod tests;
