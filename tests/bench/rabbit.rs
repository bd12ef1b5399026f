//! What the RabbitMQ sink makes of a broker's rate, beside a publisher that does nothing else.
//!
//! Both publish the same persistent, mandatory messages to a quorum queue of their own on one
//! private broker, in turns, with the same window. The raw publisher writes frames that were
//! built once; the ratio counts, the absolute figures depend on the machine.

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weir::event::{Batch, Draft};
use weir_harness::broker::{Broker, Vhost};
use weir_harness::rig::Rig;
use weir_harness::within;

const MESSAGES: usize = 60_000;
const SIZE: usize = 256;
const WINDOW: usize = 1024;
const ROUNDS: usize = 5;
/// Events in a batch, as a busy source hands them on.
const BATCH: usize = 64;
/// Batches whose verdict is awaited; enough to keep the window full.
const BATCHES: usize = 64;
const TARGET: f64 = 0.70;

#[tokio::main]
async fn main() {
    let broker = match Broker::private().await {
        Ok(broker) => broker,
        Err(missing) => return missing.skip(),
    };
    let vhost = broker.vhost("bench").await;
    let mut ratios = Vec::new();
    println!("quorum queue, {SIZE} bytes, window {WINDOW}, {MESSAGES} messages a run");
    for round in 0..ROUNDS {
        let port = broker.port();
        let queue = format!("raw{round}");
        declare(&vhost, &queue).await;
        let raw = spawn_blocking(move || Raw::connect(port, "bench").publish(&queue));
        let raw = rate(raw.await.expect("no panic"));
        let ours = rate(sink(&vhost, &format!("sink{round}")).await);
        println!("raw {raw:>9.0}/s   sink {ours:>9.0}/s   {:.2}", ours / raw);
        ratios.push(ours / raw);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    let verdict = if median >= TARGET { "met" } else { "missed" };
    println!("median ratio {median:.2}, target {TARGET:.2}: {verdict}");
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

/// The least that a publisher can be: prepared frames, a socket, a count of what is confirmed.
struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Class and method of the frames that matter here.
const ACK: [u8; 4] = [0, 60, 0, 80];
const FRAME_END: u8 = 0xCE;

impl Raw {
    fn connect(port: u16, vhost: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker is up");
        stream.set_nodelay(true).expect("a socket");
        let mut raw = Self { stream, received: Vec::new() };
        raw.send(b"AMQP\x00\x00\x09\x01");
        raw.next_method();
        let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0];
        start_ok.extend(short("PLAIN"));
        start_ok.extend([0, 0, 0, 12]);
        start_ok.extend(b"\0guest\0guest");
        start_ok.extend(short("en_US"));
        raw.call(0, &start_ok);
        // No limit on channels, frames of 128 KiB, no heartbeats; nothing answers this.
        raw.send(&frame(1, 0, &[0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0]));
        let mut open = vec![0, 10, 0, 40];
        open.extend(short(vhost));
        open.extend([0, 0]);
        raw.call(0, &open);
        raw.call(1, &[0, 20, 0, 10, 0]);
        raw.call(1, &[0, 85, 0, 10, 0]);
        raw
    }

    /// How long all messages to `queue` take, from the first written to the last confirmed.
    fn publish(mut self, queue: &str) -> Duration {
        let mut publish = vec![0, 60, 0, 40, 0, 0, 0];
        publish.extend(short(queue));
        publish.push(1);
        let mut header = vec![0, 60, 0, 0];
        header.extend((SIZE as u64).to_be_bytes());
        // Only a delivery mode: persistent.
        header.extend([0x10, 0x00, 2]);
        let mut message = frame(1, 1, &publish);
        message.extend(frame(2, 1, &header));
        message.extend(frame(3, 1, &[b'x'; SIZE]));
        let started = Instant::now();
        let (mut sent, mut confirmed, mut singles) = (0, 0, 0);
        while confirmed < MESSAGES {
            let room = (WINDOW - (sent - confirmed)).min(MESSAGES - sent);
            if room > 0 {
                let burst = message.repeat(room);
                self.send(&burst);
                sent += room;
            }
            let method = self.next_method();
            assert_eq!(method[..4], ACK, "an ack");
            let tag = u64::from_be_bytes(method[4..12].try_into().expect("eight bytes"));
            if method[12] & 1 == 1 {
                confirmed = usize::try_from(tag).expect("a small number");
                singles = confirmed.max(singles);
            } else {
                singles += 1;
            }
            confirmed = confirmed.max(singles);
        }
        started.elapsed()
    }

    fn call(&mut self, channel: u8, method: &[u8]) {
        self.send(&frame(1, channel, method));
        self.next_method();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker takes it");
    }

    /// The payload of the next method frame.
    fn next_method(&mut self) -> Vec<u8> {
        loop {
            match self.take_frame() {
                Some(frame) if frame[0] == 1 => return frame[7..frame.len() - 1].to_vec(),
                Some(_) => {}
                None => self.receive(),
            }
        }
    }

    /// The first frame received, once it is whole.
    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.received.get(3..7)?.try_into().expect("four bytes");
        let length = u32::from_be_bytes(length) as usize + 8;
        if self.received.len() < length {
            return None;
        }
        let frame: Vec<u8> = self.received.drain(..length).collect();
        assert_eq!(frame.last(), Some(&FRAME_END));
        Some(frame)
    }

    fn receive(&mut self) {
        let mut chunk = [0; 16 << 10];
        let count = self.stream.read(&mut chunk).expect("the broker answers");
        assert!(count > 0, "the broker hung up");
        self.received.extend_from_slice(&chunk[..count]);
    }
}

fn short(text: &str) -> Vec<u8> {
    let mut encoded = vec![u8::try_from(text.len()).expect("a short string")];
    encoded.extend(text.as_bytes());
    encoded
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, channel];
    frame.extend(u32::try_from(payload.len()).expect("a small frame").to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}
