//! Publishers at work, and what is found of what they published.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use weir_harness::{Connection, eventually};

use super::report::Fault;

pub(crate) const PUBLISHERS: usize = 8;
/// Events in one request.
pub(crate) const BATCH: usize = 100;
/// How long a reply may take before the publisher tries again.
const PATIENCE: Duration = Duration::from_secs(15);

/// What publishers do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Work,
    Rest,
    Stop,
}

/// Publishers at work.
pub(crate) struct Load {
    publishers: JoinSet<(usize, usize)>,
    address: watch::Sender<SocketAddr>,
    order: watch::Sender<Order>,
    shared: Arc<Shared>,
}

/// What all publishers of a load count; each holds a handle.
#[derive(Debug, Default)]
struct Shared {
    acknowledged: AtomicU64,
    resting: AtomicUsize,
}

/// What was published.
pub(crate) struct Published {
    /// How many events, by publisher; all of them are acknowledged.
    counts: Vec<usize>,
}

impl Load {
    /// Publishers that wait for `pause` after each request.
    pub(crate) fn start(address: SocketAddr, pause: Duration) -> Self {
        let (address, order) = (watch::Sender::new(address), watch::Sender::new(Order::Work));
        let shared = Arc::<Shared>::default();
        let mut publishers = JoinSet::new();
        for number in 0..PUBLISHERS {
            let publisher = Publisher {
                number,
                address: address.subscribe(),
                order: order.subscribe(),
                shared: Arc::clone(&shared),
                pause,
            };
            publishers.spawn(publisher.run());
        }
        Self { publishers, address, order, shared }
    }

    /// Says where the daemon listens now.
    pub(crate) fn moved(&self, address: SocketAddr) {
        self.address.send_replace(address);
    }

    /// Events acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until every publisher has its answer and rests.
    pub(crate) async fn rest(&self) {
        self.order.send_replace(Order::Rest);
        let all =
            async || (self.shared.resting.load(Ordering::Relaxed) == PUBLISHERS).then_some(());
        eventually("publishers rest", all).await;
    }

    /// Sends the publishers back to work.
    pub(crate) fn go_on(&self) {
        self.order.send_replace(Order::Work);
    }

    /// Ends the load, once every publisher has its last answer.
    pub(crate) async fn end(self) -> Published {
        self.order.send_replace(Order::Stop);
        // They end in any order; each says who it is.
        let mut counts = self.publishers.join_all().await;
        counts.sort_unstable();
        Published { counts: counts.into_iter().map(|(_, count)| count).collect() }
    }
}

impl Published {
    /// Looks for every event among the ids that were found, in the order found.
    pub(crate) fn compare(
        &self,
        ids: impl IntoIterator<Item = String>,
        (name, times): (&'static str, usize),
    ) -> Fault {
        let mut seen: Vec<Vec<bool>> =
            self.counts.iter().map(|count| vec![false; *count]).collect();
        let mut newest = vec![0; seen.len()];
        let (mut repeated, mut reordered) = (0, 0);
        for id in ids {
            let (publisher, number) = id.split_once('-').expect("an id of ours");
            let publisher: usize = publisher.parse().expect("an id of ours");
            let number: usize = number.parse().expect("an id of ours");
            if std::mem::replace(&mut seen[publisher][number], true) {
                repeated += 1;
            } else if number < newest[publisher] {
                reordered += 1;
            }
            newest[publisher] = number.max(newest[publisher]);
        }
        let lost = seen.iter().flatten().filter(|seen| !**seen).count() as u64;
        let acknowledged = self.counts.iter().sum::<usize>() as u64;
        Fault { name, times, acknowledged, lost, repeated, reordered, note: String::new() }
    }
}

/// Publishes batch after batch, each until all of it is acknowledged.
struct Publisher {
    number: usize,
    /// The load holds the other ends.
    address: watch::Receiver<SocketAddr>,
    order: watch::Receiver<Order>,
    shared: Arc<Shared>,
    pause: Duration,
}

impl Publisher {
    /// Its own number and how many events it published.
    async fn run(mut self) -> (usize, usize) {
        let mut next = 0;
        let mut connection = None;
        while self.is_wanted().await {
            let body = body(self.number, &(next..next + BATCH));
            while !self.exchange(&mut connection, &body).await {
                sleep(Duration::from_millis(20)).await;
            }
            self.shared.acknowledged.fetch_add(BATCH as u64, Ordering::Relaxed);
            next += BATCH;
            sleep(self.pause).await;
        }
        (self.number, next)
    }

    async fn is_wanted(&mut self) -> bool {
        if *self.order.borrow_and_update() == Order::Rest {
            self.shared.resting.fetch_add(1, Ordering::Relaxed);
            self.order.wait_for(|order| *order != Order::Rest).await.ok();
            self.shared.resting.fetch_sub(1, Ordering::Relaxed);
        }
        *self.order.borrow() == Order::Work
    }

    /// Sends one request; whether all of it is acknowledged.
    async fn exchange(&self, connection: &mut Option<Connection>, body: &str) -> bool {
        let open = match connection.take() {
            Some(open) => Some(open),
            None => {
                let address = *self.address.borrow();
                Connection::open(address).await.ok()
            }
        };
        let Some(mut open) = open else { return false };
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let call = open.call("POST", "/in", &headers, body.as_bytes());
        let Ok(Ok(reply)) = timeout(PATIENCE, call).await else { return false };
        let is_kept = |result: &Value| {
            matches!(result["status"].as_str(), Some("delivered" | "spooled" | "duplicate"))
        };
        let is_open = reply.header("connection") != Some("close");
        let is_done =
            matches!(reply.status(), 200 | 202 | 207) && reply.results().iter().all(is_kept);
        *connection = is_open.then_some(open);
        is_done
    }
}

fn body(publisher: usize, numbers: &Range<usize>) -> String {
    let pad = "x".repeat(200);
    let event = |number: usize| {
        format!(
            r#"{{"specversion":"1.0","id":"{publisher}-{number}","source":"/chaos","type":"n","data":{{"n":{number},"pad":"{pad}"}}}}"#
        )
    };
    let events: Vec<String> = numbers.clone().map(event).collect();
    format!("[{}]", events.join(","))
}
