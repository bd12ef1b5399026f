//! Sessions over real sockets: a bare HTTP server in front, a WebSocket library on the other end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::event::{Batch, Draft};
use crate::live::{Channel, Hub, HubSettings, Hubs, Post, QueueLimits, SlowPolicy, mounts};
use crate::net::Peer;
use crate::tasks::{Stopper, Tasks};

const LIMIT: Duration = Duration::from_secs(5);

/// A hub that is served.
struct Served {
    hub: Arc<Hub>,
    address: SocketAddr,
    tasks: Tasks,
    stopper: Stopper,
}

async fn serve(settings: HubSettings) -> Served {
    let hubs = Hubs::new(Path::new(""), [("main".to_owned(), settings)]);
    let (tasks, stopper) = (Tasks::default(), Stopper::default());
    let mounts = Arc::new(mounts(&hubs, "public", &tasks, &stopper.stop()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let servers = Tasks::default();
    servers.clone().spawn(async move {
        while let Ok((stream, address)) = listener.accept().await {
            let mounts = Arc::clone(&mounts);
            let service = service_fn(move |request: Request<_>| {
                let mount = mounts.iter().find(|mount| mount.path == request.uri().path());
                let endpoint = Arc::clone(&mount.unwrap().endpoint);
                async move { Ok::<_, hyper::Error>(endpoint.call(request, Peer { address }).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            servers.spawn(connection.with_upgrades());
        }
    });
    Served { hub: hubs.get("main").unwrap(), address, tasks, stopper }
}

impl Served {
    fn publish(&self, channel: &str, data: &[u8]) {
        let mut batch = Batch::default();
        batch.push(&Draft { id: "1", source: "/", event_type: "t", data, ..Draft::default() });
        let channel = Channel::new(channel).unwrap();
        self.hub.publish(&[Post { channel, event: batch.event(0) }]);
    }

    async fn connect(&self) -> Page {
        let request = format!("ws://{}/live/main/ws", self.address).into_client_request().unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (socket, _) = client_async(request, stream).await.unwrap();
        let mut page = Page { socket, lines: Vec::new() };
        assert_eq!(page.next().await["type"], "welcome");
        page
    }

    /// Sends a request by hand and answers what comes back within the first read or two.
    async fn call(&self, request: &str, until: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !String::from_utf8_lossy(&reply).contains(until) {
            let read = timeout(LIMIT, stream.read_buf(&mut reply)).await;
            let text = || String::from_utf8_lossy(&reply).into_owned();
            assert!(read.unwrap_or_else(|_| panic!("only {}", text())).unwrap() > 0);
        }
        // After a 101 the first WebSocket frame may have come along, which is no text.
        String::from_utf8_lossy(&reply).into_owned()
    }
}

struct Page {
    socket: WebSocketStream<TcpStream>,
    lines: Vec<Value>,
}

impl Page {
    async fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(LIMIT, self.socket.next()).await.expect("a message in time")
    }

    async fn next(&mut self) -> Value {
        while self.lines.is_empty() {
            let message = self.message().await.unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            self.lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        self.lines.remove(0)
    }

    /// The code that the connection ends with.
    async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.message().await? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    async fn sub(&mut self, channels: &[&str]) -> Value {
        self.send(&json!({"type": "sub", "ref": 1, "channels": channels})).await;
        self.next().await
    }
}

#[tokio::test]
async fn a_subscriber_gets_its_events() {
    let served = serve(HubSettings::default()).await;
    let mut page = served.connect().await;
    assert_eq!(page.sub(&["a.*"]).await["type"], "subok");
    served.publish("b", b"1");
    served.publish("a.b", b"{\n\"x\": 1\n}");
    let frame = page.next().await;
    assert_eq!(frame["channel"], "a.b");
    assert_eq!(frame["event"]["data"], json!({"x": 1}));
    page.send(&json!({"type": "ping"})).await;
    assert_eq!(page.next().await["type"], "pong");
    page.send(&json!({"type": "pub", "ref": 2, "events": [{}]})).await;
    let error = page.next().await;
    assert_eq!((&error["code"], &error["ref"]), (&json!("forbidden"), &json!(2)));
}

#[tokio::test]
async fn what_waits_is_packed_into_frames() {
    let served = serve(HubSettings::default()).await;
    let mut page = served.connect().await;
    page.sub(&["a"]).await;
    for _ in 0..500 {
        served.publish("a", b"1");
    }
    let (mut frames, mut events) = (0, 0);
    while events < 500 {
        let Message::Text(text) = page.message().await.unwrap().unwrap() else { panic!() };
        frames += 1;
        events += text.lines().count();
    }
    assert!(frames < 50, "{frames} frames");
}

#[tokio::test]
async fn several_commands_come_in_one_frame() {
    let served = serve(HubSettings::default()).await;
    let mut page = served.connect().await;
    let text = "{\"type\":\"ping\"}\n\nnonsense\n{\"type\":\"ping\"}\n";
    page.socket.send(Message::text(text)).await.unwrap();
    for expected in ["pong", "error", "pong"] {
        assert_eq!(page.next().await["type"], expected);
    }
}

#[tokio::test]
async fn abuse_ends_with_its_close_code() {
    let served = serve(HubSettings::default()).await;
    let fragment = || Message::Frame(Frame::message("", OpCode::Data(Data::Text), false));
    let continued = || Message::Frame(Frame::message("", OpCode::Data(Data::Continue), false));
    let fragments = std::iter::once(fragment()).chain(std::iter::repeat_with(continued));
    let abuses: [(u16, Vec<Message>); 4] = [
        (1008, vec![Message::text("nonsense"); 17]),
        (1008, vec![Message::Ping(vec![].into()); 21]),
        (1003, vec![Message::binary(vec![1])]),
        (1008, fragments.take(60_000).collect()),
    ];
    for (code, messages) in abuses {
        let mut page = served.connect().await;
        for message in messages {
            if page.socket.feed(message).await.is_err() {
                break;
            }
        }
        drop(page.socket.flush().await);
        let closed = page.close_code().await;
        assert!(closed == Some(code) || (closed.is_none() && code == 1008), "{code} {closed:?}");
    }
    let left = served.tasks.ended(LIMIT).await;
    assert_eq!(left, 0, "every session ended");
}

#[tokio::test]
async fn a_large_frame_is_refused() {
    let served = serve(HubSettings::default()).await;
    let mut page = served.connect().await;
    drop(page.socket.send(Message::text("x".repeat(300 << 10))).await);
    assert!(matches!(page.close_code().await, Some(1009) | None));
}

#[tokio::test]
async fn a_drain_says_goodbye_after_the_last_event() {
    let served = serve(HubSettings::default()).await;
    let mut page = served.connect().await;
    page.sub(&["a"]).await;
    served.publish("a", b"1");
    served.stopper.ask();
    assert_eq!(page.next().await["type"], "event");
    let bye = page.next().await;
    assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("drain")));
    assert_eq!(page.close_code().await, Some(1012));
    assert_eq!(served.tasks.ended(LIMIT).await, 0);
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_is_cut_where_the_hub_says_so() {
    let queue = QueueLimits { policy: SlowPolicy::Disconnect, ..QueueLimits::default() };
    let served = serve(HubSettings { queue, ..HubSettings::default() }).await;
    let mut page = served.connect().await;
    page.sub(&["a"]).await;
    for _ in 0..20_000 {
        served.publish("a", &[b'1'; 200]);
    }
    assert_eq!(page.close_code().await, Some(4008));
}

#[tokio::test]
async fn an_event_stream_is_served() {
    let served = serve(HubSettings::default()).await;
    served.publish("a", b"1");
    let path = "/live/main/sse?channel=a&last=1";
    let request = format!("GET {path} HTTP/1.1\nhost: x\n\n");
    let reply = served.call(&request, "\"data\":1").await;
    for part in ["content-type: text/event-stream", "retry: ", "event: welcome", "event: message"] {
        assert!(reply.contains(part), "{part} in {reply}");
    }
}

#[tokio::test]
async fn the_history_is_read_page_by_page() {
    let served = serve(HubSettings::default()).await;
    let before = served.hub.cursor();
    served.publish("a", b"1");
    served.publish("b", b"2");
    served.publish("a", b"3");
    let request = format!("GET /live/main/history?channel=a&since={before} HTTP/1.1\nhost: x\n\n");
    let reply = served.call(&request, "]}").await;
    let body: Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["cursor"], served.hub.cursor().to_string());
    assert_eq!(body["gaps"], json!([]));
    assert_eq!(body["events"][1]["event"]["data"], 3);
    assert_eq!(body["events"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn odd_requests_are_refused() {
    let served = serve(HubSettings::default()).await;
    let handshake = "host: x\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (status, request) in [
        ("405", "POST /live/main/ws HTTP/1.1\nhost: x\n\n".to_owned()),
        ("426", "GET /live/main/ws HTTP/1.1\nhost: x\n\n".to_owned()),
        ("426", format!("GET /live/main/ws HTTP/1.0\n{handshake}\n{key}\n\n")),
        ("400", format!("GET /live/main/ws HTTP/1.1\n{handshake}\nsec-websocket-key: abc\n\n")),
        ("403", format!("GET /live/main/ws HTTP/1.1\n{handshake}\n{key}\norigin: https://e\n\n")),
        ("101", format!("GET /live/main/ws HTTP/1.1\n{handshake}\n{key}\norigin: http://x\n\n")),
        ("405", "POST /live/main/sse?channel=a HTTP/1.1\nhost: x\n\n".to_owned()),
        ("400", "GET /live/main/sse HTTP/1.1\nhost: x\n\n".to_owned()),
        ("400", "GET /live/main/sse?channel=a&since=b HTTP/1.1\nhost: x\n\n".to_owned()),
        ("403", "GET /live/main/sse?channel=a HTTP/1.1\nhost: x\norigin: null\n\n".to_owned()),
    ] {
        let reply = served.call(&request, "\r\n\r\n").await;
        assert!(reply.split(' ').nth(1) == Some(status), "{status} for {request}: {reply}");
    }
}
