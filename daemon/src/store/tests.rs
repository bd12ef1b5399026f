//! A journal keeps what it acknowledged, whatever happens to its process, its file and its disk.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::{Database, ReadableTable, TableDefinition};

use super::{Journal, JournalSettings, JournalState, Record, StoreError, WhenFull};
use crate::tasks::Tasks;

const WAIT: Duration = Duration::from_secs(10);
/// Names the file that the forked writer writes.
const WRITER: &str = "WEIR_TEST_JOURNAL";

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("weir-store-{:x}", fastrand::u64(..)));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.join("logs/j.redb")
    }

    /// Files that were set aside.
    fn broken(&self) -> usize {
        let files = fs::read_dir(self.0.join("logs")).unwrap();
        let is_broken = |name: String| name.contains(".redb.broken-");
        files.filter(|file| is_broken(file.as_ref().unwrap().path().display().to_string())).count()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn settings(path: &Path) -> JournalSettings {
    let path = path.to_owned();
    JournalSettings { path, bytes_max: 1 << 20, age_max: None, when_full: WhenFull::Reject }
}

fn record(text: &str, events: u32) -> Record {
    Record { events, bytes: text.as_bytes().to_vec() }
}

/// A started journal and its thread.
struct Running {
    journal: Journal,
    tasks: Tasks,
}

impl Running {
    fn new(settings: JournalSettings) -> Self {
        let (journal, tasks) = (Journal::new(settings), Tasks::default());
        journal.start(&tasks);
        journal.start(&tasks);
        Self { journal, tasks }
    }

    async fn append(&self, text: &str, events: u32) -> Result<u64, StoreError> {
        tokio::time::timeout(WAIT, self.journal.append(record(text, events))).await.unwrap()
    }

    async fn texts(&self, from: u64) -> Vec<(u64, String)> {
        let stored = self.journal.read(from, 1 << 20).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        stored.into_iter().map(|stored| (stored.seq, text(stored.record.bytes))).collect()
    }

    async fn stop(self) {
        drop(self.journal);
        assert_eq!(self.tasks.ended(WAIT).await, 0, "the writer ends with its last handle");
    }

    async fn until(&self, what: impl Fn(&super::JournalStats) -> bool) {
        let wait = async {
            while !what(&self.journal.stats()) {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(WAIT, wait).await;
        assert!(seen.is_ok(), "{:?}", self.journal.stats());
    }
}

fn held(texts: &[(u64, &str)]) -> Vec<(u64, String)> {
    texts.iter().map(|(seq, text)| (*seq, (*text).to_owned())).collect()
}

#[tokio::test]
async fn records_come_back_in_order_after_a_restart() {
    let dir = Dir::new();
    let first = Running::new(settings(&dir.path()));
    let appends: Vec<_> =
        (0..3).map(|n| first.journal.append(record(&n.to_string(), n + 1))).collect();
    let mut seqs = Vec::new();
    for append in appends {
        seqs.push(append.await.unwrap());
    }
    assert_eq!(seqs, [1, 2, 4]);
    first.stop().await;
    let again = Running::new(settings(&dir.path()));
    assert_eq!(again.texts(0).await, held(&[(1, "0"), (2, "1"), (4, "2")]));
    assert_eq!(again.texts(3).await, held(&[(2, "1"), (4, "2")]), "the record that holds 3");
    assert_eq!(again.texts(7).await, []);
    assert_eq!(again.append("3", 1).await, Ok(7));
    again.stop().await;
}

#[tokio::test]
async fn a_record_that_counts_no_event_is_one() {
    let dir = Dir::new();
    let running = Running::new(settings(&dir.path()));
    assert_eq!(running.append("a", 0).await, Ok(1));
    assert_eq!(running.append("b", 1).await, Ok(2));
    assert_eq!(running.texts(0).await, held(&[(1, "a"), (2, "b")]));
    let stats = running.journal.stats();
    assert_eq!((stats.events, stats.appended, stats.dropped.damaged), (2, 2, 0));
    running.stop().await;
}

#[tokio::test]
async fn numbers_never_go_back_even_if_the_journal_is_empty() {
    let dir = Dir::new();
    let first = Running::new(settings(&dir.path()));
    first.append("a", 5).await.unwrap();
    first.append("b", 1).await.unwrap();
    first.journal.release(4);
    first.until(|stats| stats.first == 4).await;
    assert_eq!(first.texts(0).await.len(), 2, "one event of the record is not done");
    first.journal.release(100);
    first.until(|stats| stats.events == 0).await;
    let epoch = first.journal.stats().epoch;
    first.stop().await;
    let again = Running::new(settings(&dir.path()));
    let stats = again.journal.ready(WAIT).await.unwrap();
    assert_eq!((stats.first, stats.next, stats.bytes, stats.epoch), (7, 7, 0, epoch));
    again.stop().await;
}

#[tokio::test]
async fn a_full_journal_refuses_drops_or_waits_as_told() {
    let dir = Dir::new();
    let small = |when_full| JournalSettings { bytes_max: 100, when_full, ..settings(&dir.path()) };
    let running = Running::new(small(WhenFull::Reject));
    let text = "x".repeat(30);
    assert_eq!(running.append(&text, 1).await, Ok(1));
    assert_eq!(running.append(&text, 1).await, Ok(2));
    assert_eq!(running.append(&text, 1).await, Err(StoreError::Full(100)));
    assert_eq!(running.append(&"x".repeat(200), 1).await, Err(StoreError::TooLarge(217)));

    running.journal.adjust(small(WhenFull::DropOldest));
    assert_eq!(running.append(&text, 1).await, Ok(3));
    let stats = running.journal.stats();
    assert_eq!((stats.first, stats.events, stats.dropped.full), (2, 2, 1));

    running.journal.adjust(small(WhenFull::Block));
    let mut waiting = running.journal.append(record(&text, 1));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "nothing was released");
    running.journal.release(3);
    assert_eq!(tokio::time::timeout(WAIT, waiting).await.unwrap(), Ok(4));
    assert_eq!(running.journal.remove(vec![3, 9]).await, Ok(1));
    assert_eq!(running.texts(0).await, held(&[(4, &text)]));

    let aged = JournalSettings { age_max: Some(Duration::ZERO), ..small(WhenFull::Block) };
    running.journal.adjust(aged);
    running.until(|stats| stats.events == 0 && stats.dropped.age == 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_costs_only_what_it_failed() {
    let dir = Dir::new();
    let running = Running::new(settings(&dir.path()));
    running.append("before", 1).await.unwrap();
    let disk = running.journal.disk();
    for flag in [&disk.fail_syncs, &disk.fail_writes] {
        flag.store(true, Ordering::SeqCst);
        let failed = running.append("refused", 1).await;
        assert!(matches!(failed, Err(StoreError::Disk(_))), "{failed:?}");
        assert!(matches!(running.journal.stats().state, JournalState::Failed(_)));
        flag.store(false, Ordering::SeqCst);
        running.until(|stats| stats.state == JournalState::Ready).await;
        running.append("after", 1).await.unwrap();
    }
    let texts: Vec<String> = running.texts(0).await.into_iter().map(|(_, text)| text).collect();
    let acknowledged: Vec<&String> = texts.iter().filter(|text| *text != "refused").collect();
    assert_eq!(acknowledged, ["before", "after", "after"]);
    running.stop().await;
    assert_eq!(dir.broken(), 0);
}

#[tokio::test]
async fn a_full_disk_does_not_keep_what_was_sent_from_being_released() {
    let dir = Dir::new();
    let running = Running::new(settings(&dir.path()));
    let text = "x".repeat(50_000);
    running.append(&text, 1).await.unwrap();
    let length = fs::metadata(dir.path()).unwrap().len();
    running.journal.disk().length_max.store(length + (1 << 20), Ordering::SeqCst);
    let mut last = 1;
    while let Ok(seq) = running.append(&text, 1).await {
        last = seq;
    }
    // Publishers go on trying while what is there goes out.
    let trying = async {
        while running.append(&text, 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let releasing = async {
        for from in [1, last] {
            while running.journal.read(from, 1).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        running.journal.release(last);
    };
    tokio::time::timeout(WAIT, async { tokio::join!(trying, releasing) }).await.unwrap();
    assert!(running.journal.stats().first >= last);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_set_aside() {
    let dir = Dir::new();
    let whole = Running::new(settings(&dir.path()));
    whole.append(&"x".repeat(50_000), 1).await.unwrap();
    whole.stop().await;
    let bytes = fs::read(dir.path()).unwrap();
    let broken = [b"not a database".to_vec(), bytes[..bytes.len() / 2].to_vec()];
    for (count, bytes) in broken.into_iter().enumerate() {
        fs::write(dir.path(), bytes).unwrap();
        let running = Running::new(settings(&dir.path()));
        let seq = running.append("new", 1).await.unwrap();
        assert!(seq > 1_000_000, "beyond what the lost file may have handed out: {seq}");
        assert_eq!(running.journal.stats().set_aside, 1);
        running.stop().await;
        assert_eq!(dir.broken(), count + 1);
    }
}

#[tokio::test]
async fn a_file_that_another_has_open_is_left_alone() {
    let dir = Dir::new();
    let first = Running::new(settings(&dir.path()));
    first.append("mine", 1).await.unwrap();
    let second = Running::new(settings(&dir.path()));
    assert!(matches!(second.append("theirs", 1).await, Err(StoreError::Locked(_))));
    first.stop().await;
    second.until(|stats| stats.state == JournalState::Ready).await;
    assert_eq!(second.texts(0).await, held(&[(1, "mine")]));
    second.stop().await;
    assert_eq!(dir.broken(), 0);
}

#[tokio::test]
async fn a_damaged_record_is_skipped_and_counted_once() {
    const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
    let dir = Dir::new();
    let whole = Running::new(settings(&dir.path()));
    for text in ["a", "b", "c"] {
        whole.append(text, 1).await.unwrap();
    }
    whole.stop().await;
    let database = Database::open(dir.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(RECORDS).unwrap();
        let mut bytes = table.get(2).unwrap().unwrap().value().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        table.insert(2, bytes.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let running = Running::new(settings(&dir.path()));
    for _ in 0..2 {
        assert_eq!(running.texts(0).await, held(&[(1, "a"), (3, "c")]));
        assert_eq!(running.journal.stats().dropped.damaged, 1);
    }
    running.stop().await;
}

#[test]
fn every_bit_of_a_record_is_checked() {
    let frame = super::frame::encode(7, 1, &record("data", 2));
    assert!(super::frame::decode(7, &frame).is_some());
    assert!(super::frame::decode(8, &frame).is_none());
    for at in 0..frame.len() {
        assert!(super::frame::decode(7, &frame[..at]).is_none(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = frame.clone();
            flipped[at] ^= 1 << bit;
            assert!(super::frame::decode(7, &flipped).is_none(), "bit {bit} of byte {at}");
        }
    }
}

/// Not a test by itself: what [`nothing_acknowledged_is_lost_to_a_kill`] starts and kills.
#[tokio::test]
async fn writer_process() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let running = Running::new(settings(Path::new(&path)));
    for n in 0.. {
        let seq = running.append(&n.to_string(), 1).await.unwrap();
        println!("acknowledged {seq}");
        running.journal.release(seq.saturating_sub(100));
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_a_kill() {
    let dir = Dir::new();
    let mut newest = 0;
    for _ in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::writer_process", "--nocapture"])
            .env(WRITER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = fastrand::usize(1..60);
        for line in lines {
            let Ok(line) = line else { break };
            let Some(seq) = line.strip_prefix("acknowledged ") else { continue };
            let seq: u64 = seq.parse().unwrap();
            assert!(seq > newest, "{seq} was handed out again");
            newest = seq;
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let running = Running::new(settings(&dir.path()));
        let seqs: Vec<u64> = running.texts(0).await.into_iter().map(|(seq, _)| seq).collect();
        let kept = newest.saturating_sub(99).max(1);
        assert!((kept..=newest).all(|seq| seqs.contains(&seq)), "{kept}..={newest}: {seqs:?}");
        running.stop().await;
    }
    assert_eq!(dir.broken(), 0);
}
