//! The network between the daemon and the broker is slow, silent, cut or closed.

use std::time::Duration;

use tokio::time::sleep;
use weir_harness::broker::Broker;
use weir_harness::proxy::{Proxy, Weather};

use super::broker::under_load;
use super::report::Report;
use super::scene::Scene;

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    let proxy = Proxy::to(broker.port()).await;
    let weather = async |weather, pause| {
        proxy.set(weather);
        sleep(pause).await;
        proxy.set(Weather::Fair);
    };
    let slow = async |_: &Scene| {
        weather(Weather::Slow(Duration::from_millis(200)), Duration::from_secs(3)).await;
    };
    let scene = through(broker, &proxy, "slow").await;
    under_load(report, scene, ("network 200 ms slower for 3 s", 5), slow).await;
    // Longer than the sink's patience with a broker that owes confirmations.
    let silent = async |_: &Scene| weather(Weather::Silent, Duration::from_secs(6)).await;
    let scene = through(broker, &proxy, "silent").await;
    under_load(report, scene, ("network silent for 6 s (half-open)", 5), silent).await;
    let closed = async |_: &Scene| weather(Weather::Closed, Duration::from_secs(3)).await;
    let scene = through(broker, &proxy, "closed").await;
    under_load(report, scene, ("network closed for 3 s", 5), closed).await;
    let cut = async |_: &Scene| proxy.cut();
    let scene = through(broker, &proxy, "cut").await;
    under_load(report, scene, ("connections cut (reset)", 20), cut).await;
}

async fn through(broker: &Broker, proxy: &Proxy, name: &str) -> Scene {
    Scene::with(broker, name, proxy.port(), |setup| setup).await
}
