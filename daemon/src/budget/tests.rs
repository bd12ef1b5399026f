//! What `budget` promises, tried out.

use std::sync::Arc;

use super::{Budget, Lease, Stage};

#[test]
fn stages_begin_at_their_thresholds_and_end_below_them() {
    let budget = Budget::new(1_000);
    for (take, stage) in [
        (790, Stage::Normal),
        (20, Stage::Tight),
        (100, Stage::Refusing),
        (50, Stage::Closed),
        (-40, Stage::Closed),
        (-30, Stage::Refusing),
        (-30, Stage::Refusing),
        (-20, Stage::Tight),
        (-100, Stage::Normal),
    ] {
        let bytes = usize::try_from(i32::abs(take)).unwrap();
        if take > 0 {
            assert!(budget.take(bytes));
        } else {
            budget.give_back(bytes);
        }
        assert_eq!(budget.stage(), stage, "at {}", budget.used());
    }
}

#[test]
fn nothing_is_taken_beyond_the_bound_unless_it_is_alone() {
    let budget = Budget::new(1_000);
    assert!(budget.take(2_000));
    assert!(!budget.take(1));
    budget.give_back(2_000);
    assert!(budget.take(1_000));
    assert!(!budget.take(1));
    assert_eq!((budget.used(), budget.refused()), (1_000, 2));
}

#[test]
fn a_lease_gives_back_what_it_took() {
    let budget = Arc::new(Budget::new(1_000));
    let mut lease = Lease::new(&budget);
    assert!(lease.grow(600) && lease.grow(300));
    assert!(!lease.grow(200));
    lease.shrink(500);
    assert_eq!(budget.used(), 400);
    drop(lease);
    assert_eq!(budget.used(), 0);
}

#[test]
fn who_is_refused_is_counted() {
    let budget = Budget::new(1_000);
    assert!(!budget.refuses(Stage::Refusing));
    assert!(budget.take(920));
    assert!(budget.refuses(Stage::Refusing) && !budget.refuses(Stage::Closed));
    assert_eq!(budget.refused(), 1);
    assert_eq!(Budget::default().stage(), Stage::Normal);
}
