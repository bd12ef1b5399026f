//! Messages that no queue takes, and a broker that refuses every handshake.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use weir_harness::broker::Broker;
use weir_harness::proxy::{Proxy, Weather};
use weir_harness::{Connection, Weir, eventually};

use super::report::{Figure, Report};
use super::scene::Scene;

/// Events in one request; the queue takes all but every tenth.
const BATCH: usize = 100;
const DURATION: Duration = Duration::from_secs(20);
/// Requests at once.
const PUBLISHERS: usize = 8;
/// Sinks that cannot connect, each with a connection of its own.
const SINKS: usize = 25;
const HANDSHAKES: u64 = 500;

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    unroutable(broker, report).await;
    handshakes(report).await;
}

/// Publishes with many messages under way, and looks whether each is told its own fate.
async fn unroutable(broker: &Broker, report: &mut Report) {
    let scene = Scene::start(broker, "unroutable").await;
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish(scene.weir.public, publisher));
    }
    let tallies = publishers.join_all().await;
    let (told, wrong) =
        tallies.iter().fold((0, 0), |sum, tally| (sum.0 + tally.0, sum.1 + tally.1));
    scene.drained().await;
    let found = scene.ids().await.len();
    report.figure(&Figure {
        name: "10 % unroutable: events told the fate of another",
        target: "0",
        measured: format!("{wrong} of {told}, {found} in the queue"),
        is_met: wrong == 0 && found == told - told / 10,
    });
    scene.weir.stop().await.regular();
}

/// How many events were told their fate, and how many a wrong one.
async fn publish(address: std::net::SocketAddr, publisher: usize) -> (usize, usize) {
    let mut connection = Connection::open(address).await.expect("the daemon accepts");
    let (mut told, mut wrong) = (0, 0);
    let since = Instant::now();
    while since.elapsed() < DURATION {
        let event = |number: usize| {
            let event_type = if number % 10 == 9 { "nowhere" } else { "n" };
            format!(
                r#"{{"specversion":"1.0","id":"{publisher}-{number}","source":"/chaos","type":"{event_type}","data":{number}}}"#
            )
        };
        let events: Vec<String> = (told..told + BATCH).map(event).collect();
        let body = format!("[{}]", events.join(","));
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let reply = connection.call("POST", "/in", &headers, body.as_bytes()).await;
        let results = reply.expect("the daemon answers").results();
        let is_right = |(index, result): (usize, &Value)| {
            let (status, code) = (result["status"].as_str(), result["code"].as_str());
            if index % 10 == 9 { code == Some("unroutable") } else { status == Some("delivered") }
        };
        wrong += BATCH - results.iter().enumerate().filter(|result| is_right(*result)).count();
        told += BATCH;
    }
    (told, wrong)
}

/// Lets many handshakes fail, and looks what is left of them.
async fn handshakes(report: &mut Report) {
    let proxy = Proxy::to(1).await;
    proxy.set(Weather::Closed);
    let mut setup = Weir::empty();
    for sink in 0..SINKS {
        let url = format!("amqp://guest:guest@127.0.0.1:{}/v{sink}", proxy.port());
        let pipeline = format!(
            "[[source]]\ntype = \"http\"\npath = \"/in/{sink}\"\n[[sink]]\ntype = \"rabbitmq\"\n\
             url = \"{url}\"\nqueue = {{ name = \"q\" }}\nspool = \"none\"\n"
        );
        setup = setup.pipeline(&format!("p{sink}"), &pipeline);
    }
    let weir = setup.start_unready().await;
    let reached = async |count| {
        let deadline = Instant::now() + Duration::from_secs(120);
        while proxy.accepted() < count {
            assert!(Instant::now() < deadline, "{} handshakes", proxy.accepted());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    reached(2 * SINKS as u64).await;
    let (threads, files) = (weir.threads(), weir.open_files());
    reached(2 * SINKS as u64 + HANDSHAKES).await;
    // An attempt under way has a thread and sockets of its own, so the least of some looks counts.
    let mut least = (usize::MAX, usize::MAX);
    eventually("attempts pause", async || {
        least = (least.0.min(weir.threads()), least.1.min(weir.open_files()));
        (least.0 <= threads && least.1 <= files).then_some(())
    })
    .await;
    report.figure(&Figure {
        name: "threads and descriptors after 500 failed handshakes",
        target: "as many as before",
        measured: format!("{threads} and {files} before, {} and {} after", least.0, least.1),
        is_met: true,
    });
    weir.stop().await.regular();
}
