//! Pusher clients on several daemons that share a hub: what they tell each other, and the end of a
//! user's connections.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use weir::auth::signature::Secret;
use weir_harness::{Weir, within};

use crate::brokers;

const KEY: &str = "shop-key";
const SECRET: &str = "shop-secret";

const PIPELINE: &str = r#"
[[source]]
type = "pusher"
app = "shop"

[[sink]]
type = "broadcast"
"#;

async fn daemon(url: &str) -> Weir {
    let settings = format!(
        "[hub.main]\nbackplane = {{ url = \"{url}\" }}\n[app.shop]\nid = \"1\"\nkey = \"{KEY}\"\n\
         secret = \"{SECRET}\"\nclient_events = true"
    );
    Weir::with(PIPELINE).settings(&settings).start().await
}

fn signed(text: &str) -> String {
    format!("{KEY}:{}", Secret::new(SECRET).sign(&[text.as_bytes()]))
}

/// A client of the Pusher protocol.
struct Page {
    socket: WebSocketStream<TcpStream>,
    id: String,
}

impl Page {
    async fn open(weir: &Weir) -> Self {
        let stream = TcpStream::connect(weir.public).await.expect("the listener accepts");
        let url = format!("ws://{}/app/{KEY}?protocol=7", weir.public);
        let (socket, _) = within("a handshake", client_async(url, stream)).await.expect("a socket");
        let mut page = Self { socket, id: String::new() };
        let greeting = page.event("pusher:connection_established").await;
        let data: Value = text_of(&greeting["data"]);
        data["socket_id"].as_str().expect("an id").clone_into(&mut page.id);
        page
    }

    async fn send(&mut self, event: &Value) {
        let message = Message::text(event.to_string());
        within("sending", self.socket.send(message)).await.expect("an open socket");
    }

    /// The next event, which must have this name.
    async fn event(&mut self, name: &str) -> Value {
        let message = within(name, self.socket.next()).await.expect("more").expect("a message");
        let event: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
        assert_eq!(event["event"], name, "{event}");
        event
    }

    async fn subscribe(&mut self, channel: &str) {
        let auth = signed(&format!("{}:{channel}", self.id));
        let data = json!({"channel": channel, "auth": auth});
        self.send(&json!({"event": "pusher:subscribe", "data": data})).await;
        self.event("pusher_internal:subscription_succeeded").await;
    }

    async fn sign_in(&mut self, user: &str) {
        let data = json!({"id": user}).to_string();
        let auth = signed(&format!("{}::user::{data}", self.id));
        let data = json!({"auth": auth, "user_data": data});
        self.send(&json!({"event": "pusher:signin", "data": data})).await;
        self.event("pusher:signin_success").await;
    }

    /// The code that it is closed with.
    async fn closed(&mut self) -> u16 {
        loop {
            match within("a close", self.socket.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("no close but {other:?}"),
            }
        }
    }
}

/// JSON that is in a string.
fn text_of(value: &Value) -> Value {
    serde_json::from_str(value.as_str().expect("a string")).expect("JSON in it")
}

/// Asks `weir` to end the connections of `user`, as the libraries do.
async fn terminate(weir: &Weir, user: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let path = format!("/apps/1/users/{user}/terminate_connections");
    // The digest of an empty object.
    let digest = "99914b932bd37a50b983c5e7c90ae93b";
    let query = format!("auth_key={KEY}&auth_timestamp={now}&auth_version=1.0&body_md5={digest}");
    let text = format!("POST\n{path}\n{query}");
    let signature = Secret::new(SECRET).sign(&[text.as_bytes()]);
    let path = format!("{path}?{query}&auth_signature={signature}");
    let kind = [("content-type", "application/json")];
    let reply = weir.call("POST", &path, &kind, b"{}").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn client_events_reach_the_clients_of_other_daemons_once() {
    let Some((_, vhost)) = brokers::quiet("pusher-events").await else { return };
    let (one, other) = (daemon(&vhost.url).await, daemon(&vhost.url).await);
    let (mut ann, mut bob) = (Page::open(&one).await, Page::open(&other).await);
    let mut carl = Page::open(&one).await;
    for page in [&mut ann, &mut bob, &mut carl] {
        page.subscribe("private-room").await;
    }
    for n in 0..3 {
        let event = json!({"event": "client-typing", "channel": "private-room", "data": {"n": n}});
        ann.send(&event).await;
        for page in [&mut bob, &mut carl] {
            let seen = page.event("client-typing").await;
            assert_eq!((&seen["channel"], &seen["data"]), (&event["channel"], &event["data"]));
        }
    }
    // Nobody gets its own back, from nowhere.
    let event = json!({"event": "client-stopped", "channel": "private-room", "data": "\"é\n\""});
    bob.send(&event).await;
    for page in [&mut ann, &mut carl] {
        assert_eq!(page.event("client-stopped").await["data"], event["data"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_a_user_end_on_all_daemons() {
    let Some((_, vhost)) = brokers::quiet("pusher-terminate").await else { return };
    let (one, other) = (daemon(&vhost.url).await, daemon(&vhost.url).await);
    let (mut near, mut far) = (Page::open(&one).await, Page::open(&other).await);
    let mut innocent = Page::open(&other).await;
    near.sign_in("eve").await;
    far.sign_in("eve").await;
    innocent.sign_in("ann").await;
    terminate(&one, "eve").await;
    assert_eq!((near.closed().await, far.closed().await), (4009, 4009));
    innocent.send(&json!({"event": "pusher:ping", "data": {}})).await;
    innocent.event("pusher:pong").await;
}
