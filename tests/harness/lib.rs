//! What the end-to-end tests and the measurements share.
//!
//! [`Weir`] runs the real binary on a directory of its own, [`Reply`] and [`Subscriber`] are the
//! two ends that an application sees, [`load`] and [`audience`] are many of them at once, and [`process`] is what
//! the kernel says about a running process.
//!
//! ```ignore
//! let weir = Weir::with(PIPELINE).start().await;
//! let mut page = weir.subscribe("main", &["orders"]).await;
//! weir.publish("/in?type=orders", r#"{"id":1}"#).await.accepted();
//! page.expect(r#"{"id":1}"#).await;
//! weir.stop().await.clean();
//! ```

pub mod artifacts;
pub mod audience;
pub mod broker;
pub mod directory;
pub mod endurance;
pub mod http;
pub mod load;
pub mod log;
pub mod mmdb;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod rig;
pub mod subscriber;
pub mod token;
pub mod tools;
pub mod wait;
pub mod weir;

pub use crate::http::{Connection, Reply};
pub use crate::subscriber::Subscriber;
pub use crate::wait::{DEADLINE, eventually, within};
pub use crate::weir::{Exit, Setup, Weir};

#[cfg(test)]
mod tests;
