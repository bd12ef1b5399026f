//! The worst copy decides, nothing is forgotten, and the books balance at every moment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Account, Ack, AckMode, Answer, Balance, Code, Limits, Outcome, Receipt, Refusal};

fn account() -> Arc<Account> {
    Arc::new(Account::default())
}

fn admit(account: &Arc<Account>, events: usize, mode: AckMode) -> (Receipt, Vec<Ack>) {
    account.admit(vec![10; events].into_iter(), mode).unwrap()
}

fn one(mode: AckMode) -> (Arc<Account>, Receipt, Ack) {
    let account = account();
    let (receipt, mut acks) = admit(&account, 1, mode);
    (account, receipt, acks.remove(0))
}

fn is_answered(receipt: &Receipt) -> bool {
    !receipt.answers().contains(&Answer::Pending)
}

fn settled(balance: &Balance) -> u64 {
    let Balance { filtered, duplicate, delivered, spooled, dead_lettered, .. } = balance;
    let well = filtered + duplicate + delivered + spooled + dead_lettered;
    well + balance.rejected + balance.unavailable + balance.lost
}

#[test]
fn the_worst_outcome_of_all_copies_wins() {
    for one_copy in Outcome::ALL {
        for other_copy in Outcome::ALL {
            let (account, receipt, ack) = one(AckMode::Settled);
            let copy = ack.fork();
            ack.settle(one_copy);
            assert!(!is_answered(&receipt));
            copy.settle(other_copy);
            let worst = one_copy.max(other_copy);
            assert_eq!(receipt.answers(), [Answer::Settled(worst, None)]);
            assert_eq!((settled(&account.balance()), account.balance().in_flight), (1, 0));
        }
    }
}

#[test]
fn an_ack_dropped_unsettled_is_lost() {
    let (account, receipt, ack) = one(AckMode::Settled);
    let copy = ack.fork();
    copy.settle(Outcome::Delivered);
    drop(ack);
    assert_eq!(receipt.answers(), [Answer::Settled(Outcome::Lost, None)]);
    assert_eq!(account.balance().lost, 1);
}

#[test]
fn the_words_of_the_worst_refusal_are_told() {
    let account = account();
    let (receipt, mut acks) = admit(&account, 2, AckMode::Settled);
    let ack = acks.remove(0);
    let copy = ack.fork();
    ack.refuse(Refusal::new(Code::Rejected, "no"));
    copy.refuse(Refusal::new(Code::Unavailable, "away"));
    acks.remove(0).settle(Outcome::Delivered);
    let away = Refusal::new(Code::Unavailable, "away");
    let answers = receipt.answers();
    assert_eq!(answers[0], Answer::Settled(Outcome::Unavailable, Some(away)));
    assert_eq!(answers[1], Answer::Settled(Outcome::Delivered, None));
}

#[test]
fn routed_lets_the_publisher_go_but_not_the_books() {
    let (account, receipt, mut ack) = one(AckMode::Routed);
    let live = ack.fork();
    ack.detach();
    ack.detach();
    assert!(!is_answered(&receipt));
    live.settle(Outcome::Delivered);
    assert_eq!(receipt.answers(), [Answer::Settled(Outcome::Delivered, None)]);
    assert_eq!(account.balance().in_flight, 1);
    ack.refuse(Refusal::new(Code::Unavailable, "away"));
    assert_eq!(receipt.answers(), [Answer::Settled(Outcome::Delivered, None)]);
    assert_eq!(account.balance().unavailable, 1);
}

#[test]
fn settled_waits_also_for_what_a_slow_sink_holds() {
    let (_account, receipt, mut ack) = one(AckMode::Settled);
    ack.detach();
    assert!(!is_answered(&receipt));
    ack.settle(Outcome::Delivered);
    assert!(is_answered(&receipt));
}

#[tokio::test]
async fn accepted_waits_for_nothing() {
    let (account, receipt, ack) = one(AckMode::Accepted);
    receipt.wait().await;
    assert_eq!(receipt.answers(), [Answer::Accepted]);
    ack.settle(Outcome::Rejected);
    assert_eq!(receipt.answers(), [Answer::Accepted]);
    assert_eq!(account.balance().rejected, 1);
}

