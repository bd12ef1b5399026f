//! The least that a publisher can be, as a measure for the broker: prepared frames, a socket, and
//! a count of what is confirmed. Its messages are persistent and mandatory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::Instant;

/// What a run publishes.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// How many messages.
    pub messages: usize,
    /// Bytes of each.
    pub size: usize,
    /// Messages that may wait for their confirmation.
    pub window: usize,
}

/// A connection with one channel that confirms.
#[derive(Debug)]
pub struct Publisher {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Class and method of the frames that matter here.
const ACK: [u8; 4] = [0, 60, 0, 80];
const FRAME_END: u8 = 0xCE;

impl Publisher {
    /// Connects as `guest` to the broker on this port.
    pub fn connect(port: u16, vhost: &str) -> Self {
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
    pub fn publish(mut self, queue: &str, run: Run, properties: &[u8]) -> Duration {
        let mut publish = vec![0, 60, 0, 40, 0, 0, 0];
        publish.extend(short(queue));
        publish.push(1);
        let mut header = vec![0, 60, 0, 0];
        header.extend((run.size as u64).to_be_bytes());
        header.extend(properties);
        let mut message = frame(1, 1, &publish);
        message.extend(frame(2, 1, &header));
        message.extend(frame(3, 1, &vec![b'x'; run.size]));
        let started = Instant::now();
        let (mut sent, mut confirmed, mut singles) = (0, 0, 0);
        while confirmed < run.messages {
            let room = (run.window - (sent - confirmed)).min(run.messages - sent);
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

/// Only a delivery mode: persistent.
pub const BARE: [u8; 3] = [0x10, 0x00, 2];

/// The properties of the RabbitMQ sink's messages: headers, delivery mode, id, timestamp, type, app.
pub fn full() -> Vec<u8> {
    let mut table = Vec::new();
    for (name, value) in [
        ("cloudEvents:id", "00000000000000000000000000"),
        ("cloudEvents:source", "/in/clicks"),
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:time", "2025-11-24T16:00:00.000Z"),
        ("cloudEvents:type", "cart.add"),
    ] {
        table.extend(short(name));
        table.push(b'S');
        table.extend(u32::try_from(value.len()).expect("a short text").to_be_bytes());
        table.extend(value.as_bytes());
    }
    table.extend(short("x-weir-seq"));
    table.push(b'l');
    table.extend(1_764_000_000_000_000_u64.to_be_bytes());
    let mut properties = vec![0x30, 0xE8];
    properties.extend(u32::try_from(table.len()).expect("a small table").to_be_bytes());
    properties.extend(table);
    properties.push(2);
    properties.extend(short("00000000000000000000000000"));
    properties.extend(1_764_000_000_u64.to_be_bytes());
    properties.extend(short("cart.add"));
    properties.extend(short("weir"));
    properties
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
