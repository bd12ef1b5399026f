//! Who may subscribe: what a token says, for as long as it is good, and nothing else.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use weir_harness::token::{hs256, hs256_of, key_set, unsigned};
use weir_harness::{Subscriber, Weir, eventually, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[source]]
type = "websocket"
path = "/ws"
hub = "main"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
"#;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// How long a token lives that expires while a test looks; whole seconds, as tokens count.
const SHORT: i64 = 3;

async fn start(more: &str) -> Weir {
    let settings =
        format!("[hub.main]\naccess = {{ jwt = {{ secret = \"${{env:HUB_SECRET}}\" }}{more} }}");
    Weir::with(PIPELINE).settings(&settings).variable("HUB_SECRET", SECRET).start().await
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(now.as_secs()).expect("a small number") + seconds
}

fn token(channels: &[&str], seconds: i64) -> String {
    let claims = json!({"sub": "ada", "channels": channels, "exp": in_seconds(seconds)});
    hs256(SECRET, &claims)
}

async fn hello(weir: &Weir, path: &str, token: &str) -> Subscriber {
    let mut page = Subscriber::websocket(weir.public, path).await;
    page.send(&json!({"type": "hello", "token": token})).await;
    page
}

async fn publish(weir: &Weir, channel: &str, n: u32) {
    weir.publish(&format!("/in?type={channel}"), &json!({ "n": n }).to_string()).await.accepted();
}

async fn refused(weir: &Weir, reason: &str) -> f64 {
    weir.metric("weir_hub_refused_total", &[("hub", "main"), ("reason", reason)]).await
}

/// Turned away: an `error` with this code, then the close code for credentials.
async fn turned_away(mut page: Subscriber, code: &str) {
    let frames = page.rest().await;
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!((&frames[0]["type"], &frames[0]["code"]), (&json!("error"), &json!(code)));
    assert_eq!(page.close_code(), Some(4401), "{frames:?}");
}

