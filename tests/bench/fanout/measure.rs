//! What is measured of one server.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_harness::audience::{Audience, stamp};
use weir_harness::load::share_millis;
use weir_harness::process::{cpu, rss_kib};

use super::Sizes;
use super::publisher::Publisher;
use super::server::Server;

/// Events of a burst.
pub(super) const BURST: usize = 50;
/// Stands once in every event, and nowhere else.
const MARK: u8 = b'~';
const EVENT_LEN: usize = 150;
const FLOOD_LEN: usize = 4 << 10;
/// The channel that everybody subscribes to, and one that only a stalled subscriber does.
const CHANNEL: &str = "burst";
const FLOOD: &str = "flood";
/// Times that a load without and one with a stalled subscriber take turns.
const TURNS: usize = 3;
/// Subscribers that come at the same time.
const DOORS: usize = 4;

/// What one server came to.
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) paced: Paced,
    pub(super) flat: Flat,
    /// KiB of memory for each idle subscriber.
    pub(super) idle: f64,
    pub(super) stalled: Stalled,
    /// How long 99 of 100 subscribers took at most to connect, in milliseconds: while many are
    /// there, and once these left.
    pub(super) before: f64,
    pub(super) after: f64,
}

/// 20 events a second: latencies in milliseconds, and the server's CPU time in µs per delivery.
pub(super) struct Paced {
    pub(super) half: f64,
    pub(super) most: f64,
    pub(super) cpu: f64,
}

/// As many events as get through.
pub(super) struct Flat {
    pub(super) rate: f64,
    pub(super) cpu: f64,
}

/// What a subscriber that reads nothing does: to the latency that 99 of 100 of the others stay
/// below, in milliseconds, and to memory.
pub(super) struct Stalled {
    pub(super) without: f64,
    pub(super) with: f64,
    pub(super) kib: i64,
}

pub(super) async fn measure(server: &Server, sizes: Sizes) -> Figures {
    let dialect = (server.dialect)(&[CHANNEL]);
    let idle = idle(server, sizes).await;
    let audience = Audience::open(server.address, sizes.subscribers, &dialect, MARK).await;
    let mut publisher = server.publisher().await;
    let flat = flat_out(server, &audience, &mut publisher, sizes).await;
    let paced = paced(server, &audience, &mut publisher, sizes).await;
    let stalled = stalled(server, &audience, &mut publisher, sizes).await;
    assert_eq!(audience.closed(), 0, "{}: subscribers were cut off", server.name);
    audience.leave().await;
    let (before, after) = departure(server, sizes).await;
    Figures { name: server.name, paced, flat, idle, stalled, before, after }
}

/// The memory in KiB that each of many idle subscribers costs.
async fn idle(server: &Server, sizes: Sizes) -> f64 {
    let dialect = (server.dialect)(&["idle"]);
    // Whatever the first few need once is no cost of the others.
    let first = Audience::open(server.address, 50, &dialect, MARK).await;
    let before = rss_kib(server.pid);
    let audience = Audience::open(server.address, sizes.idle, &dialect, MARK).await;
    let each = rss_kib(server.pid).saturating_sub(before) as f64 / sizes.idle as f64;
    first.leave().await;
    audience.leave().await;
    each
}

/// Bursts one after the other, each when the last has arrived everywhere.
async fn flat_out(
    server: &Server,
    audience: &Audience,
    publisher: &mut Publisher,
    sizes: Sizes,
) -> Flat {
    let burst = vec![event("", EVENT_LEN); BURST];
    let (start, before) = (Instant::now(), cpu(server.pid));
    let first = audience.received();
    let mut sent = 0;
    while start.elapsed() < sizes.duration {
        publisher.publish(CHANNEL, &burst).await;
        sent += BURST as u64 * audience.size();
        audience.receives(first + sent).await;
    }
    let micros = (cpu(server.pid) - before).as_secs_f64() * 1e6;
    Flat { rate: sent as f64 / start.elapsed().as_secs_f64(), cpu: micros / sent as f64 }
}

