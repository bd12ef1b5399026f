//! Where HTTP meets the daemon: listeners that outlive reloads, and the routes they serve.

mod problem;
mod route;

pub use problem::problem;
pub use route::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request, Routes, SharedRoutes};
