//! The log on the local disk: what is acknowledged stays, and `weir journal` shows it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::task::spawn_blocking;
use weir_harness::{Weir, artifacts, within};

const PIPELINE: &str = r#"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "log"
"#;

const NAME: &str = "test.log";

/// What `weir journal` said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// The data of each event that was printed.
    fn data(&self) -> Vec<u64> {
        let data = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            line["event"]["data"]["n"].as_u64().expect("the data is a number")
        };
        self.out.lines().map(data).collect()
    }
}

fn command(weir: &Weir, arguments: &[&str]) -> Command {
    let mut command = Command::new(artifacts::weir());
    command.arg("journal").args(arguments).arg("--admin").arg(weir.admin.to_string());
    command
        .arg("--data-dir")
        .arg(weir.directory.path().join("data"))
        .stdin(Stdio::null())
        .env("NO_COLOR", "1");
    command
}

fn journal(weir: &Weir, arguments: &[&str]) -> Said {
    let output = command(weir, arguments).output().expect("the binary can be started");
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("it prints text"),
        err: String::from_utf8(output.stderr).expect("it prints text"),
    }
}

async fn publish(weir: &Weir, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let reply = weir.publish("/in", &format!("{{\"n\":{n}}}")).await;
        assert_eq!(reply.status(), 200, "{reply:?}");
        assert_eq!(reply.json()["status"], "delivered");
    }
}

#[tokio::test]
async fn what_is_logged_can_be_read_while_the_daemon_runs_and_after() {
    let weir = Weir::with(PIPELINE).start().await;
    publish(&weir, 0..5).await;
    let said = journal(&weir, &["read", NAME]);
    assert_eq!((said.code, said.data()), (Some(0), vec![0, 1, 2, 3, 4]), "{}", said.err);
    let said = journal(&weir, &["read", "logs/test.log", "--from", "3", "--limit", "2"]);
    assert_eq!(said.data(), [2, 3]);
    let listed: Value =
        serde_json::from_str(&journal(&weir, &["ls", "--output", "json"]).out).expect("JSON");
    assert_eq!(
        (listed[0]["name"].as_str(), listed[0]["events"].as_u64()),
        (Some("logs/test.log"), Some(5))
    );
    weir.stop().await.clean();

    let said = journal(&weir, &["read", NAME]);
    assert_eq!((said.code, said.data()), (Some(0), vec![0, 1, 2, 3, 4]), "{}", said.err);
    let said = journal(&weir, &["verify"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out, "logs/test.log: 5 events, 0 missing or damaged\n");
    let said = journal(&weir, &["read", "nothing"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("there is no journal `nothing`"), "{}", said.err);
    let said = journal(&weir, &["read", NAME, "--follow"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
}

#[tokio::test]
async fn a_follower_sees_events_as_they_come() {
    let weir = Weir::with(PIPELINE).start().await;
    publish(&weir, 0..2).await;
    let mut follower = command(&weir, &["read", NAME, "--follow"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().expect("the binary can be started");
    let mut out = BufReader::new(follower.stdout.take().expect("a pipe"));
    for n in 0..4 {
        if n == 2 {
            publish(&weir, 2..4).await;
        }
        let read = spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).expect("a pipe can be read");
            (line, out)
        });
        let (line, rest) = within("a line", read).await.expect("no panic");
        let line: Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(line["event"]["data"]["n"], n);
        out = rest;
    }
    follower.kill().expect("it still follows");
    follower.wait().expect("a child can be waited for");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut weir = Weir::with(PIPELINE).start().await;
    let mut acknowledged = 0;
    for round in 0..3 {
        publish(&weir, round * 50..round * 50 + 50).await;
        acknowledged += 50;
        weir.kill9();
        weir.start_again().await;
        let said = journal(&weir, &["read", NAME]);
        assert_eq!(said.data(), (0..acknowledged).collect::<Vec<_>>(), "{}", said.err);
    }
    let said = journal(&weir, &["verify", NAME]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_log_forgets_its_oldest_beyond_its_bounds() {
    let bounded = format!("{PIPELINE}max_bytes = \"4KiB\"\n");
    let weir = Weir::with(&bounded).start().await;
    publish(&weir, 0..200).await;
    let said = journal(&weir, &["read", NAME]);
    let kept = said.data();
    assert!(kept.len() < 100 && kept.last() == Some(&199), "{kept:?}");
    assert_eq!(kept, (kept[0]..200).collect::<Vec<_>>(), "the newest, without a hole");
    let dropped = weir.metric("weir_journal_dropped_events_total", &[("reason", "full")]).await;
    assert_eq!(dropped as usize, 200 - kept.len());
    weir.stop().await.clean();
}
