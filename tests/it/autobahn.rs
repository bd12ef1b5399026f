//! The WebSocket code holds to RFC 6455: the Autobahn cases, run by `kosoku` against sockets that
//! say what they hear, behind a listener of the daemon. `make test` installs `kosoku`.

use std::env;
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use weir::live::Mirror;
use weir::net::{Listener, Mount, Routes, SharedRoutes};
use weir::tasks::{Stopper, Tasks};
use weir_harness::artifacts::repository;
use weir_harness::directory::Directory;
use weir_harness::within;

/// Cases of sections 1 to 7, 9 and 10; the others are about compression, which nobody is offered.
const CASES_MIN: usize = 290;

#[tokio::test(flavor = "multi_thread")]
async fn sockets_behave_as_the_standard_says() {
    let kosoku = repository().join("target/autobahn-python/bin/kosoku");
    if !kosoku.exists() {
        let message = "kosoku is not installed; `make autobahn` installs it";
        assert!(env::var_os("CI").is_none(), "{message}");
        writeln!(std::io::stderr(), "SKIPPED: {message}").ok();
        return;
    }
    let (tasks, stopper) = (Tasks::default(), Stopper::default());
    let listener = Listener::bind("public", "127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut routes = Routes::default();
    let (listener_name, path) = ("public".to_owned(), "/mirror".to_owned());
    routes.add(Mount { listener: listener_name, path, endpoint: Arc::new(Mirror::default()) });
    let shared = SharedRoutes::default();
    shared.store(Arc::new(routes));
    listener.serve(shared, &tasks, stopper.stop());

    let reports = Directory::fresh();
    let mut suite = Command::new(kosoku);
    suite.args(["-m", "fuzzingclient", "-p", "2", "-x", "12.*", "-x", "13.*", "-o"]);
    suite.arg(reports.path()).arg(format!("{address}/mirror"));
    // The suite waits for much of this time, by what its cases are.
    let running = spawn_blocking(move || suite.output());
    let said = timeout(Duration::from_secs(240), running).await.expect("the suite ends");
    let said = said.expect("no panic").expect("it can be started");
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let index = fs::read(reports.path().join("index.json")).expect(&text);
    let index: Value = serde_json::from_slice(&index).expect("a report is JSON");
    let agents = index.as_object().expect("cases by agent");
    let cases: Vec<_> = agents.values().filter_map(Value::as_object).flatten().collect();
    let is_good = |case: &Value| {
        let is =
            |key: &str| matches!(case[key].as_str(), Some("OK" | "NON-STRICT" | "INFORMATIONAL"));
        is("behavior") && is("behaviorClose")
    };
    let bad: Vec<_> = cases.iter().filter(|(_, case)| !is_good(case)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(cases.len() >= CASES_MIN, "{} cases ran", cases.len());
    stopper.ask();
    within("an end", tasks.ended(Duration::from_secs(5))).await;
}
