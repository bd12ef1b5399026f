//! The `rabbitmq` sink: events in, messages confirmed by a RabbitMQ broker out.
//!
//! An event is delivered only when the broker confirmed its message and did not return it. The
//! connection ([`link`]) outlives reloads and is shared by sinks with the same brokers; each
//! sink's [`publisher`] owns one channel on it.

mod address;
mod config;
mod confirms;
mod dial;
mod held;
mod link;
mod message;
mod publisher;
mod stats;
mod suspicion;
#[cfg(test)]
mod tests;
mod topology;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use toml::Spanned;

use self::address::Address;
use self::config::{Argument, Config, Exchange, Queue};
use self::held::Held;
use self::link::Link;
use self::message::Recipe;
use self::publisher::{Plan, Publisher};
use self::topology::{ExchangeDeclaration, QueueDeclaration, Topology};
use self::window::Window;
use crate::component::{BuildContext, BuildError, Health, RunError, Sink};
use crate::edge::Inlet;
use crate::tasks::Tasks;
use crate::template::Template;

/// The largest window: confirming many at once costs lapin a walk over the whole of it.
const WINDOW_MAX: usize = 8192;

/// Publishes events to a RabbitMQ broker.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    plan: Arc<Plan>,
    link: Arc<Link>,
    health: Arc<Health>,
    /// Where the link's supervisor runs.
    tasks: Tasks,
}

impl Sink for RabbitMq {
    const TYPE: &'static str = "rabbitmq";
    const IS_DURABLE: bool = true;
    type Config = Config;

    fn build(config: Config, cx: &BuildContext<'_>) -> Result<Self, BuildError> {
        let address = address(&config, cx)?;
        let topology = topology(&config)?;
        let plan = Plan {
            recipe: recipe(&config)?,
            topology,
            is_mandatory: config.mandatory,
            window: window(&config.window)?,
            patience: config.patience.0,
            stall_timeout: config.stall_timeout.0,
        };
        let key = address.identity();
        Ok(Self {
            plan: Arc::new(plan),
            link: cx.host.lent.borrow(&key, || Link::new(address)),
            health: cx.health(),
            tasks: cx.host.tasks.clone(),
        })
    }

    async fn run(self, input: Inlet) -> Result<(), RunError> {
        let Self { plan, link, health, tasks } = self;
        // Numbers keep growing across restarts, so that a consumer can sort and tell repeats.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = u64::try_from(since_epoch.as_micros()).unwrap_or_default();
        let window = Window::new(base, plan.window);
        let held = Held::new(input, window, plan.patience, plan.stall_timeout);
        Publisher::new(plan, held, link.start(&tasks), health).run().await;
        Ok(())
    }
}

fn address(config: &Config, cx: &BuildContext<'_>) -> Result<Address, BuildError> {
    let urls: Vec<_> = config.url.iter().chain(&config.hosts).collect();
    if config.url.is_some() && !config.hosts.is_empty() {
        let message = "both `url` and `hosts` say where the broker is";
        return Err(BuildError::new("W0313", message).help("keep one of them"));
    }
    if urls.is_empty() {
        let help = "add `url = \"amqp://user:password@host:5672\"`";
        return Err(BuildError::new("W0313", "nothing says where the broker is").help(help));
    }
    let seconds = config.heartbeat.get_ref().0.as_secs();
    let heartbeat =
        u16::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
            let message = "a heartbeat is between one second and 18 hours";
            BuildError::new("W0314", message).at(config.heartbeat.span())
        })?;
    let mut brokers = Vec::with_capacity(urls.len());
    for url in urls {
        let mut broker = url.get_ref().parse().map_err(|error| error.at(url.span()))?;
        broker.uri.query.heartbeat.get_or_insert(heartbeat);
        brokers.push(broker);
    }
    let tls = config.tls.get_ref();
    if tls.cert.is_some() != tls.key.is_some() {
        let message = "a certificate and its key belong together";
        let help = "give both `cert` and `key`, or neither";
        return Err(BuildError::new("W0315", message).help(help).at(config.tls.span()));
    }
    Ok(Address { brokers, tls: tls.clone(), name: format!("weir/{}", cx.id) })
}

fn topology(config: &Config) -> Result<Topology, BuildError> {
    let Some(exchange) = &config.exchange else {
        let Some(queue) = &config.queue else {
            let help =
                "add `exchange = \"name\"`, or `queue = \"name\"` to publish straight to one";
            return Err(
                BuildError::new("W0316", "the sink has no exchange and no queue").help(help)
            );
        };
        let queue = self::queue(queue, false)?;
        return Ok(Topology { exchange: ShortString::default(), declare_exchange: None, queue });
    };
    let span = exchange.span();
    let Exchange(table) = exchange.get_ref();
    let name = name("exchange", &table.name).map_err(|error| error.at(span))?;
    let declare_exchange = table.declare.then(|| ExchangeDeclaration {
        kind: match table.kind.as_str() {
            "topic" => ExchangeKind::Topic,
            "direct" => ExchangeKind::Direct,
            "fanout" => ExchangeKind::Fanout,
            "headers" => ExchangeKind::Headers,
            other => ExchangeKind::Custom(other.to_owned()),
        },
        is_durable: table.durable,
        arguments: arguments(&table.arguments),
    });
    let queue = config.queue.as_ref().map(|queue| self::queue(queue, true)).transpose()?.flatten();
    Ok(Topology { exchange: name, declare_exchange, queue })
}

/// The declaration of a queue, if that is ours to do.
fn queue(
    queue: &Spanned<Queue>,
    has_exchange: bool,
) -> Result<Option<QueueDeclaration>, BuildError> {
    let Queue(table) = queue.get_ref();
    let at = |error: BuildError| error.at(queue.span());
    let queue_name = name("queue", &table.name).map_err(at)?;
    if table.bind.is_some() && !(has_exchange && table.declare) {
        let message = "a queue is bound to the sink's exchange while it is declared";
        let help = "name an `exchange` and leave out `declare = false`, or drop `bind`";
        return Err(at(BuildError::new("W0317", message).help(help)));
    }
    if !table.declare {
        return Ok(None);
    }
    let everything = || vec!["#".to_owned()];
    let keys = table.bind.clone().unwrap_or_else(everything);
    let keys = if has_exchange { keys } else { Vec::new() };
    let bindings = keys.iter().map(|key| short("binding key", key)).collect::<Result<_, _>>();
    let mut arguments = arguments(&table.arguments);
    let kind = AMQPValue::LongString(table.kind.name().into());
    arguments.insert("x-queue-type".into(), kind);
    Ok(Some(QueueDeclaration { name: queue_name, arguments, bindings: bindings.map_err(at)? }))
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

/// The name of an exchange or queue.
fn name(what: &str, name: &str) -> Result<ShortString, BuildError> {
    if name.is_empty() {
        return Err(BuildError::new("W0318", format!("the {what} has no name")));
    }
    if name.contains("{{") {
        let message = format!("the name of an {what} is fixed, it cannot come from an event");
        return Err(
            BuildError::new("W0318", message).help("use `routing_key` to tell events apart")
        );
    }
    short(what, name)
}

/// `text` as the short string that AMQP has for names and keys.
fn short(what: &str, text: &str) -> Result<ShortString, BuildError> {
    let too_long =
        || BuildError::new("W0318", format!("the {what} is longer than AMQP's 255 bytes"));
    ShortString::try_new(text).ok().ok_or_else(too_long)
}

fn arguments(given: &BTreeMap<String, Argument>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, Argument(value)) in given {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, value.clone());
        }
    }
    table
}
