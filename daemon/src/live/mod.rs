//! Live hubs: channels, history and subscribers, and the protocols that reach them.

mod cursor;
mod endpoint;
mod filter;
mod history;
mod hub;
mod index;
mod message;
mod origins;
mod pattern;
mod protocol;
mod session;
mod stream;
mod subscriber;
mod subscription;
mod upgrade;

pub use cursor::{Cursor, CursorError, Epoch};
pub use endpoint::mounts;
pub(crate) use endpoint::start_session;
pub use history::HistoryLimits;
pub use hub::{Hub, HubSettings, HubStats, Hubs, Joined, Start};
pub use message::{FRAME_LEN_MAX, GapReason, Missed, Piece, Post};
pub(crate) use origins::check as check_origin;
pub use pattern::{Channel, NAME_LEN_MAX, NameError, Pattern};
pub(crate) use session::{Intake, Results, SocketLimits, Terms};
pub use subscriber::{QueueLimits, SlowPolicy};
pub use subscription::{Gap, Next, Subscription, TooMany};
pub(crate) use upgrade::accept as accept_websocket;

#[cfg(test)]
mod tests;