#[tokio::test]
async fn a_receipt_wakes_when_the_last_event_is_settled() {
    let account = account();
    let (receipt, acks) = admit(&account, 100, AckMode::Settled);
    let settler = thread::spawn(move || {
        for ack in acks {
            ack.settle(Outcome::Delivered);
        }
    });
    timeout(Duration::from_secs(10), receipt.wait()).await.unwrap();
    assert!(is_answered(&receipt));
    receipt.wait().await;
    settler.join().unwrap();
}

#[test]
fn a_receipt_nobody_holds_changes_nothing() {
    let (account, receipt, ack) = one(AckMode::Settled);
    drop(receipt);
    ack.settle(Outcome::Delivered);
    assert_eq!((account.balance().delivered, account.balance().in_flight), (1, 0));
}

#[test]
fn an_account_takes_so_many_events_and_so_many_bytes() {
    let account = Arc::new(Account::new(Limits { events_max: 3, bytes_max: 35 }));
    let (_receipt, mut held) = admit(&account, 2, AckMode::Settled);
    let refusal = account.admit(vec![1; 2].into_iter(), AckMode::Settled).unwrap_err();
    assert_eq!(refusal.code, Code::Overloaded);
    let by_bytes = account.admit([16].into_iter(), AckMode::Settled).unwrap_err();
    assert_eq!(by_bytes.code, Code::Overloaded);
    let (_other, more) = account.admit([15].into_iter(), AckMode::Settled).unwrap();
    assert_eq!((account.balance().received, account.balance().in_flight), (3, 3));
    held.pop().unwrap().settle(Outcome::Delivered);
    assert!(account.admit([10].into_iter(), AckMode::Settled).is_ok());
    drop((held, more));
}

#[test]
fn an_empty_account_takes_a_batch_of_any_size() {
    let account = Arc::new(Account::new(Limits { events_max: 3, bytes_max: 35 }));
    let (_receipt, acks) = admit(&account, 10, AckMode::Settled);
    assert!(account.admit([1].into_iter(), AckMode::Settled).is_err());
    for ack in acks {
        ack.settle(Outcome::Filtered);
    }
    assert_eq!((account.balance().filtered, account.balance().in_flight), (10, 0));
}

/// Forks, detaches, settles, refuses and drops in an order that chance decides.
fn handle(mut acks: Vec<Ack>, chance: &mut fastrand::Rng) {
    while !acks.is_empty() {
        let at = chance.usize(..acks.len());
        match chance.u8(..7) {
            0 | 1 if acks.len() < 64 => acks.push(acks[at].fork()),
            2 => acks[at].detach(),
            3 => acks.swap_remove(at).settle(Outcome::Filtered),
            4 => acks.swap_remove(at).refuse(Refusal::new(Code::Unroutable, "no queue")),
            5 if chance.u8(..10) == 0 => drop(acks.swap_remove(at)),
            _ => acks.swap_remove(at).settle(Outcome::Delivered),
        }
    }
}

#[test]
fn the_books_balance_whatever_order_things_happen_in() {
    const MODES: [AckMode; 3] = [AckMode::Settled, AckMode::Routed, AckMode::Accepted];
    let account = Arc::new(Account::new(Limits { events_max: 200, bytes_max: 2_000 }));
    let work = |seed: u64| {
        let account = Arc::clone(&account);
        move || {
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut admitted = 0;
            for _ in 0..500 {
                let (events, mode) = (chance.usize(1..20), MODES[chance.usize(..3)]);
                let sizes = vec![10; events].into_iter();
                let Ok((receipt, acks)) = account.admit(sizes, mode) else { continue };
                admitted += events as u64;
                handle(acks, &mut chance);
                assert!(is_answered(&receipt));
                assert_eq!(receipt.answers().len(), events);
            }
            admitted
        }
    };
    let workers: Vec<_> = (0..4).map(|seed| thread::spawn(work(seed))).collect();
    let admitted: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    let balance = account.balance();
    assert_eq!((balance.received, balance.in_flight), (admitted, 0));
    assert_eq!(settled(&balance), admitted);
    assert!(account.admit(vec![10; 200].into_iter(), AckMode::Settled).is_ok());
}

