//! Values that expire, count against a quota, and are there again after the process.

use std::fs;
use std::path::PathBuf;

use super::entries::{Changes, Entries};
use super::{State, StateError, Undo};

const MAX: usize = 1 << 20;

#[test]
fn values_are_set_read_counted_and_forgotten() {
    let state = State::volatile();
    assert_eq!(state.get("a"), Ok(None));
    state.set("a", b"1", None, (MAX, &mut Undo::default())).unwrap();
    state.set("a", b"22", None, (MAX, &mut Undo::default())).unwrap();
    assert_eq!(state.get("a"), Ok(Some(b"22".to_vec())));
    assert_eq!(
        state.increment("a", 1, None, (MAX, &mut Undo::default())),
        Err(StateError::NoNumber)
    );
    assert_eq!(state.increment("n", 5, None, (MAX, &mut Undo::default())), Ok(5));
    assert_eq!(state.increment("n", -7, None, (MAX, &mut Undo::default())), Ok(-2));
    assert_eq!(
        state.increment("n", i64::MIN, None, (MAX, &mut Undo::default())),
        Err(StateError::NoNumber)
    );
    assert_eq!(state.usage(), (2, 2 * 97 + 2 + 8));
    state.delete("a", &mut Undo::default()).unwrap();
    state.delete("a", &mut Undo::default()).unwrap();
    assert_eq!(state.get("a"), Ok(None));
    assert_eq!(state.set("", b"", None, (MAX, &mut Undo::default())), Err(StateError::Key(0)));
    assert_eq!(
        state.increment(&"k".repeat(1025), 1, None, (MAX, &mut Undo::default())),
        Err(StateError::Key(1025))
    );
    let long = vec![0; (256 << 10) + 1];
    assert_eq!(
        state.set("long", &long, None, (MAX, &mut Undo::default())),
        Err(StateError::Value(long.len()))
    );
}

#[test]
fn the_quota_holds_and_expired_values_make_room() {
    let mut entries = Entries::default();
    let weight = 96 + 1 + 3;
    for (key, expires) in [("a", 0), ("b", 50), ("c", 60), ("d", 70)] {
        entries.set(key, (b"xyz", expires), 10, 4 * weight).unwrap();
    }
    assert_eq!(entries.set("e", (b"xyz", 0), 20, 4 * weight), Err(StateError::Full(4 * weight)));
    entries.set("d", (b"zyx", 70), 20, 4 * weight).unwrap();
    assert_eq!(entries.get("b", 49), Some(&b"xyz"[..]));
    assert_eq!(entries.get("b", 50), None);
    entries.set("e", (b"xyz", 0), 50, 4 * weight).unwrap();
    assert_eq!((entries.len(), entries.bytes()), (4, 4 * weight));
    entries.set("b", (b"xyz", 0), 100, 4 * weight).unwrap();
    assert_eq!((entries.len(), entries.bytes()), (3, 3 * weight));
}

#[test]
fn the_writer_is_told_what_the_disk_lacks() {
    let mut entries = Entries::default();
    entries.load("kept", b"1", 0);
    entries.load("gone", b"2", 0);
    assert!(entries.is_clean());
    entries.delete("gone");
    entries.set("new", (b"3", 0), 0, MAX).unwrap();
    entries.set("brief", (b"4", 0), 0, MAX).unwrap();
    entries.delete("brief");
    let mut changes = entries.take_changes(0);
    changes.keys.sort();
    let new = Some((0, b"3".as_slice().into()));
    let expected = vec![("gone".into(), None), ("new".into(), new)];
    assert_eq!(changes, Changes { is_all: false, keys: expected });
    assert!(entries.is_clean());
    // What was handed over counts as stored, so it must be taken out there.
    entries.delete("new");
    assert_eq!(entries.take_changes(0).keys, [("new".into(), None)]);
    entries.delete("kept");
    entries.set("kept", (b"5", 0), 0, MAX).unwrap();
    entries.delete("kept");
    assert_eq!(entries.take_changes(0).keys, [("kept".into(), None)]);
    entries.set("last", (b"6", 0), 0, MAX).unwrap();
    drop(entries.take_changes(0));
    entries.change_all();
    let last = Some((0, b"6".as_slice().into()));
    let all = Changes { is_all: true, keys: vec![("last".into(), last)] };
    assert_eq!(entries.take_changes(0), all);
}

