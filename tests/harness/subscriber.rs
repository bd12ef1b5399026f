//! A live subscriber over Server-Sent Events or over WebSocket.
//!
//! Both answer the same frames: JSON objects with a `type`, as the protocol `weir.v1` has them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::audience::narrow;
use crate::http::{Connection, request};
use crate::wait::within;

/// One live subscriber.
#[derive(Debug)]
pub struct Subscriber {
    link: Link,
    /// Frames that came together with an earlier one.
    waiting: VecDeque<Value>,
    /// The newest cursor seen.
    cursor: Option<String>,
    /// How the other side closed a WebSocket.
    closed_with: Option<CloseFrame>,
}

#[derive(Debug)]
enum Link {
    Sse { connection: Connection, text: String },
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl Subscriber {
    /// Opens an event stream at `path` and waits for its welcome.
    pub async fn sse(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = Connection::open(address).await.expect("the listener accepts");
        let mut all = vec![("accept", "text/event-stream")];
        all.extend_from_slice(headers);
        connection.send(&request("GET", path, &all, b"")).await.expect("a request can be sent");
        let head = within("the head of an event stream", connection.head()).await;
        let head = head.expect("a reply comes");
        assert_eq!(head.status, 200, "{head:?}");
        let kind = head.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{head:?}");
        let mut subscriber = Self::over(Link::Sse { connection, text: String::new() });
        subscriber.frame("welcome").await;
        subscriber
    }

    /// Opens a WebSocket at `path` and waits for its welcome.
    pub async fn websocket(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the listener accepts");
        Self::upgrade(stream, address, path).await
    }

    /// A WebSocket for which the kernel keeps little: what is not read soon stays with the daemon.
    pub async fn narrow_websocket(address: SocketAddr, path: &str) -> Self {
        let stream = narrow(address).await.expect("the listener accepts");
        Self::upgrade(stream, address, path).await
    }

    async fn upgrade(stream: TcpStream, address: SocketAddr, path: &str) -> Self {
        stream.set_nodelay(true).expect("a fresh socket");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a URL");
        let protocol = HeaderValue::from_static("weir.v1");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let handshake = client_async_with_config(request, stream, Some(config));
        let (socket, _) = within("a handshake", handshake).await.expect("a WebSocket");
        let mut subscriber = Self::over(Link::WebSocket(Box::new(socket)));
        subscriber.frame("welcome").await;
        subscriber
    }

    fn over(link: Link) -> Self {
        Self { link, waiting: VecDeque::new(), cursor: None, closed_with: None }
    }

    /// Sends a frame; only a WebSocket can.
    pub async fn send(&mut self, frame: &Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    /// Sends a WebSocket message as it is.
    pub async fn send_raw(&mut self, message: Message) {
        let Link::WebSocket(socket) = &mut self.link else {
            panic!("an event stream goes one way");
        };
        within("sending a frame", socket.send(message)).await.expect("an open socket");
    }

    /// Subscribes to `channels` and answers the `subok`; `more` adds keys such as `since`.
    pub async fn sub(&mut self, channels: &[&str], more: &Value) -> Value {
        let mut frame = json!({"type": "sub", "ref": "sub", "channels": channels});
        for (key, value) in more.as_object().into_iter().flatten() {
            frame[key] = value.clone();
        }
        self.send(&frame).await;
        self.frame("subok").await
    }

    /// Publishes one event and answers its result.
    pub async fn publish(&mut self, event: &Value) -> Value {
        self.send(&json!({"type": "pub", "ref": "pub", "events": [event]})).await;
        self.frame("pubok").await["results"][0].clone()
    }

    /// The next frame of any type but `ping`, which is answered; `None` when the other side closed.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                if frame["type"] == "ping" {
                    self.pong().await;
                    continue;
                }
                if let Some(cursor) = frame["cursor"].as_str() {
                    self.cursor = Some(cursor.to_owned());
                }
                return Some(frame);
            }
            let more = within("a frame", self.link.read()).await;
            match more {
                Some(Ok(frames)) => self.waiting.extend(frames),
                Some(Err(closed_with)) => self.closed_with = closed_with,
                None => return None,
            }
        }
    }

    /// Says that it is there. A socket that closes meanwhile shows that when it is read.
    async fn pong(&mut self) {
        if let Link::WebSocket(socket) = &mut self.link {
            let pong = Message::text(json!({"type": "pong"}).to_string());
            within("sending a pong", socket.send(pong)).await.ok();
        }
    }

    /// The next frame, which must be of this type.
    pub async fn frame(&mut self, kind: &str) -> Value {
        let frame = self.next().await;
        let frame = frame.unwrap_or_else(|| panic!("closed while waiting for `{kind}`"));
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame, which must be an event with this data.
    pub async fn expect(&mut self, data: &str) -> Value {
        let frame = self.frame("event").await;
        let expected: Value = serde_json::from_str(data).expect("a test expects JSON");
        assert_eq!(frame["event"]["data"], expected, "{frame}");
        frame
    }

    /// Reads to the end and answers the frames that came before it.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// The close code of a WebSocket, once it was closed.
    pub fn close_code(&self) -> Option<u16> {
        self.closed_with.as_ref().map(|frame| frame.code.into())
    }

    /// The newest cursor seen.
    ///
    /// # Panics
    /// Before the first.
    pub fn cursor(&self) -> &str {
        self.cursor.as_deref().expect("a welcome has a cursor")
    }
}

impl Link {
    /// The frames that come next, or how a WebSocket was closed; `None` at the end.
    async fn read(&mut self) -> Option<Result<Vec<Value>, Option<CloseFrame>>> {
        match self {
            Self::Sse { connection, text } => loop {
                if let Some(end) = text.find("\n\n") {
                    let block: String = text.drain(..end + 2).collect();
                    return Some(Ok(sse_frame(&block).into_iter().collect()));
                }
                let chunk = connection.chunk().await.ok()??;
                text.push_str(std::str::from_utf8(&chunk).expect("an event stream is text"));
            },
            Self::WebSocket(socket) => loop {
                match socket.next().await?.ok()? {
                    Message::Text(text) => return Some(Ok(frames(text.as_str()))),
                    Message::Close(frame) => return Some(Err(frame)),
                    _ => {}
                }
            },
        }
    }
}

/// The objects of a text frame, one per line.
fn frames(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().filter(|line| !line.is_empty()).map(parse).collect()
}

/// One block of an event stream as a frame; `None` for a comment.
fn sse_frame(block: &str) -> Option<Value> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name));
        let values: Vec<&str> =
            lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    let mut frame: Value = serde_json::from_str(&field("data:")?).expect("the data is JSON");
    let kind = field("event:").unwrap_or_else(|| "message".to_owned());
    if frame["type"].is_null() {
        frame["type"] = json!(if kind == "message" { "event" } else { &kind });
    }
    if let Some(id) = field("id:") {
        frame["cursor"] = json!(id);
    }
    Some(frame)
}
