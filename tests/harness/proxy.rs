//! What networks do to connections, between a daemon and its broker: delays, cuts, silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What happens to every connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weather {
    /// Bytes pass as they come.
    Fair,
    /// Every piece of bytes takes this much longer.
    Slow(Duration),
    /// Connections stay open, and nothing passes in either direction.
    Silent,
    /// Connections are reset, and so is every new one.
    Closed,
}

/// The weather, and how often all connections were cut.
type Outlook = (Weather, u64);

/// A way to `127.0.0.1:PORT` whose weather a test makes.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Outlook>,
    accepted: Arc<AtomicU64>,
    /// Accepts for as long as the proxy lives.
    _running: JoinSet<()>,
}

impl Proxy {
    /// A way to the port, in fair weather.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let weather = watch::Sender::new((Weather::Fair, 0));
        let accepted = Arc::<AtomicU64>::default();
        let mut running = JoinSet::new();
        running.spawn(accept(listener, port, weather.subscribe(), Arc::clone(&accepted)));
        Self { address, weather, accepted, _running: running }
    }

    /// Where it listens, on the loopback address.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the weather, for open connections as well.
    pub fn set(&self, weather: Weather) {
        self.weather.send_modify(|(now, _)| *now = weather);
    }

    /// Resets all open connections; new ones are accepted.
    pub fn cut(&self) {
        self.weather.send_modify(|(_, cuts)| *cuts += 1);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    port: u16,
    weather: watch::Receiver<Outlook>,
    accepted: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        connections.spawn(connection(near, port, weather.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes in both directions until an end hangs up or the weather ends it.
async fn connection(near: TcpStream, port: u16, mut weather: watch::Receiver<Outlook>) {
    let (now, cuts) = *weather.borrow();
    // Whatever is still in them, the other end sees a reset.
    near.set_zero_linger().ok();
    if now == Weather::Closed {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    far.set_zero_linger().ok();
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let (there, back) = (weather.clone(), weather.clone());
    select! {
        () = pass(near_in, far_out, there) => {}
        () = pass(far_in, near_out, back) => {}
        _ = weather.wait_for(|(now, count)| *now == Weather::Closed || *count != cuts) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Outlook>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let Ok(now) = weather.wait_for(|(now, _)| *now != Weather::Silent).await.map(|now| now.0)
        else {
            return;
        };
        if let Weather::Slow(delay) = now {
            sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
