//! What the log settles is on the disk and can be read; what it cannot keep is refused.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Config, Log};
use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome, Receipt};
use crate::component::{BuildContext, BuildError, ComponentId, Host, PipelineName, Sink};
use crate::edge::{Capacity, Delivery, edge};
use crate::event::{Batch, Draft};
use crate::store::{Volume, files};
use crate::units::{Size, Time};

/// A directory of the test's own; removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weir-log-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn build(scratch: &Scratch, config: Config) -> Result<Log, BuildError> {
    let host = Arc::new(Host { data_dir: scratch.0.clone(), ..Host::default() });
    let id = ComponentId::new(&PipelineName::new("shop").unwrap(), "log").unwrap();
    Log::build(config, &BuildContext::for_sink(&id, &host))
}

/// Runs `sink` on one delivery of events with these data, to its end.
async fn deliver(sink: Log, data: &[&str]) -> Receipt {
    let mut batch = Batch::default();
    for (number, data) in data.iter().enumerate() {
        let id = number.to_string();
        let (source, event_type) = ("/in", "order");
        batch.push(&Draft {
            id: &id,
            source,
            event_type,
            data: data.as_bytes(),
            ..Draft::default()
        });
    }
    let account = Arc::new(Account::new(Limits::default()));
    let sizes = vec![1; batch.len()];
    let (receipt, acks) = account.admit(sizes.into_iter(), AckMode::Settled).unwrap();
    let (sender, inlet) = edge(Capacity { events: 1_000, bytes: 1 << 20 });
    sender.send(Delivery { batch: Arc::new(batch), acks, entry: 0 }).unwrap();
    sender.close();
    let tasks = sink.tasks.clone();
    sink.run(inlet).await.unwrap();
    assert_eq!(account.balance().in_flight, 0);
    assert_eq!(tasks.ended(std::time::Duration::from_secs(10)).await, 0);
    receipt
}

#[tokio::test]
async fn what_is_settled_is_in_the_file() {
    let scratch = Scratch::new();
    let sink = build(&scratch, Config::default()).unwrap();
    let receipt = deliver(sink, &[r#"{"n":1}"#, r#"{"n":2}"#]).await;
    assert_eq!(receipt.answers(), vec![Answer::Settled(Outcome::Delivered, None); 2]);

    let files = files(&scratch.0, &[super::FOLDER]);
    assert_eq!(files[0].0, "logs/shop.log");
    let volume = Volume::open(&files[0].1).unwrap();
    let records = volume.read(0, 1 << 20).unwrap();
    let mut lines = Vec::new();
    crate::store::write_lines(&records[0], 0, 10, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let data: Vec<_> = lines.lines().map(|line| line.rsplit_once("\"data\":").unwrap().1).collect();
    assert_eq!(data, [r#"{"n":1}}}"#, r#"{"n":2}}}"#]);
    assert!(lines.starts_with(r#"{"seq":1,"stored":"2"#), "{lines}");
}

#[tokio::test]
async fn what_never_fits_is_refused_for_good() {
    let scratch = Scratch::new();
    let config = Config { max_bytes: Size(64), ..Config::default() };
    let receipt = deliver(build(&scratch, config).unwrap(), &[&"x".repeat(100)]).await;
    let Answer::Settled(Outcome::Rejected, Some(refusal)) = &receipt.answers()[0] else {
        panic!("{:?}", receipt.answers());
    };
    assert_eq!(refusal.code, Code::TooLarge);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_told_and_shown() {
    let scratch = Scratch::new();
    fs::write(scratch.0.join("logs"), "a file where the folder should be").unwrap();
    let sink = build(&scratch, Config::default()).unwrap();
    let health = Arc::clone(&sink.health);
    let receipt = deliver(sink, &["1"]).await;
    let Answer::Settled(Outcome::Unavailable, Some(refusal)) = &receipt.answers()[0] else {
        panic!("{:?}", receipt.answers());
    };
    assert!(refusal.message.contains("the log takes no events"), "{}", refusal.message);
    let state = health.snapshot().state;
    assert!(matches!(state, crate::component::State::Degraded(_)), "{state:?}");
}

#[test]
fn a_log_that_keeps_nothing_is_a_fault() {
    let scratch = Scratch::new();
    for config in [
        Config { max_bytes: Size(0), ..Config::default() },
        Config { max_age: Some(Time(std::time::Duration::ZERO)), ..Config::default() },
    ] {
        assert_eq!(build(&scratch, config).unwrap_err().code, "W0114");
    }
}
