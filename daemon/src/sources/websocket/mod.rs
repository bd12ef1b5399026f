//! The WebSocket source: events in `pub` frames of `weir.v1`, each answered in a `pubok`.
//!
//! Sessions belong to the host and outlive reloads: they ask for the settings in force with every
//! frame, and end only when no pipeline serves their path any more.

mod intake;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use self::intake::{Door, Lease, Settings};
use crate::ack::AckMode;
use crate::component::{BuildContext, BuildError, DEFAULT_LISTENER, RunError, Source};
use crate::live::SocketLimits;
use crate::sources::guard::{Guard, Rate};
use crate::tasks::Stop;
use crate::units::{Size, Time};

/// What is read at once: publishers send more than subscribers, and there are fewer of them.
const READ_LEN: usize = 4 << 10;

/// The settings of a WebSocket source.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The path that publishers connect to, such as `/ws`. Must be given.
    pub path: String,
    /// The listener that serves it; absent means `public`.
    pub listener: Option<String>,
    /// The hub that one may subscribe to on the same socket; absent means none.
    pub hub: Option<String>,
    /// The hub whose tokens publishers must show, in `hello`; their claim `publish` lists types of
    /// events. If there is a `hub`, it is this one. Absent means that everybody may publish.
    pub access: Option<Spanned<String>>,
    /// What one publisher may publish, as in `{ events = 100, per = "1s" }`: the user of its token,
    /// or whoever has its address. Absent means as much as there is room for.
    pub rate: Option<Spanned<Rate>>,
    /// What a publisher waits for: `settled`, `routed` or `accepted`. Absent means the default of
    /// the pipeline, which depends on its sinks.
    pub ack: Option<AckMode>,
    /// How long a publisher waits for its verdict before it is told `timeout`. 10 s by default,
    /// as over HTTP.
    pub ack_timeout: Time,
    /// Events that a connection may have published without a verdict. One frame is always taken.
    /// 64 by default, enough for a pipe of small frames over a long way.
    pub window: usize,
    /// Most events in one frame. 1,000 by default, so that one frame cannot hold a pipeline.
    pub max_events: usize,
    /// Largest data of one event. 256 KiB by default, which every sink takes.
    pub max_event: Size,
    /// Largest frame. 1 MiB by default, as the body of an HTTP source.
    pub max_frame: Size,
    /// Origins whose pages may connect, such as `https://shop.example.com`; `*` means all. Pages
    /// of the listener's own origin always may. Empty by default: no other site's page may.
    pub origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: String::new(),
            listener: None,
            hub: None,
            access: None,
            rate: None,
            ack: None,
            ack_timeout: Time(Duration::from_secs(10)),
            window: 64,
            max_events: 1_000,
            max_event: Size(256 << 10),
            max_frame: Size(1 << 20),
            origins: Vec::new(),
        }
    }
}

/// The WebSocket source.
#[derive(Debug)]
pub struct WebSocket {
    /// What all generations that serve this path share.
    lease: Arc<Lease>,
    settings: Arc<Settings>,
}

impl Source for WebSocket {
    const TYPE: &'static str = "websocket";
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        if config.path.is_empty() {
            let help = "add the path that publishers connect to, as in `path = \"/ws\"`";
            return Err(BuildError::new("W0203", "the source has no `path`").help(help));
        }
        let limits = [config.window, config.max_events, config.max_event.0, config.max_frame.0];
        if limits.contains(&0) {
            let message = "a source that takes no events needs no settings";
            return Err(BuildError::new("W0114", message)
                .help("`window`, `max_events`, `max_event` and `max_frame` are at least 1"));
        }
        super::review(config.ack, cx);
        let hub = config.hub.as_deref().map(|name| cx.hub(name)).transpose()?;
        if let (Some(hub), Some(access)) = (&config.hub, &config.access)
            && hub != access.get_ref()
        {
            let message = "one socket shows the tokens of one hub";
            let help = format!("write `access = \"{hub}\"`, the hub that it may subscribe to");
            return Err(BuildError::new("W0114", message).help(help).at(access.span()));
        }
        let guard = Guard::new(config.access.as_ref(), config.rate.as_ref(), cx)?;
        let keeper = hub.clone().or_else(|| guard.access.clone());
        let listener = config.listener.as_deref();
        let settings = Arc::new(Settings {
            source: config.path.clone(),
            ack: config.ack,
            ack_timeout: config.ack_timeout.0,
            window: config.window,
            events_max: config.max_events,
            event_max: config.max_event.0,
            guard,
            outlet: cx.outlet().for_waiting(config.ack_timeout.0),
        });
        let key = format!("{}{}", listener.unwrap_or(DEFAULT_LISTENER), config.path);
        let lease = cx.host.lent.borrow(&key, || Lease::new(Arc::clone(&settings), cx.host));
        let door = Arc::new(Door {
            gate: lease.gate(),
            hub,
            keeper,
            origins: config.origins,
            limits: SocketLimits { read_len: READ_LEN, message_len_max: config.max_frame.0 },
            host: Arc::clone(cx.host),
        });
        cx.mount(listener, &config.path, door)?;
        Ok(Self { lease, settings })
    }

    async fn run(self, mut stop: Stop) -> Result<(), RunError> {
        self.lease.enforce(self.settings);
        stop.asked().await;
        // The next generation, if there is one, has borrowed the lease by now.
        drop(self.lease);
        Ok(())
    }
}
