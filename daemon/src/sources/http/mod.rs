//! The HTTP source: events in the bodies of POST requests.
//!
//! A request comes in whole, its events go to the pipeline as one batch, and the reply says what
//! became of each. `request` reads, `reply` decides on statuses, `cors` on other sites' pages.

mod attributes;
mod cors;
mod format;
mod intake;
mod reply;
mod request;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use self::attributes::Attributes;
use self::cors::Cors;
use self::intake::{Counts, Intake};
use self::request::Rules;
use crate::ack::AckMode;
use crate::component::{BuildContext, BuildError, Health, RunError, Source};
use crate::net::BodyLimits;
use crate::sources::guard::{Guard, Rate};
use crate::tasks::Stop;
use crate::template::Template;
use crate::units::{Size, Time};

/// The settings of an HTTP source.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The path that publishers post to, such as `/in/clicks`. Must be given.
    pub path: String,
    /// The listener that serves it; absent means `public`.
    pub listener: Option<String>,
    /// Origins whose pages may publish, such as `https://shop.example.com`; `*` means all. Pages
    /// of the listener's own origin always may. Empty by default: no other site's page may.
    pub cors: Vec<String>,
    /// The hub whose tokens publishers must show; their claim `publish` lists types of events.
    /// Absent means that everybody may publish.
    pub access: Option<Spanned<String>>,
    /// What one publisher may publish, as in `{ events = 100, per = "1s" }`: the user of its token,
    /// or whoever has its address. Absent means as much as there is room for.
    pub rate: Option<Spanned<Rate>>,
    /// What a publisher waits for: `settled`, `routed` or `accepted`. Absent means the default of
    /// the pipeline, which depends on its sinks.
    pub ack: Option<AckMode>,
    /// How long a publisher waits for its verdict before it is told `timeout`. 10 s by default,
    /// which most proxies wait too.
    pub ack_timeout: Time,
    /// Largest body on the wire. 1 MiB by default, as brokers and proxies expect.
    pub max_body: Size,
    /// Largest body after decompression. 8 MiB by default, what ratios of real events reach.
    pub max_decompressed: Size,
    /// How long a body may take in all; 30 s by default. A slow one must also bring 1 KiB a second
    /// after its first 5 s.
    pub body_timeout: Time,
    /// Most events in one request. 1,000 by default, so that one request cannot hold a pipeline.
    pub max_events: usize,
    /// Largest data of one event. 256 KiB by default, which every sink takes.
    pub max_event: Size,
    /// Attributes of events that come as plain data, by name: templates over the data, as in
    /// `{ type = "{{data.kind}}", subject = "{{data.user}}" }`. Names other than `id`, `source`,
    /// `type` and `subject` become extension attributes. Where the data lacks a field, the
    /// attribute is as if it were not listed. Empty by default: type `event`, source the path.
    pub attributes: BTreeMap<String, Template>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: String::new(),
            listener: None,
            cors: Vec::new(),
            access: None,
            rate: None,
            ack: None,
            ack_timeout: Time(Duration::from_secs(10)),
            max_body: Size(1 << 20),
            max_decompressed: Size(8 << 20),
            body_timeout: Time(Duration::from_secs(30)),
            max_events: 1_000,
            max_event: Size(256 << 10),
            attributes: BTreeMap::new(),
        }
    }
}

/// The HTTP source.
#[derive(Debug)]
pub struct Http {
    /// Answers requests while the routes in force lead to it.
    intake: Arc<Intake>,
    health: Arc<Health>,
}

impl Source for Http {
    const TYPE: &'static str = "http";
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        if config.path.is_empty() {
            let help = "add the path that publishers post to, as in `path = \"/in/clicks\"`";
            return Err(BuildError::new("W0203", "the source has no `path`").help(help));
        }
        if config.max_events == 0 || config.max_body.0 == 0 || config.max_event.0 == 0 {
            let message = "a source that takes no events needs no settings";
            return Err(BuildError::new("W0114", message)
                .help("`max_events`, `max_body` and `max_event` are at least 1"));
        }
        super::review(config.ack, cx);
        let health = cx.health();
        let rules = Rules {
            source: config.path.clone(),
            attributes: Attributes::new(&config.attributes)?,
            events_max: config.max_events,
            event_max: config.max_event.0,
        };
        let intake = Arc::new(Intake {
            rules,
            cors: Cors::new(&config.cors)?,
            guard: Guard::new(config.access.as_ref(), config.rate.as_ref(), cx)?,
            limits: BodyLimits {
                bytes_max: config.max_body.0,
                decompressed_max: config.max_decompressed.0,
                total: config.body_timeout.0,
                ..BodyLimits::default()
            },
            ack: config.ack,
            ack_timeout: config.ack_timeout.0,
            outlet: cx.outlet().for_waiting(config.ack_timeout.0),
            counts: Counts::of(&health),
        });
        cx.mount(config.listener.as_deref(), &config.path, Arc::clone(&intake) as _)?;
        Ok(Self { intake, health })
    }

    async fn run(self, mut stop: Stop) -> Result<(), RunError> {
        self.health.set_running();
        stop.asked().await;
        drop(self.intake);
        Ok(())
    }
}
