//! A named listener: accepts connections for as long as the daemon lives.
//!
//! It outlives every reload; what it serves is whatever the shared routes hold at the time of a
//! request. Connections beyond the cap, or beyond the memory there is, are told so and closed, and
//! running out of descriptors pauses the accept loop for a moment instead of stopping it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{info, warn};

use super::connection::{Site, converse};
use super::pace::Deadlines;
use super::stats::ListenerStats;
use super::{Peer, SharedRoutes};
use crate::budget::{Budget, Stage};
use crate::tasks::{Stop, Tasks};

/// Connections that the system may hold ready for us.
const BACKLOG: u32 = 4_096;

/// How long accepting rests when the system has no descriptor or memory for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);

/// Descriptors that connections leave for files, the broker and the admin listener.
const RESERVED_DESCRIPTORS: usize = 128;

/// What the descriptors allow where nobody can say how many there are.
const DESCRIPTORS_ASSUMED: usize = 1_024;

/// What one listener allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections at one time.
    pub connections_max: usize,
    /// How long a connection may take for what it does.
    pub deadlines: Deadlines,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        let connections_max = descriptors().saturating_sub(RESERVED_DESCRIPTORS).max(1);
        Self { connections_max, deadlines: Deadlines::default() }
    }
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    name: String,
    socket: TcpListener,
    limits: ListenerLimits,
    stats: Arc<ListenerStats>,
    budget: Arc<Budget>,
}

impl Listener {
    /// Binds `address` (`host:port`, port 0 for any free one) for the listener `name`.
    ///
    /// # Errors
    /// If the address is unknown or taken.
    pub async fn bind(name: &str, address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in lookup_host(address).await? {
            match listen(address) {
                Ok(socket) => {
                    let (limits, name) = (ListenerLimits::default(), name.to_owned());
                    let (stats, budget) = (Arc::default(), Arc::default());
                    return Ok(Self { name, socket, limits, stats, budget });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ListenerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Refuses connections while `budget` is used up.
    #[must_use]
    pub fn with_budget(mut self, budget: &Arc<Budget>) -> Self {
        self.budget = Arc::clone(budget);
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Its counters, which outlive it.
    pub fn stats(&self) -> Arc<ListenerStats> {
        Arc::clone(&self.stats)
    }

    /// Accepts connections as members of `tasks` until `stop` is asked.
    ///
    /// Then no more are accepted, the requests at hand are answered, and idle connections close;
    /// `tasks.ended` waits for that.
    pub fn serve(self, routes: SharedRoutes, tasks: &Tasks, stop: Stop) {
        let Self { name, socket, limits, stats, budget } = self;
        let site = Arc::new(Site::new(name, routes, limits.deadlines, (stats, budget)));
        let accepting = Accepting {
            socket,
            site,
            tasks: tasks.clone(),
            free: Arc::new(Semaphore::new(limits.connections_max)),
        };
        drop(tasks.spawn(accepting.run(stop)));
    }
}

/// The accept loop of one listener.
struct Accepting {
    socket: TcpListener,
    site: Arc<Site>,
    tasks: Tasks,
    /// One permit per connection that may still be opened.
    free: Arc<Semaphore>,
}

impl Accepting {
    async fn run(self, mut stop: Stop) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.asked() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.greet(stream, address),
                Err(error) if is_about_one(&error) => {}
                Err(error) => {
                    self.site.stats.ran_out();
                    warn!(%error, listener = self.site.name, "cannot accept; pausing");
                    sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
        let Self { socket, site, .. } = self;
        drop(socket);
        site.drain();
        info!(listener = site.name, "listener closed");
    }

    fn greet(&self, stream: TcpStream, address: SocketAddr) {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok();
        let permit = permit.filter(|_| !self.site.budget.refuses(Stage::Closed));
        let Some(permit) = permit else {
            self.site.stats.turned_away();
            drop(stream.try_write(too_many().as_bytes()));
            return;
        };
        // Replies are written whole, so waiting for more would only delay them.
        drop(stream.set_nodelay(true));
        let site = Arc::clone(&self.site);
        let handle = self.tasks.spawn(async move {
            converse(stream, Peer { address }, site).await;
            drop(permit);
        });
        drop(handle);
    }
}

/// What a connection beyond the cap, or beyond the memory there is, is told. Not all come back at
/// the same time.
fn too_many() -> String {
    let pause = fastrand::u16(1..=5);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: {pause}\r\n\
         content-length: 0\r\n\r\n"
    )
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether accepting failed because of the connection that was to be accepted.
fn is_about_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// How many descriptors the process may open.
fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(DESCRIPTORS_ASSUMED)
}
