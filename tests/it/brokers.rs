//! The brokers that tests share, each started when the first test asks for it.
//!
//! Tests that leave the broker in peace share one, each with a virtual host of its own; those
//! that kill, freeze or choke it share another, one after the other.

use tokio::sync::{Mutex, MutexGuard, OnceCell};
use weir_harness::broker::{Broker, Missing, Vhost};

static QUIET: OnceCell<Result<Broker, Missing>> = OnceCell::const_new();
static ROUGH: OnceCell<Result<Mutex<Broker>, Missing>> = OnceCell::const_new();

/// The broker that nobody disturbs and a virtual host on it, unless RabbitMQ is missing.
pub(crate) async fn quiet(name: &str) -> Option<(&'static Broker, Vhost)> {
    match QUIET.get_or_init(Broker::private).await {
        Ok(broker) => Some((broker, broker.vhost(name).await)),
        Err(missing) => {
            missing.skip();
            None
        }
    }
}

/// The broker to disturb and a virtual host on it, unless RabbitMQ is missing.
pub(crate) async fn rough(name: &str) -> Option<(MutexGuard<'static, Broker>, Vhost)> {
    let start = async || Broker::private().await.map(Mutex::new);
    match ROUGH.get_or_init(start).await {
        Ok(broker) => {
            let broker = broker.lock().await;
            let vhost = broker.vhost(name).await;
            Some((broker, vhost))
        }
        Err(missing) => {
            missing.skip();
            None
        }
    }
}
