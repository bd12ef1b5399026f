//! Guests without sockets: what they are told, and in which order.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::Value;

use super::guest::Guest;
use super::{App, AppLimits, AppSettings, Refused};
use crate::auth::signature::{Credentials, Secret};
use crate::event::{Batch, Draft};
use crate::live::subscription::Next;
use crate::live::{Channel, Hub, HubSettings, Post, QueueLimits, SlowPolicy};

fn app(queue: QueueLimits, limits: AppLimits) -> Arc<App> {
    let secret = Secret::new("secret");
    let settings = AppSettings {
        id: "1".to_owned(),
        credentials: Credentials { key: "key".to_owned(), secret },
        hub: "main".to_owned(),
        enabled: true,
        client_events: true,
        subscription_counts: true,
        origins: Vec::new(),
        activity_timeout: Duration::from_secs(120),
        path_prefix: String::new(),
        limits,
        webhooks: Vec::new(),
    };
    let hub = HubSettings { has_app: true, queue, ..HubSettings::default() };
    Arc::new(App::new(settings, Arc::new(Hub::new(hub))))
}

fn publish(app: &App, channel: &str, name: &str, count: usize, socket: Option<&str>) {
    let mut batch = Batch::default();
    let extensions: Vec<(&str, &str)> =
        socket.map(|socket| ("socketid", socket)).into_iter().collect();
    for n in 0..count {
        let data = n.to_string();
        batch.push(&Draft {
            id: "1",
            source: "/",
            event_type: name,
            data: data.as_bytes(),
            extensions: &extensions,
            ..Draft::default()
        });
    }
    let channel = Channel::new(channel).unwrap();
    let posts: Vec<_> = batch.iter().map(|event| Post { channel, event }).collect();
    app.hub.publish(&posts);
}

/// What a guest is told at once, and then through its queue.
fn say(guest: &mut Guest, text: &str) -> Vec<Value> {
    let mut out = Vec::new();
    guest.obey(text, &mut out).unwrap();
    let mut told: Vec<Value> = lines(&out);
    told.extend(due(guest));
    told
}

fn due(guest: &mut Guest) -> Vec<Value> {
    let cx = Context::from_waker(Waker::noop());
    let mut told = Vec::new();
    while let Poll::Ready(next) = guest.subscription.poll_next(&cx, 1_000) {
        let Next::Burst(None, pieces) = next else { break };
        told.extend(pieces.iter().flat_map(|piece| lines(&piece.text)));
    }
    told
}

