//! One connection attempt: our own socket, TLS, the handshake, each with a deadline.
//!
//! lapin runs each connection on a thread that ends only when its socket does, so a second handle
//! to the socket is kept: shutting that down ends the thread, whatever state lapin is in.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Shutdown, TcpStream as StdStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_compat::CompatExt;
use async_rs::Runtime;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{Broker, Tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For TLS and for AMQP's own handshake, each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open connection.
pub(crate) struct Session {
    /// Counts connections since the link was made; topology is declared once per epoch.
    pub(crate) epoch: u64,
    pub(crate) connection: Connection,
    socket: Socket,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Session {
    /// Ends the connection without a word, whatever state it is in.
    pub(crate) fn kill(&self) {
        self.socket.kill();
    }

    /// Says goodbye, then ends the connection in any case.
    pub(crate) async fn close(&self) {
        let goodbye = self.connection.close(200, "OK".into());
        drop(timeout(CLOSE_TIMEOUT, goodbye).await);
        self.socket.kill();
    }
}

/// A second handle to the socket that lapin owns; dropping it ends the connection.
struct Socket(StdStream);

impl Socket {
    fn kill(&self) {
        // It fails only where the other side was faster.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(crate) struct DialError {
    /// Whether it needs a person: the broker is there and does not want us.
    pub(crate) is_refusal: bool,
    /// What happened, a lowercase fragment.
    pub(crate) reason: String,
}

impl DialError {
    fn transient(reason: impl Into<String>) -> Self {
        Self { is_refusal: false, reason: reason.into() }
    }
}

/// Connects to one broker.
pub(crate) async fn dial(
    broker: &Broker,
    tls: &Tls,
    name: &str,
    epoch: u64,
) -> Result<Session, DialError> {
    let (stream, socket) = connect(broker)
        .await
        .map_err(|error| DialError::transient(format!("cannot reach {broker}: {error}")))?;
    // From here on, leaving early drops `socket`, which ends the stream wherever it is by then.
    let socket = Socket(socket);
    let mut stream = AsyncTcpStream::Plain(stream.compat());
    if broker.is_tls() {
        let config = read_tls(tls).map_err(|reason| DialError { is_refusal: true, reason })?;
        let host = &broker.uri.authority.host;
        stream = within(HANDSHAKE_TIMEOUT, stream.into_tls(host, config.as_ref()))
            .await
            .map_err(|error| DialError::transient(format!("no TLS with {broker}: {error}")))?;
    }
    // lapin asks for the stream once; it does not reconnect unless told to.
    let ready = Mutex::new(Some(stream));
    let take = async move |_, _| {
        let stream = ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    };
    let properties = ConnectionProperties::default()
        .with_connection_name(name.into())
        .with_client_property("product".into(), "weir".into());
    let handshake =
        Connection::connector(broker.uri.clone(), Runtime::tokio_current(), take, properties);
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(connection)) => Ok(Session { epoch, connection, socket }),
        Ok(Err(error)) => Err(DialError {
            is_refusal: is_refusal(&error),
            reason: format!("{broker} does not want us: {}", words(&error)),
        }),
        Err(_) => Err(DialError::transient(format!("{broker} does not answer"))),
    }
}

/// A connected stream for lapin and the second handle to it.
async fn connect(broker: &Broker) -> io::Result<(TcpStream, StdStream)> {
    let authority = &broker.uri.authority;
    let connect = TcpStream::connect((authority.host.as_str(), authority.port));
    let stream = within(CONNECT_TIMEOUT, connect).await?;
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let socket = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, socket))
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn read_tls(tls: &Tls) -> Result<OwnedTLSConfig, String> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let text = |path: &Path| {
        String::from_utf8(read(path)?)
            .map_err(|error| format!("{} is not PEM: {error}", path.display()))
    };
    let cert_chain = tls.ca.as_deref().map(text).transpose()?;
    let identity = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 { pem: read(cert)?, key: read(key)? }),
        _ => None,
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

/// Whether the broker is there and said no to who we are or where we want to go.
fn is_refusal(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH)
    )
}

/// The error as an operator reads it.
pub(crate) fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => format!("{} {}", error.get_id(), error.get_message()),
        _ => error.to_string(),
    }
}
