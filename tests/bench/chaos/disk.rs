//! The disk of the spool is full, or fails to write.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use weir_harness::broker::Broker;
use weir_harness::directory::Small;
use weir_harness::eventually;

use super::load::{Load, Published};
use super::report::{Figure, Report};
use super::scene::Scene;

/// What makes the system calls of a process fail, from Debian's `fiu-utils`.
const PRELOAD: [&str; 2] = ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];
/// One in twenty calls that bring what was written to the disk fails with EIO.
const FAILING: &str = "enable_random name=posix/io/sync/*,probability=0.05,failinfo=5";

pub(crate) async fn run(broker: &Broker, report: &mut Report) {
    full(broker, report).await;
    failing(broker, report).await;
    damaged(broker, report).await;
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

/// Damages the spool's file while the daemon is down: in places, then as a whole.
async fn damaged(broker: &Broker, report: &mut Report) {
    const PLACES: usize = 20;
    let mut scene = Scene::start(broker, "damaged").await;
    let file = scene.weir.directory.path().join("data/spool/test.rabbitmq.redb");
    let published = filled(broker, &mut scene).await;
    let mut bytes = fs::read(&file).expect("the spool is there");
    // The first pages say where all others are; without them nothing can be read.
    let (start, step) = (bytes.len() / 4, bytes.len() / 2 / PLACES);
    (0..PLACES).for_each(|place| bytes[start + place * step] ^= 0x55);
    fs::write(&file, bytes).expect("it can be written");
    scene.weir.start_again().await;
    broker.start_app().await;
    scene.drained().await;
    let dropped = [("reason", "damaged")];
    let announced = scene.weir.metric("weir_spool_dropped_total", &dropped).await;
    let aside = scene.weir.metric("weir_journal_files_set_aside", &[]).await;
    let found = published.compare(scene.ids().await, ("damaged", 1));
    report.figure(&Figure {
        name: "spool file damaged in 20 places while the daemon was down: lost and not announced",
        target: "0",
        measured: format!(
            "{} of {} lost, {announced:.0} announced, {aside:.0} files set aside",
            found.lost, found.acknowledged
        ),
        is_met: found.lost as f64 <= announced || aside > 0.0,
    });
    filled(broker, &mut scene).await;
    let length = fs::metadata(&file).expect("the spool is there").len();
    let open = fs::File::options().write(true).open(&file).expect("it can be written");
    open.set_len(length / 2).expect("a file can be cut");
    scene.weir.start_again().await;
    let aside = scene.weir.metric("weir_journal_files_set_aside", &[]).await;
    broker.start_app().await;
    let load = Load::start(scene.weir.public, Duration::ZERO);
    sleep(Duration::from_secs(2)).await;
    let after = load.end().await;
    scene.drained().await;
    let found = after.compare(scene.ids().await, ("cut", 1));
    report.figure(&Figure {
        name: "spool file cut to half: ready, the file set aside, new events lost",
        target: "1 file, 0 lost",
        measured: format!("{aside:.0} files, {} of {} lost", found.lost, found.acknowledged),
        is_met: aside == 1.0 && found.lost == 0,
    });
    scene.weir.stop().await.regular();
}

/// Publishes for a while without a broker, then kills the daemon.
async fn filled(broker: &Broker, scene: &mut Scene) -> Published {
    broker.stop_app().await;
    let load = Load::start(scene.weir.public, Duration::from_millis(20));
    sleep(Duration::from_secs(3)).await;
    let published = load.end().await;
    scene.weir.kill9();
    published
}
