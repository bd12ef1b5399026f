//! What everything that talks to a RabbitMQ broker shares: where it is, the connection, what is
//! declared there.
//!
//! Settings become an `Address` and a `Topology` without I/O; a `Link` keeps one connection
//! up for all that borrow it.

mod address;
mod check;
mod dial;
mod link;
mod tables;
mod topology;

pub(crate) use address::{Address, BrokerUrl, Tls};
pub(crate) use check::{Settings, short};
pub(crate) use dial::{Session, words};
pub(crate) use link::{Link, LinkState, LinkStatus, jitter};
pub(crate) use tables::{Exchange, Queue, QueueKind};
pub(crate) use topology::{OpenError, Topology, open, prepare};
