//! Where HTTP meets the daemon: listeners that outlive reloads, and the routes they serve.
//!
//! Connections come in through a [`Listener`], which takes each request to the [`Endpoint`] that
//! the routes in force name for its path; endpoints read bodies through [`read_body`]. The other way, an
//! [`HttpClient`] asks servers that the settings name, and [`Outbound`] those that plugins may ask.

mod asset;
mod body;
mod client;
mod connection;
mod listener;
mod outbound;
mod pace;
mod problem;
mod route;
mod stats;

pub use asset::Asset;
pub use body::{BodyError, BodyLimits, ENCODINGS, read_body};
pub use client::{ClientError, HttpClient, shown};
pub use listener::{Listener, ListenerLimits};
pub use outbound::{Answer, Outbound, OutboundError, Question};
pub use pace::{Deadlines, Socket};
pub use problem::{problem, status_of};
pub use route::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request, Routes, SharedRoutes};
pub use stats::{Cut, ListenerStats, STATUSES};

#[cfg(test)]
mod tests;