fn lines(text: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(text).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(told: &[Value]) -> Vec<&str> {
    told.iter().map(|message| message["event"].as_str().unwrap()).collect()
}

fn subscribe(channel: &str) -> String {
    format!(r#"{{"event":"pusher:subscribe","data":{{"auth":"","channel":"{channel}"}}}}"#)
}

fn refused(app: &App, why: Refused) -> u64 {
    app.stats().refused.iter().find(|(known, _)| *known == why).unwrap().1
}

#[tokio::test]
async fn nothing_of_a_channel_comes_before_the_answer_to_its_subscription() {
    let app = app(QueueLimits::default(), AppLimits::default());
    publish(&app, "cache-a", "old", 3, None);
    let mut guest = Guest::new(Arc::clone(&app)).unwrap();
    let told = say(&mut guest, &subscribe("cache-a"));
    let expected =
        ["pusher_internal:subscription_succeeded", "old", "pusher_internal:subscription_count"];
    assert_eq!(names(&told), expected);
    assert_eq!(told[1]["data"], "2");
    let socket = guest.socket.to_string();
    publish(&app, "cache-a", "own", 1, Some(&socket));
    publish(&app, "cache-a", "pusher:error", 1, None);
    publish(&app, "cache-a", "new", 2, Some("1.2"));
    assert_eq!(names(&due(&mut guest)), ["new", "new"]);
}

#[tokio::test]
async fn a_client_that_lags_reads_on_from_the_history() {
    let queue = QueueLimits { events_max: 10, ..QueueLimits::default() };
    let app = app(queue, AppLimits::default());
    let mut guest = Guest::new(Arc::clone(&app)).unwrap();
    say(&mut guest, &subscribe("a"));
    let socket = guest.socket.to_string();
    for n in 0..50 {
        publish(&app, "a", "e", 1, None);
        publish(&app, "a", "own", 1, Some(&socket));
        publish(&app, if n % 2 == 0 { "b" } else { "c" }, "other", 1, None);
    }
    let told = due(&mut guest);
    assert_eq!(names(&told), vec!["e"; 50]);
    assert!(told.iter().all(|message| message["data"] == "0" && message["channel"] == "a"));
    publish(&app, "a", "e", 5, None);
    assert_eq!(due(&mut guest).len(), 5, "it is live again");
}

#[tokio::test]
async fn what_cannot_be_read_again_cuts_a_client_that_has_no_room_for_it() {
    let queue = QueueLimits { events_max: 4, policy: SlowPolicy::Resume, ..QueueLimits::default() };
    let app = app(queue, AppLimits::default());
    let mut guest = Guest::new(Arc::clone(&app)).unwrap();
    say(&mut guest, &subscribe("a"));
    for _ in 0..5 {
        app.hub.signal("a", &"{}".into(), None);
    }
    let cx = Context::from_waker(Waker::noop());
    assert_eq!(guest.subscription.poll_next(&cx, 1_000), Poll::Ready(Next::Cut));
}

#[tokio::test]
async fn an_app_is_empty_when_its_guests_are_gone() {
    let limits = AppLimits { connections_max: 2, ..AppLimits::default() };
    let app = app(QueueLimits::default(), limits);
    let mut one = Guest::new(Arc::clone(&app)).unwrap();
    let mut other = Guest::new(Arc::clone(&app)).unwrap();
    assert_eq!(Guest::new(Arc::clone(&app)).unwrap_err().code, 4004);
    for channel in ["a", "b"] {
        say(&mut one, &subscribe(channel));
        say(&mut other, &subscribe(channel));
    }
    assert_eq!((app.stats().connections, app.stats().channels), (2, 2));
    say(&mut one, r#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#);
    assert_eq!(names(&due(&mut other)).last(), Some(&"pusher_internal:subscription_count"));
    drop(one);
    drop(other);
    assert_eq!((app.stats().connections, app.stats().channels), (0, 0));
    assert_eq!(app.hub.stats().channels, 0);
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let app = app(QueueLimits::default(), AppLimits::default());
    let mut guest = Guest::new(Arc::clone(&app)).unwrap();
    assert_eq!(say(&mut guest, &subscribe("private-a"))[0]["data"]["status"], 401);
    assert_eq!(say(&mut guest, &subscribe("a b"))[0]["data"]["status"], 400);
    assert_eq!(names(&say(&mut guest, "nonsense")), ["pusher:error"]);
    assert_eq!(names(&say(&mut guest, r#"{"event":"client-a","channel":"a"}"#)), ["pusher:error"]);
    for why in [Refused::Signature, Refused::Grammar, Refused::Message, Refused::Forbidden] {
        assert_eq!(refused(&app, why), 1, "{why:?}");
    }
    for _ in 0..16 {
        guest.obey("nonsense", &mut Vec::new()).unwrap();
    }
    let ended = guest.obey("nonsense", &mut Vec::new());
    assert_eq!(ended.unwrap_err().code, 1008);
}

#[tokio::test(start_paused = true)]
async fn large_channels_are_counted_less_often() {
    let app = app(QueueLimits::default(), AppLimits::default());
    let mut all: Vec<_> = (0..103).map(|_| Guest::new(Arc::clone(&app)).unwrap()).collect();
    for guest in &mut all {
        guest.obey(&subscribe("a"), &mut Vec::new()).unwrap();
    }
    let counts = |told: &[Value]| {
        told.iter().map(|one| one["data"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let told = counts(&due(&mut all[98]));
    assert_eq!(told, [99, 100, 101].map(|n| format!("{{\"subscription_count\":{n}}}")));
    app.tell_counts();
    assert!(due(&mut all[98]).is_empty());
    tokio::time::advance(Duration::from_secs(5)).await;
    app.tell_counts();
    assert_eq!(counts(&due(&mut all[98])), ["{\"subscription_count\":103}"]);
}
