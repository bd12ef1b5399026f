//! Live hubs: channels, history and subscribers, and the protocols that reach them.

mod access;
mod allowance;
mod app;
mod backplane;
mod cache;
mod cursor;
mod durable;
mod echo;
mod endpoint;
mod filter;
mod history;
mod hub;
mod hubs;
mod index;
mod keeper;
mod message;
mod origins;
mod parcel;
mod pattern;
mod presence;
mod protocol;
mod rooms;
mod session;
mod settings;
mod stream;
mod subscriber;
mod subscription;
mod upgrade;

pub use access::{Access, Reason};
pub(crate) use access::{Admission, Denied, Publisher, bearer};
pub use app::{
    App, AppLimits, AppSettings, AppStats, Apps, NoticeKind, Refused, WebhookSettings,
    mounts as app_mounts,
};
pub(crate) use app::{AppIntake, Publication, Verdicts};
pub(crate) use backplane::{Relay, Strange, Waiting};
pub use cursor::{Cursor, CursorError, Epoch};
pub use durable::FOLDER;
pub(crate) use echo::SOCKET_ATTRIBUTE;
pub use endpoint::mounts;
pub(crate) use endpoint::{check_open, start_session, turn_away};
pub use history::HistoryLimits;
pub use hub::{Hub, HubStats, Joined, Start};
pub use hubs::Hubs;
pub use message::{FRAME_LEN_MAX, GapReason, Missed, Piece, Post};
pub(crate) use origins::check as check_origin;
pub use parcel::Parcel;
pub use pattern::{Channel, NAME_LEN_MAX, NameError, Pattern};
#[doc(hidden)]
pub use session::Mirror;
pub(crate) use session::{Intake, Results, SocketLimits, Terms};
pub use settings::HubSettings;
pub use subscriber::{QueueLimits, SlowPolicy};
pub use subscription::{Gap, JoinError, Next, Subscription};
pub(crate) use upgrade::accept as accept_websocket;

#[cfg(test)]
mod tests;
