//! What the RabbitMQ sink makes of a broker's rate, beside a publisher that does nothing else.
//!
//! Both publish persistent, mandatory messages to a quorum queue of their own on one private
//! broker, in turns, with the same window. The raw publisher writes frames that were built once:
//! `bare` ones with nothing but a delivery mode, and `full` ones with the properties and headers
//! that the sink sends, which the broker has to read and store as well. The ratios count, the
//! absolute figures depend on the machine.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weir::event::{Batch, Draft};
use weir_harness::broker::{Broker, Vhost};
use weir_harness::raw::{self, Run};
use weir_harness::rig::Rig;
use weir_harness::within;

const MESSAGES: usize = 60_000;
const SIZE: usize = 256;
const WINDOW: usize = 1024;
const ROUNDS: usize = 5;
const RUN: Run = Run { messages: MESSAGES, size: SIZE, window: WINDOW };
/// Events in a batch, as a busy source hands them on.
const BATCH: usize = 64;
/// Batches whose verdict is awaited; enough to keep the window full.
const BATCHES: usize = 64;
const TARGET: f64 = 0.70;

pub(crate) async fn run() {
    let broker = match Broker::private().await {
        Ok(broker) => broker,
        Err(missing) => return missing.skip(),
    };
    let vhost = broker.vhost("bench").await;
    let (mut to_bare, mut to_full) = (Vec::new(), Vec::new());
    println!("quorum queue, {SIZE} bytes, window {WINDOW}, {MESSAGES} messages a run");
    for round in 0..ROUNDS {
        let bare = prepared(&broker, &vhost, &format!("bare{round}"), &raw::BARE).await;
        let ours = rate(sink(&vhost, &format!("sink{round}")).await);
        let full = prepared(&broker, &vhost, &format!("full{round}"), &raw::full()).await;
        println!("bare {bare:>8.0}/s   sink {ours:>8.0}/s   full {full:>8.0}/s");
        to_bare.push(ours / bare);
        to_full.push(ours / full);
    }
    let median = |mut ratios: Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ROUNDS / 2]
    };
    let (to_bare, to_full) = (median(to_bare), median(to_full));
    let verdict = if to_bare >= TARGET { "met" } else { "missed" };
    println!("median of the sink to bare {to_bare:.2}, target {TARGET:.2}: {verdict}");
    println!("median of the sink to full {to_full:.2}");
}

/// Messages per second of a raw publisher whose messages have `properties`.
async fn prepared(broker: &Broker, vhost: &Vhost, queue: &str, properties: &[u8]) -> f64 {
    declare(vhost, queue).await;
    let (port, queue, properties) = (broker.port(), queue.to_owned(), properties.to_owned());
    let run = spawn_blocking(move || {
        raw::Publisher::connect(port, "bench").publish(&queue, RUN, &properties)
    });
    rate(run.await.expect("no panic"))
}

fn rate(took: Duration) -> f64 {
    MESSAGES as f64 / took.as_secs_f64()
}

async fn declare(vhost: &Vhost, queue: &str) {
    let kind = lapin::types::AMQPValue::LongString("quorum".into());
    vhost.declare_queue(queue, &[("x-queue-type", kind)]).await;
}

/// How long the sink takes for all messages, from the first handed over to the last confirmed.
async fn sink(vhost: &Vhost, queue: &str) -> Duration {
    declare(vhost, queue).await;
    let settings = format!("url = \"{}\"\nqueue = \"{queue}\"\nwindow = {WINDOW}", vhost.url);
    let rig = Rig::start(&Arc::default(), "rabbitmq", &settings).expect("good settings");
    rig.running().await;
    let data = [b'x'; SIZE];
    let started = Instant::now();
    let mut receipts = std::collections::VecDeque::new();
    for first in (0..MESSAGES).step_by(BATCH) {
        let mut batch = Batch::default();
        for number in first..MESSAGES.min(first + BATCH) {
            let id = format!("{number:026}");
            let (source, event_type) = ("/in/clicks", "cart.add");
            batch.push(&Draft { id: &id, source, event_type, data: &data, ..Draft::default() });
        }
        receipts.push_back(rig.publish(batch).expect("there is room"));
        if receipts.len() > BATCHES {
            let oldest = receipts.pop_front().expect("there are many");
            within("a verdict", oldest.wait()).await;
        }
    }
    for receipt in receipts {
        within("a verdict", receipt.wait()).await;
    }
    let took = started.elapsed();
    let balance = rig.finish().await;
    assert_eq!(balance.delivered, MESSAGES as u64);
    took
}
