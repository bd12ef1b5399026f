//! Live hubs: channels, history and subscribers, and the protocols that reach them.

mod cursor;
mod filter;
mod history;
mod hub;
mod index;
mod message;
mod pattern;
mod subscriber;
mod subscription;

pub use cursor::{Cursor, CursorError, Epoch};
pub use history::HistoryLimits;
pub use hub::{Hub, HubSettings, HubStats, Hubs, Joined, Start};
pub use message::{FRAME_LEN_MAX, GapReason, Missed, Piece, Post};
pub use pattern::{Channel, NAME_LEN_MAX, NameError, Pattern};
pub use subscriber::{QueueLimits, SlowPolicy};
pub use subscription::{Gap, Next, Subscription, TooMany};

#[cfg(test)]
mod tests;
