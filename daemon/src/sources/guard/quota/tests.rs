//! What passes and what has to wait, on a clock of its own.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{BOOKS_MAX, Quota, Who};

const SECOND: Duration = Duration::from_secs(1);

fn user(name: &str) -> Who {
    Who::User(name.into())
}

#[test]
fn what_is_allowed_passes_at_once_or_spread() {
    let quota = Quota::new(10, SECOND);
    let start = Instant::now();
    assert_eq!(quota.take(user("a"), 10, start), Ok(()));
    assert_eq!(quota.take(user("a"), 1, start), Err(SECOND / 10));
    assert_eq!(quota.take(user("b"), 1, start), Ok(()), "each has a rate of its own");
    for tenth in 1..100 {
        let now = start + SECOND / 10 * tenth;
        assert_eq!(quota.take(user("a"), 1, now), Ok(()), "after {tenth} tenths");
        assert!(quota.take(user("a"), 1, now).is_err());
    }
}

#[test]
fn a_request_above_the_rate_passes_in_its_time() {
    let quota = Quota::new(10, SECOND);
    let start = Instant::now();
    assert_eq!(quota.take(user("a"), 50, start), Ok(()));
    assert_eq!(quota.take(user("a"), 1, start + SECOND), Err(SECOND * 3 + SECOND / 10));
    assert_eq!(quota.take(user("a"), 50, start + SECOND * 4 + SECOND / 10), Ok(()));
}

#[test]
fn addresses_of_one_network_are_one_publisher() {
    let at = |text: &str| Who::at(text.parse::<IpAddr>().unwrap());
    assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:0:0:1"));
    assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
    assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    assert_ne!(at("192.0.2.2"), at("192.0.2.1"));
}

#[test]
fn books_are_bounded_and_forget_who_owes_nothing() {
    let quota = Quota::new(1, SECOND);
    let start = Instant::now();
    for number in 0..BOOKS_MAX {
        assert_eq!(quota.take(user(&number.to_string()), 1, start), Ok(()));
    }
    assert_eq!(quota.take(user("late"), 1, start), Ok(()));
    assert!(quota.take(user("later"), 1, start).is_err(), "they share what one may publish");
    assert!(quota.take(user("7"), 1, start).is_err(), "who is known stays so");
    assert_eq!(quota.take(user("later"), 1, start + SECOND * 2), Ok(()));
    assert_eq!(quota.books.lock().unwrap().free_at.len(), 1);
}
