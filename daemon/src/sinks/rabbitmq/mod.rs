//! The `rabbitmq` sink: events in, messages confirmed by a RabbitMQ broker out.
//!
//! An event is delivered only when the broker confirmed its message and did not return it. The
//! connection ([`Link`]) outlives reloads and is shared by sinks with the same brokers; each
//! sink's [`publisher`] owns one channel on it.

mod config;
mod confirms;
mod held;
mod letterbox;
mod message;
mod publisher;
mod redeclare;
mod stats;
mod suspicion;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::Spanned;

use self::config::Config;
use self::held::Held;
use self::letterbox::Letterbox;
use self::message::Recipe;
use self::publisher::{Plan, Publisher};
use self::window::Window;
use crate::ack::Code;
use crate::amqp::{Link, Settings, Topology, short};
use crate::component::{BuildContext, BuildError, Health, RunError, Sink};
use crate::edge::Inlet;
use crate::tasks::Tasks;
use crate::template::Template;

/// The largest window: confirming many at once costs lapin a walk over the whole of it.
const WINDOW_MAX: usize = 8192;

/// The longest patience of a sink with a spool: there events wait better than in memory.
const PATIENCE_SPOOLED: Duration = Duration::from_secs(1);

/// Publishes events to a RabbitMQ broker.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    plan: Arc<Plan>,
    /// The exchange for what no queue takes, if there is one.
    dead_letters: Option<Topology>,
    link: Arc<Link>,
    health: Arc<Health>,
    /// Where the link's supervisor runs.
    tasks: Tasks,
}

impl Sink for RabbitMq {
    const TYPE: &'static str = "rabbitmq";
    const IS_DURABLE: bool = true;
    const IS_SPOOLED: bool = true;
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        let Config { url, hosts, heartbeat, tls, .. } = &config;
        let address = Settings { url, hosts, heartbeat, tls }.address(cx.id)?;
        let topology = Topology::new(config.exchange.as_ref(), config.queue.as_ref())?;
        let dead_letters = config.dead_letter_exchange.as_ref();
        let dead_letters =
            dead_letters.map(|exchange| Topology::new(Some(exchange), None)).transpose()?;
        let (is_spooled, patience) = (cx.is_spooled(), config.patience.0);
        let plan = Plan {
            recipe: recipe(&config)?,
            topology,
            is_mandatory: config.mandatory,
            window: window(&config.window)?,
            patience: if is_spooled { patience.min(PATIENCE_SPOOLED) } else { patience },
            // A queue that is full has room again some time; on disk events wait for that.
            on_missing: if is_spooled { Code::Unavailable } else { Code::Unroutable },
            on_nack: if is_spooled { Code::Unavailable } else { Code::Rejected },
            stall_timeout: config.stall_timeout.0,
        };
        let key = address.identity();
        Ok(Self {
            plan: Arc::new(plan),
            dead_letters,
            link: cx.host.lent.borrow(&key, || Link::new(address)),
            health: cx.health(),
            tasks: cx.host.tasks.clone(),
        })
    }

    async fn run(self, input: Inlet) -> Result<(), RunError> {
        let Self { plan, dead_letters, link, health, tasks } = self;
        // Numbers keep growing across restarts, so that a consumer can sort and tell repeats.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = u64::try_from(since_epoch.as_micros()).unwrap_or_default();
        let window = Window::new(base, plan.window);
        let held = Held::new(input, window, plan.patience, plan.stall_timeout);
        let status = link.start(&tasks);
        let letterbox = dead_letters.map(|topology| {
            Letterbox::start(Arc::clone(&plan), topology, status.clone(), &health, &tasks)
        });
        Publisher::new(plan, held, status, health, letterbox).run().await;
        Ok(())
    }
}

fn recipe(config: &Config) -> Result<Recipe, BuildError> {
    let routing_key = match (&config.routing_key, &config.exchange, &config.queue) {
        (Some(template), _, _) => template.clone(),
        (None, None, Some(queue)) => Template::literal(&queue.get_ref().0.name),
        (None, _, _) => Template::compile("{{type}}").expect("this is a template"),
    };
    let mut headers = Vec::with_capacity(config.headers.len());
    for (name, template) in &config.headers {
        let key = short("header", name.get_ref()).map_err(|error| error.at(name.span()))?;
        headers.push((key, template.clone()));
    }
    let message = &config.message;
    let content_type = message.content_type.as_deref();
    Ok(Recipe {
        routing_key,
        headers,
        content_type: content_type.map(|text| short("content type", text)).transpose()?,
        is_persistent: config.persistent,
        expiration: message.expiration.map(|time| time.0.as_millis().to_string().into()),
        priority: message.priority,
        app_id: short("app_id", &message.app_id)?,
        size_max: config.max_message.0,
    })
}

fn window(window: &Spanned<usize>) -> Result<usize, BuildError> {
    let size = *window.get_ref();
    if (1..=WINDOW_MAX).contains(&size) {
        return Ok(size);
    }
    let message = format!("a window holds 1 to {WINDOW_MAX} messages, not {size}");
    Err(BuildError::new("W0314", message).at(window.span()))
}
