//! Who may publish through a source, and how much: tokens and rates.

use std::time::SystemTime;

use serde_json::{Value, json};
use weir_harness::token::hs256;
use weir_harness::{Reply, Subscriber, Weir, eventually};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Two sources with `more` settings, into a hub that takes tokens.
async fn start(more: &str) -> Weir {
    let pipeline = format!(
        "[[source]]\ntype = \"http\"\npath = \"/in\"\n{more}\n\n\
         [[source]]\ntype = \"websocket\"\npath = \"/ws\"\n{more}\n\n\
         [[sink]]\ntype = \"broadcast\"\nhub = \"main\"\nchannel = \"{{{{type}}}}\"\n"
    );
    let settings = format!(
        "[hub.main]\naccess = {{ jwt = {{ secret = \"{SECRET}\" }}, anonymous = [\"**\"] }}"
    );
    Weir::with(&pipeline).settings(&settings).start().await
}

fn token(publish: &[&str], seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let exp = i64::try_from(now.as_secs()).expect("a small number") + seconds;
    hs256(SECRET, &json!({"sub": "ada", "publish": publish, "exp": exp}))
}

/// Publishes lines of data as events of these types.
async fn publish(weir: &Weir, token: &str, types: &[&str]) -> Reply {
    let event = |event_type: &&str| json!({"type": event_type, "id": *event_type, "data": 1});
    let body = json!({"events": types.iter().map(event).collect::<Vec<_>>()});
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    weir.post("/in?format=weir", &headers, body.to_string().as_bytes()).await
}

/// What became of events, `status` or `code`.
fn fates(results: &Value) -> Vec<&str> {
    let results = results.as_array().expect("results are a list");
    let fate = |result: &Value| {
        let word = result.get("code").unwrap_or(&result["status"]);
        // Golden words, few of them.
        ["delivered", "forbidden", "bad_request"].into_iter().find(|known| word == known)
    };
    results.iter().map(|result| fate(result).unwrap_or("another")).collect()
}

#[tokio::test]
async fn a_publisher_shows_a_token_for_what_it_publishes() {
    let weir = start("access = \"main\"").await;
    let mut page = weir.subscribe("main", &["**"]).await;
    let good = token(&["cart.*", "visit"], 60);

    let reply = weir.publish("/in?type=visit", "1").await;
    reply.refused(401, "unauthorized");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    publish(&weir, &token(&["**"], -5), &["visit"]).await.refused(401, "token_expired");
    publish(&weir, &hs256("another-secret-of-thirty-two-byte", &json!({})), &["visit"])
        .await
        .refused(401, "unauthorized");

    let mixed = publish(&weir, &good, &["cart.add", "order", "visit", "cart", "cart.a.b"]).await;
    assert_eq!(mixed.status(), 207, "{mixed:?}");
    let fate = fates(&mixed.json()["results"]).join(" ");
    assert_eq!(fate, "delivered forbidden delivered forbidden forbidden");
    let none = publish(&weir, &token(&[], 60), &["visit"]).await;
    assert_eq!((none.status(), fates(&none.json()["results"])), (403, vec!["forbidden"]));

    let path = format!("/in?type=visit&token={good}");
    weir.publish(&path, "1").await.accepted();
    let reply = weir.publish(&path.replace("visit", "order"), "1").await;
    assert_eq!((reply.status(), &reply.json()["code"]), (403, &json!("forbidden")));

    for event_type in ["cart.add", "visit", "visit"] {
        assert_eq!(page.expect("1").await["event"]["type"], event_type);
    }
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_malformed_line_keeps_its_place_among_forbidden_ones() {
    let weir = start("access = \"main\"").await;
    let authorization = format!("Bearer {}", token(&["a"], 60));
    let headers =
        [("authorization", authorization.as_str()), ("content-type", "application/x-ndjson")];
    let event = |id: u32, kind: &str| {
        json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": kind})
            .to_string()
    };
    let broken = || "{".to_owned();
    let lines = [event(1, "b"), broken(), event(2, "a"), broken(), event(3, "c"), event(4, "a")];
    let reply = weir.post("/in", &headers, lines.join("\n").as_bytes()).await;
    let fate = fates(&reply.json()["results"]).join(" ");
    assert_eq!(fate, "forbidden bad_request delivered bad_request forbidden delivered");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_socket_publishes_once_it_has_shown_a_token() {
    let weir = start("access = \"main\"").await;
    let mut socket = Subscriber::websocket(weir.public, "/ws").await;
    let frame = |event_type: &str| json!({"type": "pub", "ref": 1, "events": [{"type": event_type, "data": 1}]});
    socket.send(&frame("visit")).await;
    assert_eq!(socket.frame("error").await["code"], "unauthorized");
    socket.send(&json!({"type": "hello", "token": token(&["visit"], 60)})).await;
    socket.send(&frame("visit")).await;
    assert_eq!(fates(&socket.frame("pubok").await["results"]), ["delivered"]);
    socket.send(&frame("order")).await;
    assert_eq!(fates(&socket.frame("pubok").await["results"]), ["forbidden"]);
    // Another token takes the place of the first.
    socket.send(&json!({"type": "hello", "token": token(&["order"], 60)})).await;
    socket.send(&frame("order")).await;
    assert_eq!(fates(&socket.frame("pubok").await["results"]), ["delivered"]);
    socket.send(&frame("visit")).await;
    assert_eq!(fates(&socket.frame("pubok").await["results"]), ["forbidden"]);
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_publisher_beyond_its_rate_waits_and_no_other_does() {
    let weir = start("rate = { events = 5, per = \"2s\" }\naccess = \"main\"").await;
    let all = token(&["**"], 60);
    let five = ["a", "b", "c", "d", "e"];
    assert_eq!(publish(&weir, &all, &five).await.status(), 200);
    let refused = publish(&weir, &all, &["f"]).await;
    refused.refused(429, "rate_limited");
    let after = refused.header("retry-after").and_then(|after| after.parse::<u64>().ok());
    assert!(after.is_some_and(|after| (1..=4).contains(&after)), "{refused:?}");
    let mut socket = Subscriber::websocket(weir.public, "/ws").await;
    socket.send(&json!({"type": "hello", "token": all})).await;
    socket.publish(&json!({"type": "a", "data": 1})).await;
    // The second source has a rate of its own.
    socket.send(&json!({"type": "pub", "ref": 1, "events": vec![json!({"type": "a"}); 9]})).await;
    socket.frame("pubok").await;
    socket.send(&json!({"type": "pub", "ref": 2, "events": [{"type": "a"}]})).await;
    let error = socket.frame("error").await;
    assert_eq!((&error["ref"], &error["code"]), (&json!(2), &json!("rate_limited")));

    let exp = json!(4_000_000_000_u64);
    let bob = hs256(SECRET, &json!({"sub": "bob", "publish": ["**"], "exp": exp}));
    assert_eq!(publish(&weir, &bob, &["a"]).await.status(), 200);
    weir.edit("pipelines/other.toml", "[[source]]\ntype = \"http\"\npath = \"/other\"\n\n[[sink]]\ntype = \"broadcast\"\nhub = \"main\"\n");
    assert_eq!(weir.reload().await.status(), 200);
    eventually("it may publish again", async || {
        (publish(&weir, &all, &["f"]).await.status() == 200).then_some(())
    })
    .await;
    weir.stop().await.clean();
}
