//! What is told at once, what waits, and what is never told.

use std::time::Duration;

use tokio::time::Instant;

use super::debounce::Debounce;
use super::{ClientEvent, Notice};
use crate::live::app::settings::NoticeKind;

#[tokio::test(start_paused = true)]
async fn who_comes_back_within_a_moment_was_never_away() {
    let mut debounce = Debounce::default();
    let mut ready = Vec::new();
    let now = Instant::now();
    let vacated = Notice::new(NoticeKind::ChannelVacated, "a");
    let occupied = Notice::new(NoticeKind::ChannelOccupied, "a");
    let gone = Notice::new(NoticeKind::MemberRemoved, "presence-a").of("ada");
    let other = Notice::new(NoticeKind::MemberAdded, "presence-a").of("bob");
    debounce.take(occupied.clone(), now, &mut ready);
    assert_eq!(ready, std::slice::from_ref(&occupied));
    ready.clear();
    debounce.take(vacated.clone(), now, &mut ready);
    debounce.take(occupied, now, &mut ready);
    assert!(ready.is_empty() && debounce.due().is_none());
    debounce.take(gone.clone(), now, &mut ready);
    debounce.take(other.clone(), now, &mut ready);
    assert_eq!(ready, [other]);
    ready.clear();
    debounce.take(vacated.clone(), now + Duration::from_secs(1), &mut ready);
    debounce.release(now + Duration::from_secs(3), &mut ready);
    assert_eq!(ready, [gone]);
    debounce.release(now + Duration::from_secs(4), &mut ready);
    assert_eq!(ready.last(), Some(&vacated));
}

#[test]
fn a_notice_says_what_happened_and_who_it_was() {
    let event = ClientEvent { name: "client-a".into(), data: "{}".into(), socket: "1.2".into() };
    let notice = Notice {
        event: Some(event),
        ..Notice::new(NoticeKind::ClientEvent, "presence-a").of("ada")
    };
    let told = serde_json::json!({
        "name": "client_event", "channel": "presence-a", "event": "client-a", "data": "{}",
        "socket_id": "1.2", "user_id": "ada",
    });
    assert_eq!(notice.json(), told);
}
