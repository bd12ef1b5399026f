//! A daemon with a queue of its own behind it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_harness::broker::{Broker, Vhost};
use weir_harness::{Setup, Weir, eventually};

/// How long a spool may take to drain once everything is well.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// A daemon with a queue of its own behind it.
pub(crate) struct Scene {
    pub(crate) vhost: Vhost,
    pub(crate) weir: Weir,
    /// The broker's address as the daemon knows it.
    url: String,
    edits: AtomicU32,
}

impl Scene {
    /// A daemon that reaches the broker directly.
    pub(crate) async fn start(broker: &Broker, name: &str) -> Self {
        Self::with(broker, name, broker.port(), |setup| setup).await
    }

    /// A daemon that reaches the broker through `port`, set up further by `more`.
    pub(crate) async fn with(
        broker: &Broker,
        name: &str,
        port: u16,
        more: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let vhost = broker.vhost(name).await;
        let (own, other) = (format!(":{}/", broker.port()), format!(":{port}/"));
        let url = vhost.url.replace(&own, &other);
        let weir = more(Weir::with(&pipeline(&url, 1_024))).start().await;
        eventually("the queue is declared", async || vhost.exists("all").await.then_some(())).await;
        broker.remember().await;
        Self { vhost, weir, url, edits: AtomicU32::new(0) }
    }

    /// Reloads the pipeline with another window.
    pub(crate) async fn reload(&self) {
        let edit = self.edits.fetch_add(1, Ordering::Relaxed);
        self.weir.edit("pipelines/test.toml", pipeline(&self.url, 1_000 + edit % 2));
        assert_eq!(self.weir.reload().await.status(), 200);
    }

    /// Waits until everything that was spooled is at the broker.
    pub(crate) async fn drained(&self) {
        let deadline = Instant::now() + DRAIN_MAX;
        while self.weir.metric("weir_spool_events", &[]).await > 0.0 {
            assert!(Instant::now() < deadline, "the spool does not drain");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The ids of all messages that are in the queue, which is empty then.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let taken = self.vhost.again().await.drain("all").await;
        taken.iter().map(|message| message.id().to_owned()).collect()
    }
}

fn pipeline(url: &str, window: u32) -> String {
    format!(
        r##"
[[source]]
type = "http"
path = "/in"

[[sink]]
type = "rabbitmq"
url = "{url}"
exchange = {{ name = "events", declare = true }}
queue = {{ name = "all", bind = ["n"] }}
routing_key = "{{{{type}}}}"
window = {window}
stall_timeout = "2s"
"##
    )
}