#[test]
fn results_on_the_wire_say_why() {
    let written = |answer: &Answer, id| {
        let mut out = Vec::new();
        answer.write_result(id, &mut out);
        String::from_utf8(out).unwrap()
    };
    let refusal = Refusal::new(Code::Unroutable, "no \"queue\"");
    for (answer, id, expected) in [
        (
            Answer::Settled(Outcome::Delivered, None),
            Some("1"),
            r#"{"id":"1","status":"delivered"}"#,
        ),
        (Answer::Accepted, Some("a\"b"), r#"{"id":"a\"b","status":"accepted"}"#),
        (Answer::Settled(Outcome::Spooled, None), None, r#"{"status":"spooled"}"#),
        (Answer::Settled(Outcome::DeadLettered, None), None, r#"{"status":"dead-lettered"}"#),
        (Answer::Settled(Outcome::Duplicate, None), None, r#"{"status":"duplicate"}"#),
        (
            Answer::refused(refusal),
            None,
            r#"{"status":"rejected","code":"unroutable","message":"no \"queue\""}"#,
        ),
    ] {
        assert_eq!(written(&answer, id), expected);
    }
    assert!(written(&Answer::Pending, Some("1")).contains(r#""code":"timeout""#));
    let is_kept = |outcome| Answer::Settled(outcome, None).is_kept();
    let kept: Vec<_> = Outcome::ALL.into_iter().filter(|outcome| is_kept(*outcome)).collect();
    assert_eq!(kept, [Outcome::Spooled, Outcome::DeadLettered]);
}

#[tokio::test(start_paused = true)]
async fn one_waits_as_long_as_the_oldest_in_flight() {
    let account = account();
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(admit(&account, 5, AckMode::Settled));
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(account.wait(), Duration::from_secs(10));
    for (settled, (_receipt, acks)) in held.into_iter().enumerate() {
        assert_eq!(
            account.wait(),
            Duration::from_secs(10) - Duration::from_millis(500) * settled as u32
        );
        acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
    }
    assert_eq!(account.wait(), Duration::ZERO);
    sleep(Duration::from_secs(60)).await;
    let late = admit(&account, 1, AckMode::Settled);
    assert_eq!(account.wait(), Duration::ZERO, "a pause is nobody's age");
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_settled_before_anybody_asked() {
    let account = account();
    for _ in 0..2_000 {
        let (_receipt, acks) = admit(&account, 1, AckMode::Routed);
        acks.into_iter().for_each(|ack| ack.settle(Outcome::Delivered));
        sleep(Duration::from_millis(100)).await;
    }
    let held = admit(&account, 1, AckMode::Routed);
    assert_eq!(account.wait(), Duration::ZERO);
    drop(held);
}

/// Ten times as much as is settled comes in for a minute: what is taken is settled in time, and the
/// sink is never idle.
#[tokio::test(start_paused = true)]
async fn one_waits_as_long_as_the_rest_takes_to_settle() {
    let account = account();
    let (wait_max, patience) = (Duration::from_secs(5), Duration::from_secs(10));
    let mut queue = VecDeque::new();
    let mut settled = 0;
    for _ in 0..6_000 {
        for _ in 0..10 {
            if account.wait() <= wait_max {
                let (_receipt, acks) = admit(&account, 20, AckMode::Settled);
                queue.extend(acks.into_iter().map(|ack| (Instant::now(), ack)));
            }
        }
        sleep(Duration::from_millis(10)).await;
        for (since, ack) in queue.drain(..queue.len().min(20)) {
            assert!(since.elapsed() < patience, "it waited for {:?}", since.elapsed());
            ack.settle(Outcome::Delivered);
            settled += 1;
        }
    }
    assert_eq!(settled, 6_000 * 20, "the sink was idle");
    drop(queue);
}
