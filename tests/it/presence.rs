//! Who is on a channel: users, not connections, on one daemon and on several that share a hub.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use weir_harness::token::hs256;
use weir_harness::{Subscriber, Weir};

use crate::brokers;

const SECRET: &str = "a secret of at least thirty-two bytes";

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
channel = "{{type}}"
"#;

async fn daemon(more: &str) -> Weir {
    let hub = format!("[hub.main]\naccess = {{ jwt = {{ secret = \"{SECRET}\" }} }}\n{more}");
    Weir::with(PIPELINE).settings(&hub).start().await
}

/// A connection of `user`, who is told as `info` to others.
async fn connect(weir: &Weir, user: &Value, info: &Value) -> Subscriber {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let exp = (now + Duration::from_secs(600)).as_secs();
    let claims = json!({"sub": user, "info": info, "channels": ["room.*"], "exp": exp});
    let mut page = Subscriber::websocket(weir.public, "/live/main/ws").await;
    page.send(&json!({"type": "hello", "token": hs256(SECRET, &claims)})).await;
    page
}

/// Comes to `room` and answers who is there.
async fn enter(page: &mut Subscriber, room: &str) -> Value {
    page.sub(&[room], &json!({"presence": true})).await;
    let members = page.frame("members").await;
    assert_eq!(members["channel"], room);
    members["members"].clone()
}

#[tokio::test]
async fn users_come_and_go_once_however_many_connections_they_have() {
    let weir = daemon("").await;
    let mut ann = connect(&weir, &json!("ann"), &json!({"name": "Ann"})).await;
    assert_eq!(enter(&mut ann, "room.1").await, json!([{"user": "ann", "info": {"name": "Ann"}}]));
    let mut bob = connect(&weir, &json!("bob"), &json!(null)).await;
    let both = json!([{"user": "ann", "info": {"name": "Ann"}}, {"user": "bob"}]);
    assert_eq!(enter(&mut bob, "room.1").await, both);
    let joined = ann.frame("join").await;
    assert_eq!(joined, json!({"type": "join", "channel": "room.1", "user": "bob"}));

    let mut again = connect(&weir, &json!("ann"), &json!({"name": "Ann"})).await;
    assert_eq!(enter(&mut again, "room.1").await, both);
    drop(ann);
    again.send(&json!({"type": "unsub", "ref": 1, "channels": ["room.1"]})).await;
    again.frame("unsubok").await;
    let left = bob.frame("leave").await;
    assert_eq!(left, json!({"type": "leave", "channel": "room.1", "user": "ann"}));

    // Events and presence come on the same connection, in the order that they happen.
    weir.publish("/in?type=room.1", "{}").await.accepted();
    bob.expect("{}").await;
    assert_eq!(enter(&mut again, "room.1").await, both);
    assert_eq!(bob.frame("join").await["user"], "ann");

    // One may go and still listen; whoever only subscribes once more stays.
    again.sub(&["room.1"], &json!({})).await;
    again.sub(&["room.1"], &json!({"presence": false})).await;
    assert_eq!(bob.frame("leave").await["user"], "ann");
    weir.publish("/in?type=room.1", "{}").await.accepted();
    again.expect("{}").await;
    bob.expect("{}").await;
    weir.stop().await.clean();
}

#[tokio::test]
async fn presence_is_for_known_users_on_channels_of_their_own() {
    let weir = daemon("").await;
    let mut nobody = connect(&weir, &json!(null), &json!(null)).await;
    let sub =
        |channel: &str| json!({"type": "sub", "ref": 7, "channels": [channel], "presence": true});
    nobody.send(&sub("room.1")).await;
    let refused = nobody.frame("error").await;
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("forbidden"), &json!(7)));
    let mut ann = connect(&weir, &json!("ann"), &json!(null)).await;
    ann.send(&sub("room.*")).await;
    assert_eq!(ann.frame("error").await["code"], "bad_request");
    ann.send(&sub("other")).await;
    assert_eq!(ann.frame("error").await["code"], "forbidden");
    // What others may be told is bounded; who tells more tells nothing.
    let mut bob = connect(&weir, &json!("bob"), &json!("x".repeat(2_000))).await;
    assert_eq!(enter(&mut bob, "room.1").await, json!([{"user": "bob"}]));
    weir.stop().await.clean();
}

#[tokio::test]
async fn daemons_that_share_a_hub_know_who_is_on_the_others() {
    let Some((_, vhost)) = brokers::quiet("presence").await else { return };
    let backplane = format!("backplane = {{ url = \"{}\" }}", vhost.url);
    let (one, other) = (daemon(&backplane).await, daemon(&backplane).await);
    let mut ann = connect(&one, &json!("ann"), &json!(null)).await;
    enter(&mut ann, "room.1").await;
    let mut bob = connect(&other, &json!("bob"), &json!({"name": "Bob"})).await;
    let mut known = enter(&mut bob, "room.1").await.as_array().expect("a list").len();
    while known < 2 {
        assert_eq!(bob.frame("join").await["user"], "ann");
        known += 1;
    }
    let joined = ann.frame("join").await;
    assert_eq!((&joined["user"], &joined["info"]), (&json!("bob"), &json!({"name": "Bob"})));

    // On both daemons, and gone with the last connection only.
    let mut twin = connect(&other, &json!("ann"), &json!(null)).await;
    enter(&mut twin, "room.1").await;
    drop(ann);
    let mut carl = connect(&one, &json!("carl"), &json!(null)).await;
    enter(&mut carl, "room.1").await;
    assert_eq!(bob.frame("join").await["user"], "carl");

    // A daemon that starts knows everybody soon, and one that stops takes its users along.
    let late = daemon(&backplane).await;
    let mut dora = connect(&late, &json!("dora"), &json!(null)).await;
    let mut seen: Vec<_> = enter(&mut dora, "room.1").await.as_array().expect("a list").clone();
    while seen.len() < 4 {
        seen.push(dora.frame("join").await);
    }
    assert_eq!(bob.frame("join").await["user"], "dora");
    drop(carl);
    one.stop().await.clean();
    assert_eq!(bob.frame("leave").await["user"], "carl");
    drop(twin);
    assert_eq!(bob.frame("leave").await["user"], "ann");
    assert_eq!(dora.frame("leave").await["user"], "carl");
    assert_eq!(dora.frame("leave").await["user"], "ann");
}

#[tokio::test]
async fn whoever_came_through_a_daemon_that_was_killed_is_gone_soon() {
    let Some((_, vhost)) = brokers::quiet("presence-kill").await else { return };
    let backplane = format!("backplane = {{ url = \"{}\" }}", vhost.url);
    let (mut victim, other) = (daemon(&backplane).await, daemon(&backplane).await);
    let mut bob = connect(&other, &json!("bob"), &json!(null)).await;
    enter(&mut bob, "room.1").await;
    let mut ann = connect(&victim, &json!("ann"), &json!(null)).await;
    enter(&mut ann, "room.1").await;
    assert_eq!(bob.frame("join").await["user"], "ann");
    // It says no farewell, and is silent from now on.
    victim.kill9();
    assert_eq!(bob.frame("leave").await["user"], "ann");
    let mut carl = connect(&other, &json!("carl"), &json!(null)).await;
    let here = enter(&mut carl, "room.1").await;
    assert_eq!(here, json!([{"user": "bob"}, {"user": "carl"}]));
}