/// One event every 50 ms.
async fn paced(
    server: &Server,
    audience: &Audience,
    publisher: &mut Publisher,
    sizes: Sizes,
) -> Paced {
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (start, before) = (Instant::now(), cpu(server.pid));
    let first = audience.received();
    let mut sent = 0;
    audience.time();
    while start.elapsed() < sizes.duration {
        ticks.tick().await;
        publisher.publish(CHANNEL, &[event(&stamp(), EVENT_LEN)]).await;
        sent += audience.size();
    }
    audience.receives(first + sent).await;
    let micros = (cpu(server.pid) - before).as_secs_f64() * 1e6;
    let latencies = audience.latencies();
    assert_eq!(latencies.len() as u64, sent, "{}: every event has a time", server.name);
    let share = |share| share_millis(&latencies, share);
    Paced { half: share(0.5), most: share(0.99), cpu: micros / sent as f64 }
}

/// The same load without and with one more subscriber, which was sent more than any buffer holds
/// and reads nothing; in turns, of which the middle ones count.
async fn stalled(
    server: &Server,
    audience: &Audience,
    publisher: &mut Publisher,
    sizes: Sizes,
) -> Stalled {
    // What the server keeps of the past is no cost of a subscriber.
    flood(publisher, sizes).await;
    let (mut without, mut with, mut kib) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(paced(server, audience, publisher, sizes).await.most);
        let before = rss_kib(server.pid);
        let dialect = (server.dialect)(&[CHANNEL, FLOOD]);
        let stalled = dialect.stall(server.address).await.expect("a subscriber is let in");
        flood(publisher, sizes).await;
        kib.push(rss_kib(server.pid).cast_signed() - before.cast_signed());
        with.push(paced(server, audience, publisher, sizes).await.most);
        drop(stalled);
    }
    kib.sort_unstable();
    without.sort_by(f64::total_cmp);
    with.sort_by(f64::total_cmp);
    Stalled { without: without[TURNS / 2], with: with[TURNS / 2], kib: kib[TURNS / 2] }
}

/// Publishes what only a stalled subscriber gets.
async fn flood(publisher: &mut Publisher, sizes: Sizes) {
    let burst = vec![event("", FLOOD_LEN); 10];
    for _ in 0..sizes.flood / burst.len() {
        publisher.publish(FLOOD, &burst).await;
    }
}

/// How long it takes to connect while many are there, and from when these leave all at once.
async fn departure(server: &Server, sizes: Sizes) -> (f64, f64) {
    let dialect = (server.dialect)(&["idle"]);
    let crowd = Audience::open(server.address, sizes.idle, &dialect, MARK).await;
    let before = arrivals(server, sizes).await;
    let (after, ()) = tokio::join!(arrivals(server, sizes), crowd.leave());
    (before, after)
}

/// What 99 of 100 subscribers stay below who connect one after the other, through a few doors.
async fn arrivals(server: &Server, sizes: Sizes) -> f64 {
    let mut doors = JoinSet::new();
    for _ in 0..DOORS {
        let (dialect, address) = ((server.dialect)(&[CHANNEL]), server.address);
        doors.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..sizes.arrivals / DOORS {
                let start = Instant::now();
                dialect.connect(address).await.expect("a subscriber is let in");
                times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            times
        });
    }
    let mut times = doors.join_all().await.concat();
    times.sort_unstable();
    share_millis(&times, 0.99)
}

/// A JSON object of `len` bytes that holds the mark once, with `stamp` behind it.
fn event(stamp: &str, len: usize) -> String {
    let start = format!(r#"{{"mark":"{}{stamp}","pad":""#, char::from(MARK));
    format!("{start}{}\"}}", "x".repeat(len - start.len() - 2))
}
