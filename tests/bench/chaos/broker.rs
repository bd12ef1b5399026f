//! The broker is frozen, stopped, killed, out of memory or disk; its things are deleted, its
//! connections closed, its password changed.

use std::time::Duration;

use lapin::options::ExchangeDeleteOptions;
use tokio::join;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use weir_harness::broker::Broker;

use super::load::Load;
use super::report::{Figure, Report};
use super::scene::Scene;

/// How long a broker that is not killed is away.
const OUTAGE: Duration = Duration::from_secs(3);
/// The pause of a publisher between two requests: at most 4,000 events a second in all, so that
/// emptying the queue in the end takes seconds.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
const KILLS: usize = 20;
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// How long a broker that was killed may take to be back.
const BOOT_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    let frozen = async |_: &Scene| {
        broker.freeze();
        sleep(OUTAGE).await;
        broker.thaw();
    };
    faults(broker, report, ("broker frozen for 3 s (SIGSTOP)", 5), frozen).await;
    let memory = async |_: &Scene| {
        broker.set_memory_alarm(true).await;
        sleep(OUTAGE).await;
        broker.set_memory_alarm(false).await;
    };
    faults(broker, report, ("memory alarm for 3 s", 5), memory).await;
    let disk = async |_: &Scene| {
        broker.rabbitmqctl(&["set_disk_free_limit", "10000GB"]).await;
        sleep(OUTAGE).await;
        broker.rabbitmqctl(&["set_disk_free_limit", "50MB"]).await;
    };
    faults(broker, report, ("disk alarm for 3 s", 5), disk).await;
    let stopped = async |_: &Scene| {
        broker.stop_app().await;
        sleep(OUTAGE).await;
        broker.start_app().await;
    };
    faults(broker, report, ("broker stopped for 3 s (stop_app)", 5), stopped).await;
    let closed = async |_: &Scene| {
        broker.rabbitmqctl(&["close_all_connections", "test"]).await;
    };
    faults(broker, report, ("all connections closed by the broker", 20), closed).await;
    let refused = async |_: &Scene| {
        broker.rabbitmqctl(&["change_password", "guest", "other"]).await;
        broker.rabbitmqctl(&["close_all_connections", "test"]).await;
        sleep(OUTAGE).await;
        broker.rabbitmqctl(&["change_password", "guest", "guest"]).await;
    };
    faults(broker, report, ("password changed for 3 s", 5), refused).await;
    let deleted = async |scene: &Scene| {
        let vhost = scene.vhost.again().await;
        let options = ExchangeDeleteOptions::default();
        vhost.amqp_channel.exchange_delete("events".into(), options).await.expect("it is there");
    };
    faults(broker, report, ("exchange deleted", 10), deleted).await;
    queue_deleted(broker, report).await;
    killed(broker, report).await;
}

/// Does something to the broker under load, and reloads in the middle of it.
pub(crate) async fn faults(
    broker: &Broker,
    report: &mut Report,
    (name, times): (&'static str, usize),
    cause: impl AsyncFn(&Scene),
) {
    let vhost: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    let scene = Scene::start(broker, &vhost).await;
    under_load(report, scene, (name, times), cause).await;
}

/// Does something again and again under load, and reloads in the middle of it.
pub(crate) async fn under_load(
    report: &mut Report,
    scene: Scene,
    fault: (&'static str, usize),
    cause: impl AsyncFn(&Scene),
) {
    let load = Load::start(scene.weir.public, PAUSE);
    for _ in 0..fault.1 {
        sleep(Duration::from_secs(1)).await;
        let reload = async {
            sleep(OUTAGE / 2).await;
            scene.reload().await;
        };
        join!(cause(&scene), reload);
    }
    let published = load.end().await;
    scene.drained().await;
    report.fault(&published.compare(scene.ids().await, fault));
    scene.weir.stop().await.regular();
}

/// Deletes the queue after it was emptied: what it held is the operator's to lose.
async fn queue_deleted(broker: &Broker, report: &mut Report) {
    const TIMES: usize = 10;
    let scene = Scene::start(broker, "queue-deleted").await;
    let load = Load::start(scene.weir.public, PAUSE);
    let mut ids = Vec::new();
    for _ in 0..TIMES {
        sleep(Duration::from_secs(1)).await;
        load.rest().await;
        scene.drained().await;
        ids.extend(scene.ids().await);
        broker.rabbitmqctl(&["delete_queue", "all", "-p", "queue-deleted"]).await;
        load.go_on();
    }
    sleep(Duration::from_secs(1)).await;
    let published = load.end().await;
    scene.drained().await;
    ids.extend(scene.ids().await);
    let mut fault = published.compare(ids, ("queue deleted", TIMES));
    fault.note = "emptied before, while publishers waited".to_owned();
    report.fault(&fault);
    scene.weir.stop().await.regular();
}

/// Kills the broker, and looks how soon the daemon publishes again.
async fn killed(broker: &Broker, report: &mut Report) {
    let scene = Scene::start(broker, "killed").await;
    let load = Load::start(scene.weir.public, PAUSE);
    let mut reconnects = Vec::new();
    for _ in 0..KILLS {
        sleep(Duration::from_secs(1)).await;
        broker.kill9();
        let ((), took) = join!(broker.start(), reconnected(broker, &scene));
        reconnects.push(took);
        scene.reload().await;
    }
    let published = load.end().await;
    scene.drained().await;
    let name = ("broker killed (SIGKILL) and started again", KILLS);
    report.fault(&published.compare(scene.ids().await, name));
    reconnects.sort();
    let p95 = reconnects[KILLS * 95 / 100 - 1];
    report.figure(&Figure {
        name: "connected again after the broker accepts connections, p95 of 20",
        target: "≤ 1 s",
        measured: format!("{} ms", p95.as_millis()),
        is_met: p95 <= RECONNECT_MAX,
    });
    scene.weir.stop().await.regular();
}

/// How long after the broker accepts connections again the daemon has one.
async fn reconnected(broker: &Broker, scene: &Scene) -> Duration {
    let deadline = Instant::now() + BOOT_MAX;
    // The old one is gone once nobody accepts.
    while TcpStream::connect(("127.0.0.1", broker.port())).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    let labels = [("counter", "reconnects")];
    let connected = async || scene.weir.metric("weir_component_events_total", &labels).await;
    let before = connected().await;
    while TcpStream::connect(("127.0.0.1", broker.port())).await.is_err() {
        assert!(Instant::now() < deadline, "the broker does not boot");
        sleep(Duration::from_millis(5)).await;
    }
    let accepted = Instant::now();
    while connected().await <= before {
        assert!(Instant::now() < deadline, "the daemon does not come back");
        sleep(Duration::from_millis(10)).await;
    }
    accepted.elapsed()
}