#[tokio::test]
async fn a_token_bounds_what_its_bearer_subscribes_to() {
    let weir = start("").await;
    for path in ["/live/main/ws", "/ws"] {
        let mut page = hello(&weir, path, &token(&["orders", "chat.*"], 60)).await;
        for wanted in ["orders", "chat.a", "chat.*"] {
            page.sub(&[wanted], &Value::Null).await;
        }
        for foreign in ["stock", "**", "chat.**", "chat.a.b", "*"] {
            page.send(&json!({"type": "sub", "ref": 7, "channels": ["orders", foreign]})).await;
            let error = page.frame("error").await;
            assert_eq!((&error["ref"], &error["code"]), (&json!(7), &json!("forbidden")));
        }
        publish(&weir, "stock", 1).await;
        publish(&weir, "chat.a", 2).await;
        page.expect(r#"{"n":2}"#).await;
    }
    assert_eq!(refused(&weir, "channel").await, 10.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_token_that_is_not_good_ends_the_connection() {
    let weir = start("").await;
    let good = json!({"channels": ["**"], "exp": in_seconds(60)});
    let other = hs256("another-secret-of-thirty-two-byte", &good);
    let bad = [
        (token(&["**"], -5), "token_expired"),
        (other, "unauthorized"),
        (unsigned(&good), "unauthorized"),
        (hs256(SECRET, &json!({"channels": ["**"]})), "unauthorized"),
        ("no token".to_owned(), "unauthorized"),
    ];
    for (token, code) in &bad {
        turned_away(hello(&weir, "/live/main/ws", token).await, code).await;
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        for path in ["/live/main/sse?channel=a", "/live/main/history?channel=a"] {
            let reply = weir.call("GET", path, &headers, b"").await;
            reply.refused(401, code);
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(refused(&weir, "expired_token").await, 3.0);
    assert_eq!(refused(&weir, "bad_token").await, 12.0);
    assert!(!weir.stderr().contains(SECRET), "the secret is in the log");
    weir.stop().await.clean();
}

#[tokio::test]
async fn whoever_shows_nothing_is_let_go() {
    let weir = start("").await;
    let mut silent = Subscriber::websocket(weir.public, "/live/main/ws").await;
    silent.send(&json!({"type": "sub", "ref": 1, "channels": ["a"]})).await;
    let error = silent.frame("error").await;
    assert_eq!((&error["ref"], &error["code"]), (&json!(1), &json!("unauthorized")));
    publish(&weir, "a", 1).await;
    turned_away(silent, "unauthorized").await;
    weir.call("GET", "/live/main/sse?channel=a", &[], b"").await.refused(401, "unauthorized");
    weir.call("GET", "/live/main/history?channel=a", &[], b"").await.refused(401, "unauthorized");
    assert_eq!(refused(&weir, "no_token").await, 4.0);
    let foreign = [("origin", "https://elsewhere.example")];
    weir.call("GET", "/live/main/sse?channel=a", &foreign, b"").await.refused(403, "forbidden");
    assert_eq!(refused(&weir, "origin").await, 1.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn anonymous_channels_take_no_token() {
    let weir = start(", anonymous = [\"public.*\"]").await;
    let mut page = weir.subscribe_websocket("main", &["public.*"]).await;
    let mut stream = weir.subscribe("main", &["public.a"]).await;
    page.send(&json!({"type": "sub", "ref": 1, "channels": ["orders"]})).await;
    assert_eq!(page.frame("error").await["code"], "unauthorized");
    weir.call("GET", "/live/main/sse?channel=orders", &[], b"").await.refused(401, "unauthorized");
    publish(&weir, "orders", 1).await;
    publish(&weir, "public.a", 2).await;
    page.expect(r#"{"n":2}"#).await;
    stream.expect(r#"{"n":2}"#).await;
    page.send(&json!({"type": "hello", "token": token(&["orders"], 60)})).await;
    page.sub(&["orders"], &Value::Null).await;
    publish(&weir, "orders", 3).await;
    page.expect(r#"{"n":3}"#).await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn an_event_stream_shows_its_token_in_a_header_or_the_address() {
    let weir = start("").await;
    let good = token(&["a"], 60);
    let authorization = format!("Bearer {good}");
    let path = "/live/main/sse?channel=a";
    let mut one = Subscriber::sse(weir.public, path, &[("authorization", &authorization)]).await;
    let mut other = Subscriber::sse(weir.public, &format!("{path}&token={good}"), &[]).await;
    publish(&weir, "a", 1).await;
    one.expect(r#"{"n":1}"#).await;
    other.expect(r#"{"n":1}"#).await;
    let foreign = format!("/live/main/sse?channel=b&token={good}");
    weir.call("GET", &foreign, &[], b"").await.refused(403, "forbidden");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_connection_ends_with_its_token_unless_another_comes() {
    let weir = start("").await;
    let short = token(&["a", "b"], SHORT);
    let mut left = hello(&weir, "/live/main/ws", &short).await;
    left.sub(&["a"], &Value::Null).await;
    let mut kept = hello(&weir, "/live/main/ws", &short).await;
    kept.sub(&["a", "b"], &Value::Null).await;
    let path = format!("/live/main/sse?channel=a&token={short}");
    let mut stream = Subscriber::sse(weir.public, &path, &[]).await;
    // The other token is good for less: what it does not name ends.
    kept.send(&json!({"type": "hello", "token": token(&["a"], 60)})).await;
    let error = kept.frame("error").await;
    assert_eq!(error["code"], "forbidden", "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("`b`")), "{error}");

    within("the end of the token", turned_away(left, "token_expired")).await;
    let frames = stream.rest().await;
    assert_eq!(frames.last().map(|frame| &frame["code"]), Some(&json!("token_expired")));
    publish(&weir, "b", 1).await;
    publish(&weir, "a", 2).await;
    kept.expect(r#"{"n":2}"#).await;
    weir.stop().await.clean();
}

/// What an identity provider answers, until a test changes it.
type Answer = Arc<Mutex<(StatusCode, String)>>;

/// Serves `answer` for as long as the set lives; says where.
async fn provider(answer: Answer) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let reply = move || {
        let answer = answer.lock().expect("nobody panics with it").clone();
        async move { answer }
    };
    let router = Router::new().route("/keys", get(reply));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        // It ends with the test.
        axum::serve(listener, router).await.ok();
    });
    (format!("http://{address}/keys"), serving)
}

#[tokio::test]
async fn keys_are_fetched_and_follow_their_provider() {
    let answer = Answer::new(Mutex::new((StatusCode::BAD_GATEWAY, String::new())));
    let set =
        |status, text: String| *answer.lock().expect("nobody panics with it") = (status, text);
    let (url, _serving) = provider(Arc::clone(&answer)).await;
    let settings = format!("[hub.main]\naccess = {{ jwt = {{ jwks = \"{url}\" }} }}");
    let weir = Weir::with(PIPELINE).settings(&settings).start().await;
    let claims = json!({"channels": ["a"], "exp": in_seconds(600)});
    let status = async |token: &str| {
        let path = format!("/live/main/history?channel=a&token={token}");
        weir.call("GET", &path, &[], b"").await
    };
    let first = hs256_of("1", SECRET, &claims);
    let early = status(&first).await;
    early.refused(503, "unavailable");
    assert!(early.header("retry-after").is_some(), "{early:?}");
    let mut page = hello(&weir, "/live/main/ws", &first).await;
    assert_eq!(page.frame("error").await["code"], "unavailable");
    page.rest().await;
    assert_eq!(page.close_code(), Some(1013));

    set(StatusCode::OK, key_set("1", SECRET).to_string());
    eventually("the keys are known", async || (status(&first).await.status() == 200).then_some(()))
        .await;
    // A token of a new key makes the daemon look before its time.
    let second = hs256_of("2", "fedcba9876543210fedcba9876543210", &claims);
    set(StatusCode::OK, key_set("2", "fedcba9876543210fedcba9876543210").to_string());
    eventually("the new key is known", async || {
        (status(&second).await.status() == 200).then_some(())
    })
    .await;
    status(&first).await.refused(401, "unauthorized");
    assert!(refused(&weir, "no_keys").await >= 2.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn who_subscribes_too_often_is_told_and_nobody_else_notices() {
    let weir = Weir::with(PIPELINE).settings("[hub.main]").start().await;
    let mut other = weir.subscribe_websocket("main", &["a"]).await;
    let mut page = Subscriber::websocket(weir.public, "/live/main/ws").await;
    let sub = json!({"type": "sub", "ref": 1, "channels": ["a"], "last": 1}).to_string();
    for _ in 0..20 {
        page.send_raw(Message::text(vec![sub.as_str(); 50].join("\n"))).await;
    }
    let mut told = (0, 0);
    while told.0 + told.1 < 1_000 {
        let frame = page.next().await.expect("it is not cut off");
        match frame["type"].as_str() {
            Some("subok") => told.0 += 1,
            Some("error") => {
                assert_eq!((&frame["code"], &frame["ref"]), (&json!("rate_limited"), &json!(1)));
                told.1 += 1;
            }
            _ => panic!("{frame}"),
        }
    }
    assert!(told.0 >= 256 && told.1 > 0, "{told:?}");
    let refused = weir.metric("weir_hub_refused_total", &[("reason", "rate")]).await;
    assert_eq!(refused, f64::from(told.1));
    weir.publish("/in?type=a", "{}").await.accepted();
    page.expect("{}").await;
    other.expect("{}").await;
    weir.stop().await.clean();
}
