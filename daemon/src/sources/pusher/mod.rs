//! The Pusher source: what the servers of an app publish through its HTTP API.
//!
//! An event's name is its type and its channel the extension attribute `channel`, where a
//! `broadcast` sink without a template finds it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use crate::ack::{AckMode, Code, Refusal};
use crate::component::{BuildContext, BuildError, Health, RunError, Source};
use crate::edge::Outlet;
use crate::event::id::{IdBuffer, ulid};
use crate::event::{Batch, Draft};
use crate::live::{AppIntake, Publication, SOCKET_ATTRIBUTE, Verdicts};
use crate::tasks::Stop;
use crate::units::{Time, now_micros};

/// The settings of a Pusher source.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The app, as `[app.NAME]` in `weir.toml` declares it. Must be given.
    app: String,
    /// What a publisher waits for: `settled`, `routed` or `accepted`. Absent means the default of
    /// the pipeline, which depends on its sinks.
    ack: Option<AckMode>,
    /// How long a publisher waits for its verdict before it is told 504. 10 s by default, as over
    /// HTTP.
    ack_timeout: Time,
}

impl Default for Config {
    fn default() -> Self {
        Self { app: String::new(), ack: None, ack_timeout: Time(Duration::from_secs(10)) }
    }
}

/// The Pusher source.
#[derive(Debug)]
pub(super) struct Pusher {
    /// Takes events while the routes in force lead to it.
    intake: Arc<Intake>,
    health: Arc<Health>,
}

/// What a batch of events is made with.
#[derive(Debug)]
struct Intake {
    /// The `source` of the events.
    source: String,
    ack: Option<AckMode>,
    ack_timeout: Duration,
    outlet: Outlet,
}

impl Source for Pusher {
    const TYPE: &'static str = "pusher";
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        if config.app.is_empty() {
            let help = "add the app whose events it takes, as in `app = \"shop\"`";
            return Err(BuildError::new("W0203", "the source has no `app`").help(help));
        }
        super::review(config.ack, cx);
        let app = cx.app(&config.app)?;
        let intake = Arc::new(Intake {
            source: format!("/apps/{}", app.settings().id),
            ack: config.ack,
            ack_timeout: config.ack_timeout.0,
            outlet: cx.outlet().for_waiting(config.ack_timeout.0),
        });
        let budget = Arc::clone(cx.outlet().budget());
        let (paths, endpoint) = app.publishing(Arc::clone(&intake) as _, budget);
        for path in paths {
            cx.mount(None, &path, Arc::clone(&endpoint))?;
        }
        Ok(Self { intake, health: cx.health() })
    }

    async fn run(self, mut stop: Stop) -> Result<(), RunError> {
        self.health.set_running();
        stop.asked().await;
        drop(self.intake);
        Ok(())
    }
}

impl AppIntake for Intake {
    fn publish(&self, events: &[Publication<'_>]) -> Result<Verdicts, Refusal> {
        if self.outlet.is_refusing() {
            return Err(Refusal::new(Code::Overloaded, "the daemon holds as much as it may"));
        }
        let receipt = self.outlet.publish(self.batch(events), &[], self.ack)?;
        let ack_timeout = self.ack_timeout;
        Ok(Box::pin(async move {
            // What is still open then is answered `timeout`.
            drop(timeout(ack_timeout, receipt.wait()).await);
            receipt.answers()
        }))
    }
}

impl Intake {
    fn batch(&self, events: &[Publication<'_>]) -> Batch {
        let arrival = now_micros();
        let mut batch = Batch::default();
        let mut buffer = IdBuffer::default();
        for event in events {
            let is_json = serde_json::from_str::<IgnoredAny>(event.data).is_ok();
            let content_type = if is_json { "application/json" } else { "text/plain" };
            let channel = ("channel", event.channel);
            let with_socket = event.socket.map(|socket| [channel, (SOCKET_ATTRIBUTE, socket)]);
            batch.push(&Draft {
                id: ulid(arrival, &mut buffer),
                source: &self.source,
                event_type: event.name,
                subject: None,
                content_type: Some(content_type),
                time: arrival,
                arrival,
                data: event.data.as_bytes(),
                extensions: with_socket.as_ref().map_or(&[channel], |both| both),
            });
        }
        batch
    }
}
