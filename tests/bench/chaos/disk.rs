//! The disk of the spool is full, or fails to write.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use weir_harness::broker::Broker;
use weir_harness::directory::Small;
use weir_harness::eventually;

use super::load::Load;
use super::report::Report;
use super::scene::Scene;

/// What makes the system calls of a process fail, from Debian's `fiu-utils`.
const PRELOAD: [&str; 2] = ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];
/// One in twenty calls that bring what was written to the disk fails with EIO.
const FAILING: &str = "enable_random name=posix/io/sync/*,probability=0.05,failinfo=5";

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    full(broker, report).await;
    failing(broker, report).await;
}

async fn full(broker: &Broker, report: &mut Report) {
    const TIMES: usize = 3;
    let Some(small) = Small::mount() else { return };
    let settings = format!("data_dir = {}", json!(small.path()));
    let scene = Scene::with(broker, "full", broker.port(), |setup| setup.settings(&settings)).await;
    let load = Load::start(scene.weir.public, Duration::ZERO);
    for _ in 0..TIMES {
        broker.stop_app().await;
        eventually("the disk is full", async || {
            let ready = scene.weir.get("/readyz").await;
            ready.text().contains("its spool takes nothing").then_some(())
        })
        .await;
        sleep(Duration::from_secs(1)).await;
        let before = load.acknowledged();
        broker.start_app().await;
        eventually("publishers get on", async || (load.acknowledged() > before).then_some(()))
            .await;
        scene.weir.ready().await;
    }
    let published = load.end().await;
    scene.drained().await;
    report.fault(&published.compare(scene.ids().await, ("spool's disk full (tmpfs)", TIMES)));
    scene.weir.stop().await.regular();
}

async fn failing(broker: &Broker, report: &mut Report) {
    const TIMES: usize = 5;
    if !PRELOAD.iter().all(|library| Path::new(library).exists()) {
        return;
    }
    let setup = |setup: weir_harness::Setup| {
        setup.variable("LD_PRELOAD", &PRELOAD.join(" ")).variable("FIU_ENABLE", FAILING)
    };
    let mut scene = Scene::with(broker, "failing", broker.port(), setup).await;
    let load = Load::start(scene.weir.public, Duration::ZERO);
    for _ in 0..TIMES {
        broker.stop_app().await;
        sleep(Duration::from_secs(2)).await;
        // What was not on the disk when it failed is only gone with the process.
        scene.weir.kill9();
        scene.weir.start_again().await;
        load.moved(scene.weir.public);
        broker.start_app().await;
        sleep(Duration::from_secs(2)).await;
    }
    let published = load.end().await;
    scene.drained().await;
    let name = ("1 in 20 fsyncs of the spool fails (EIO), daemon killed", TIMES);
    report.fault(&published.compare(scene.ids().await, name));
    scene.weir.stop().await.regular();
}
