//! A path whose sockets say what they hear, on the code and behind the listener that all sockets
//! have: what suites for conformance to RFC 6455 talk to. No daemon serves it.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use super::socket::{Close, Socket, SocketLimits};
use crate::live::upgrade;
use crate::net::{Endpoint, Peer, ReplyFuture, Request};
use crate::tasks::Tasks;

/// Bytes of one message: suites send up to 16 MiB.
const MESSAGE_LEN_MAX: usize = 16 << 20;

/// What a suite's socket may hold.
const LIMITS: SocketLimits = SocketLimits { read_len: 1 << 10, message_len_max: MESSAGE_LEN_MAX };

/// How long a handshake may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// A path whose sockets say what they hear.
#[derive(Debug, Default)]
pub struct Mirror {
    tasks: Tasks,
}

impl Endpoint for Mirror {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        Box::pin(async move {
            match upgrade::accept(request) {
                Ok((reply, socket)) => {
                    drop(self.tasks.spawn(serve(socket)));
                    reply
                }
                Err(refusal) => refusal,
            }
        })
    }
}

async fn serve(socket: OnUpgrade) {
    let Ok(Ok(upgraded)) = timeout(UPGRADE_TIMEOUT, socket).await else { return };
    let mut socket = Socket::new(upgraded, LIMITS).await;
    let close = echo(&mut socket).await;
    socket.close(close).await;
}

async fn echo(socket: &mut Socket) -> Close {
    loop {
        let said = match socket.hear().await {
            Ok(Some((data, kind))) => socket.say(data, kind).await,
            // What answers a ping waits in the buffer.
            Ok(None) => Ok(()),
            Err(close) => return close,
        };
        let flushed = match said {
            Ok(()) => socket.flush().await,
            Err(close) => Err(close),
        };
        if let Err(close) = flushed {
            return close;
        }
    }
}
