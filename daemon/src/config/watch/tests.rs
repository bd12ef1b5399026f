//! What `watch` promises, tried out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::{PATIENCE, QUIET, Watched, Watcher};
use crate::config::tests::Directory;
use crate::tasks::Tasks;

/// Longer than any look may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn watch(directory: &Directory) -> Watcher {
    let watched = Watched {
        dirs: vec![(directory.path("pipelines"), "toml")],
        files: vec![directory.path("weir.toml")],
    };
    Watcher::new(watched).unwrap()
}

async fn is_told(watcher: &mut Watcher) {
    timeout(SOON, watcher.changed()).await.expect("the change is told");
}

async fn is_quiet(watcher: &mut Watcher) {
    let quiet = timeout(QUIET * 4, watcher.changed()).await;
    assert!(quiet.is_err(), "nothing changed");
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn edits_renames_and_removals_are_told() {
    let directory = Directory::new();
    let file = directory.write("pipelines/a.toml", "1");
    let mut watcher = watch(&directory);
    fs::write(&file, "2").unwrap();
    is_told(&mut watcher).await;
    replace(&file, "3");
    is_told(&mut watcher).await;
    directory.write("pipelines/b.toml", "1");
    is_told(&mut watcher).await;
    fs::remove_file(&file).unwrap();
    is_told(&mut watcher).await;
    directory.write("weir.toml", "1");
    is_told(&mut watcher).await;
    is_quiet(&mut watcher).await;
}

#[tokio::test]
async fn what_leaves_the_content_alone_is_not_told() {
    let directory = Directory::new();
    let file = directory.write("pipelines/a.toml", "1");
    let mut watcher = watch(&directory);
    fs::write(&file, "1").unwrap();
    replace(&file, "1");
    directory.write("pipelines/.a.toml.swp", "x");
    directory.write("pipelines/notes.txt", "x");
    is_quiet(&mut watcher).await;
}

#[tokio::test]
async fn a_swapped_link_to_a_directory_is_told() {
    let directory = Directory::new();
    directory.write("pipelines/..1/a.toml", "1");
    directory.write("pipelines/..2/a.toml", "2");
    let dir = directory.path("pipelines");
    symlink("..1", dir.join("..data")).unwrap();
    symlink("..data/a.toml", dir.join("a.toml")).unwrap();
    let mut watcher = watch(&directory);
    symlink("..2", dir.join("..tmp")).unwrap();
    fs::rename(dir.join("..tmp"), dir.join("..data")).unwrap();
    is_told(&mut watcher).await;
    fs::remove_dir_all(dir.join("..1")).unwrap();
    is_quiet(&mut watcher).await;
    directory.write("pipelines/..2/a.toml", "3");
    is_told(&mut watcher).await;
}

#[tokio::test]
async fn a_directory_that_comes_back_is_watched_again() {
    let directory = Directory::new();
    directory.write("pipelines/a.toml", "1");
    let mut watcher = watch(&directory);
    for round in 0..3 {
        fs::remove_dir_all(directory.path("pipelines")).unwrap();
        is_told(&mut watcher).await;
        directory.write("pipelines/a.toml", format!("back {round}"));
        is_told(&mut watcher).await;
        directory.write("pipelines/a.toml", format!("edited {round}"));
        is_told(&mut watcher).await;
    }
}

#[tokio::test]
async fn a_storm_of_edits_is_told_a_few_times() {
    let directory = Directory::new();
    let file = directory.write("pipelines/a.toml", "0");
    let mut watcher = watch(&directory);
    let storm = std::thread::spawn(move || {
        for edit in 0..2_500 {
            fs::write(&file, edit.to_string()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut told = 0;
    while timeout(PATIENCE + QUIET * 5, watcher.changed()).await.is_ok() {
        told += 1;
    }
    storm.join().unwrap();
    assert!((1..=5).contains(&told), "told {told} times");
}

#[tokio::test]
async fn files_that_others_refer_to_are_watched_too() {
    let directory = Directory::new();
    let secret = directory.write("secrets/key", "1");
    let mut watcher = watch(&directory);
    watcher.watch_also(BTreeSet::from([secret.clone()]));
    is_quiet(&mut watcher).await;
    fs::write(&secret, "2").unwrap();
    is_told(&mut watcher).await;
}

#[tokio::test]
async fn the_thread_ends_with_the_watcher() {
    let directory = Directory::new();
    let watched = Watched { dirs: vec![(PathBuf::from("/"), "toml")], files: vec![] };
    let tasks = Tasks::default();
    let watcher = Watcher::on(watched, &tasks).unwrap();
    drop(watcher);
    assert_eq!(tasks.ended(SOON).await, 0);
    drop(directory);
}