#[test]
fn a_run_that_came_to_nothing_changes_nothing() {
    let state = State::volatile();
    let mut undo = Undo::default();
    state.set("a", b"1", Some(60_000), (MAX, &mut undo)).unwrap();
    state.set("b", b"1", None, (MAX, &mut undo)).unwrap();
    undo.clear();
    let before = state.usage();
    state.set("a", b"2", None, (MAX, &mut undo)).unwrap();
    state.set("a", b"333", None, (MAX, &mut undo)).unwrap();
    state.delete("b", &mut undo).unwrap();
    assert_eq!(state.increment("n", 1, None, (MAX, &mut undo)), Ok(1));
    assert_eq!(state.increment("n", 1, None, (MAX, &mut undo)), Ok(2));
    state.undo(&mut undo);
    assert_eq!(state.get("a"), Ok(Some(b"1".to_vec())));
    assert_eq!(state.get("b"), Ok(Some(b"1".to_vec())));
    assert_eq!((state.get("n"), state.usage()), (Ok(None), before));
    state.undo(&mut undo);
    assert_eq!(state.usage(), before);
}

#[test]
fn state_is_there_again_after_it_was_closed() {
    let path = path("again");
    let state = State::new(path.clone());
    assert!(matches!(state.get("a"), Err(StateError::Closed(_))));
    state.open().unwrap();
    state.set("a", b"1", None, (MAX, &mut Undo::default())).unwrap();
    state.set("soon", b"1", Some(1), (MAX, &mut Undo::default())).unwrap();
    state.set("late", b"1", Some(3_600_000), (MAX, &mut Undo::default())).unwrap();
    assert_eq!(state.increment("n", 3, None, (MAX, &mut Undo::default())), Ok(3));
    drop(state);
    let state = State::new(path.clone());
    state.open().unwrap();
    assert_eq!(state.get("a"), Ok(Some(b"1".to_vec())));
    assert_eq!(state.get("soon"), Ok(None));
    assert_eq!(state.get("late"), Ok(Some(b"1".to_vec())));
    assert_eq!(state.increment("n", 1, None, (MAX, &mut Undo::default())), Ok(4));
    let second = State::new(path.clone());
    assert!(second.open().is_err(), "two may not have it");
    assert!(matches!(
        second.set("a", b"", None, (MAX, &mut Undo::default())),
        Err(StateError::Closed(_))
    ));
    state.delete("a", &mut Undo::default()).unwrap();
    drop((state, second));
    let state = State::new(path.clone());
    state.open().unwrap();
    assert_eq!((state.get("a"), state.usage().0), (Ok(None), 2));
    drop(state);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn changes_reach_the_disk_while_the_state_is_open() {
    let path = path("open");
    let state = State::new(path.clone());
    state.open().unwrap();
    state.set("a", b"1", None, (MAX, &mut Undo::default())).unwrap();
    let copy = path.with_file_name("copy.redb");
    let is_there = || {
        fs::copy(&path, &copy).unwrap();
        let copied = State::new(copy.clone());
        copied.open().is_ok() && copied.get("a") == Ok(Some(b"1".to_vec()))
    };
    let tries = (0..200).take_while(|_| !is_there()).inspect(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
    });
    assert!(tries.count() < 200, "it is not written");
    drop(state);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn a_damaged_file_is_set_aside() {
    let path = path("damaged");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "this is no database, and it is longer than a header".repeat(200)).unwrap();
    let state = State::new(path.clone());
    state.open().unwrap();
    state.set("a", b"1", None, (MAX, &mut Undo::default())).unwrap();
    drop(state);
    let files = fs::read_dir(path.parent().unwrap()).unwrap();
    let names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.contains(".broken-")), "{names:?}");
    let state = State::new(path.clone());
    state.open().unwrap();
    assert_eq!(state.get("a"), Ok(Some(b"1".to_vec())));
    drop(state);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

fn path(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("weir-state-{name}-{}", std::process::id()));
    folder.join("shop.once.redb")
}
