//! The hub: nobody who joins misses an event or gets one twice, and loss is announced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{
    Channel, Cursor, FRAME_LEN_MAX, GapReason, HistoryLimits, Hub, HubSettings, JoinError,
    NameError, Next, Pattern, Post, QueueLimits, SlowPolicy, Start, Subscription,
};
use crate::event::{Batch, Draft};

fn batch(count: usize) -> Batch {
    let mut batch = Batch::default();
    for index in 0..count {
        batch.push(&Draft {
            id: &index.to_string(),
            source: "/in",
            event_type: "t",
            data: b"{\"n\":1}",
            ..Draft::default()
        });
    }
    batch
}

fn publish(hub: &Hub, channels: &[&str]) -> Cursor {
    let batch = batch(channels.len());
    let posts: Vec<_> = batch
        .iter()
        .zip(channels)
        .map(|(event, channel)| Post { channel: Channel::new(channel).unwrap(), event })
        .collect();
    hub.publish(&posts)
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text).unwrap()).collect()
}

fn hub(settings: HubSettings) -> Arc<Hub> {
    Arc::new(Hub::new(settings))
}

/// What a subscriber has got: numbers of events, and gaps.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    seqs: Vec<u64>,
    gaps: Vec<(u64, u64)>,
    is_cut: bool,
}

/// Takes all that is there without waiting.
fn take(subscription: &mut Subscription, got: &mut Got) {
    let cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(next) = subscription.poll_next(&cx, 512) {
        let Next::Burst(gap, pieces) = next else {
            got.is_cut = true;
            return;
        };
        got.gaps.extend(gap.map(|gap| (gap.missed.from.seq + 1, gap.missed.until.seq)));
        for piece in pieces {
            for (seq, line) in piece.lines() {
                let frame: serde_json::Value = serde_json::from_slice(line).unwrap();
                let cursor: Cursor = frame["cursor"].as_str().unwrap().parse().unwrap();
                assert_eq!(cursor.seq, seq);
                assert_eq!(frame["event"]["data"]["n"], 1);
                got.seqs.push(seq);
            }
        }
    }
}

fn taken(subscription: &mut Subscription) -> Vec<u64> {
    let mut got = Got::default();
    take(subscription, &mut got);
    assert_eq!((got.gaps.as_slice(), got.is_cut), ([].as_slice(), false));
    got.seqs
}

#[test]
fn patterns_match_by_segment() {
    let matching = |pattern: &str, channel: &str| Pattern::new(pattern).unwrap().matches(channel);
    for (pattern, channel) in [
        ("a.b", "a.b"),
        ("a.*", "a.b"),
        ("*", "a"),
        ("**", "a.b.c"),
        ("a.**", "a"),
        ("a.**", "a.b.c"),
        ("**.c", "a.b.c"),
        ("**.b.**", "a.b.c.d"),
        ("a.**.d", "a.d"),
        ("a*", "a*"),
    ] {
        assert!(matching(pattern, channel), "{pattern} {channel}");
    }
    for (pattern, channel) in
        [("a.b", "a"), ("a.*", "a"), ("a.*", "a.b.c"), ("*", "a.b"), ("**.c", "a.b"), ("a*", "ab")]
    {
        assert!(!matching(pattern, channel), "{pattern} {channel}");
    }
}

#[test]
fn a_pattern_covers_what_names_no_more() {
    let covers = |wide: &str, narrow: &str| {
        Pattern::new(wide).unwrap().covers(&Pattern::new(narrow).unwrap())
    };
    for (wide, narrow) in [
        ("a", "a"),
        ("*", "a"),
        ("*", "*"),
        ("**", "**"),
        ("**", "a.*.b"),
        ("a.**", "a"),
        ("a.**", "a.*"),
        ("a.**", "a.**.b"),
        ("**.b", "a.**.b"),
        ("**.b.**", "*.b"),
    ] {
        assert!(covers(wide, narrow), "{wide} {narrow}");
    }
    for (wide, narrow) in [
        ("a", "*"),
        ("a", "b"),
        ("*", "**"),
        ("*", "a.b"),
        ("a.*", "a"),
        ("a.*", "a.**"),
        ("a.**", "**"),
        ("**.b", "**.c"),
        ("**.b", "**"),
    ] {
        assert!(!covers(wide, narrow), "{wide} {narrow}");
    }
}

#[test]
fn covering_agrees_with_matching() {
    let words = ["a", "b", "*", "**"];
    let mut random = fastrand::Rng::with_seed(11);
    let mut covered = 0;
    for _ in 0..20_000 {
        let mut pick = |from: &[&str]| {
            let len = random.usize(1..=4);
            let segments: Vec<_> = (0..len).map(|_| from[random.usize(..from.len())]).collect();
            segments.join(".")
        };
        let (Ok(wide), Ok(narrow)) = (Pattern::new(&pick(&words)), Pattern::new(&pick(&words)))
        else {
            continue;
        };
        let channel = pick(&words[..2]);
        if wide.covers(&narrow) && narrow.matches(&channel) {
            covered += 1;
            assert!(wide.matches(&channel), "{wide:?} {narrow:?} {channel}");
        }
    }
    assert!(covered > 500, "only {covered}");
}

#[test]
fn names_with_odd_characters_are_refused() {
    assert_eq!(Channel::new(""), Err(NameError::Length));
    assert_eq!(Channel::new(&"a".repeat(201)), Err(NameError::Length));
    assert_eq!(Channel::new("a b"), Err(NameError::Character));
    assert_eq!(Channel::new("a\nb"), Err(NameError::Character));
    assert_eq!(Channel::new("a.*"), Err(NameError::Wildcard));
    assert_eq!(Pattern::new("**.**.**"), Err(NameError::Deep));
    assert_eq!(Channel::new("a..b"), Err(NameError::Segment));
    assert!(Channel::new("a*.ü").is_ok());
}

#[test]
fn the_index_agrees_with_the_patterns() {
    let words = ["a", "b", "*", "**"];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let hub = hub(HubSettings::default());
        let mut pick = |from: &[&str]| {
            let len = random.usize(1..=4);
            let segments: Vec<_> = (0..len).map(|_| from[random.usize(..from.len())]).collect();
            segments.join(".")
        };
        let channel = pick(&words[..2]);
        let wanted: Vec<_> = (0..4).filter_map(|_| Pattern::new(&pick(&words)).ok()).collect();
        let mut subscription = Subscription::new(Arc::clone(&hub));
        subscription.join(&wanted, Start::Live).unwrap();
        publish(&hub, &[&channel]);
        let is_wanted = wanted.iter().any(|pattern| pattern.matches(&channel));
        assert_eq!(taken(&mut subscription).len(), usize::from(is_wanted), "{channel} {wanted:?}");
        subscription.part(&wanted);
        publish(&hub, &[&channel]);
        assert!(taken(&mut subscription).is_empty());
        assert_eq!(hub.stats().channels, 0);
    }
}

#[test]
fn overlapping_patterns_bring_an_event_once() {
    let hub = hub(HubSettings::default());
    let mut subscription = Subscription::new(Arc::clone(&hub));
    subscription.join(&patterns(&["a.b", "a.*", "**"]), Start::Live).unwrap();
    publish(&hub, &["a.b", "a.b", "c", "a.b"]);
    assert_eq!(taken(&mut subscription), [1, 2, 3, 4]);
    assert_eq!(hub.stats().delivered, 4);
}

#[test]
fn a_cursor_resumes_any_set_of_channels() {
    let hub = hub(HubSettings::default());
    let cursor = publish(&hub, &["a", "b", "c"]);
    publish(&hub, &["a", "b", "c", "a"]);
    let mut subscription = Subscription::new(Arc::clone(&hub));
    let joined = subscription.join(&patterns(&["a", "c"]), Start::Since(cursor)).unwrap();
    assert_eq!((joined.replayed, joined.missed), (3, None));
    publish(&hub, &["c"]);
    assert_eq!(taken(&mut subscription), [4, 6, 7, 8]);
    let joined = subscription.join(&patterns(&["**"]), Start::Since(cursor)).unwrap();
    assert_eq!(joined.replayed, 1, "what came already does not come again");
    assert_eq!(taken(&mut subscription), [5]);
}

#[test]
fn whoever_has_all_is_told_how_far_the_hub_has_come() {
    let hub = hub(HubSettings::default());
    publish(&hub, &["a", "b"]);
    let mut subscription = Subscription::new(Arc::clone(&hub));
    subscription.join(&patterns(&["a"]), Start::Last(1)).unwrap();
    assert_eq!(subscription.reached(), None, "the past is still to come");
    assert_eq!(taken(&mut subscription), [1]);
    let newest = publish(&hub, &["b", "b"]);
    assert_eq!(subscription.reached(), Some(newest), "nothing of that was wanted");
    publish(&hub, &["a"]);
    assert_eq!(subscription.reached(), None);
}

#[test]
fn the_last_events_of_a_channel_are_replayed() {
    let hub = hub(HubSettings::default());
    publish(&hub, &["a", "b", "a", "a", "b"]);
    let mut subscription = Subscription::new(Arc::clone(&hub));
    let joined = subscription.join(&patterns(&["a"]), Start::Last(2)).unwrap();
    assert_eq!(joined.replayed, 2);
    assert_eq!(taken(&mut subscription), [3, 4]);
}

#[test]
fn what_is_gone_is_announced() {
    let history = HistoryLimits { events_max: 2, ..HistoryLimits::default() };
    let hub = hub(HubSettings { history, ..HubSettings::default() });
    let start = hub.cursor();
    publish(&hub, &["a", "a", "a", "a", "a"]);
    let mut subscription = Subscription::new(Arc::clone(&hub));
    let joined = subscription.join(&patterns(&["a"]), Start::Since(start)).unwrap();
    let missed = joined.missed.unwrap();
    assert_eq!((missed.reason, missed.from.seq, missed.until.seq), (GapReason::Expired, 0, 3));
    assert_eq!(taken(&mut subscription), [4, 5]);

    let elsewhere = Hub::default().cursor();
    let joined = subscription.join(&patterns(&["b"]), Start::Since(elsewhere)).unwrap();
    assert_eq!(joined.missed.unwrap().reason, GapReason::Restarted);
}

#[tokio::test(start_paused = true)]
async fn old_events_expire() {
    let hub = hub(HubSettings::default());
    publish(&hub, &["a"]);
    tokio::time::advance(Duration::from_secs(601)).await;
    publish(&hub, &["a"]);
    assert_eq!(hub.stats().history_events, 1);
}

#[test]
fn a_slow_subscriber_reads_on_from_the_history() {
    let queue = QueueLimits { events_max: 2, ..QueueLimits::default() };
    let hub = hub(HubSettings { queue, ..HubSettings::default() });
    let mut subscription = Subscription::new(Arc::clone(&hub));
    subscription.join(&patterns(&["a"]), Start::Live).unwrap();
    for _ in 0..6 {
        publish(&hub, &["a", "b"]);
    }
    assert_eq!(taken(&mut subscription), [1, 3, 5, 7, 9, 11]);
    publish(&hub, &["a"]);
    assert_eq!(taken(&mut subscription), [13]);
}

#[test]
fn a_slow_subscriber_is_cut_where_the_hub_says_so() {
    let queue =
        QueueLimits { events_max: 1, policy: SlowPolicy::Disconnect, ..QueueLimits::default() };
    let hub = hub(HubSettings { queue, ..HubSettings::default() });
    let mut subscription = Subscription::new(Arc::clone(&hub));
    subscription.join(&patterns(&["a"]), Start::Live).unwrap();
    publish(&hub, &["a"]);
    publish(&hub, &["a"]);
    let mut got = Got::default();
    take(&mut subscription, &mut got);
    assert!(got.is_cut);
}

#[test]
fn a_slow_subscriber_gets_the_newest_where_the_hub_says_so() {
    let queue = QueueLimits { events_max: 4, policy: SlowPolicy::Latest, ..QueueLimits::default() };
    let hub = hub(HubSettings { queue, ..HubSettings::default() });
    let mut subscription = Subscription::new(Arc::clone(&hub));
    subscription.join(&patterns(&["**"]), Start::Live).unwrap();
    for _ in 0..10 {
        publish(&hub, &["a"]);
    }
    let mut got = Got::default();
    take(&mut subscription, &mut got);
    let expected = Got { seqs: vec![7, 8, 9, 10], gaps: vec![(1, 6)], is_cut: false };
    assert_eq!(got, expected);
    publish(&hub, &["a"]);
    assert_eq!(taken(&mut subscription), [11]);
}

#[test]
fn a_connection_has_a_limit_of_channels() {
    let hub = hub(HubSettings { channels_max: 2, ..HubSettings::default() });
    let mut subscription = Subscription::new(hub);
    subscription.join(&patterns(&["a", "b"]), Start::Live).unwrap();
    assert!(subscription.join(&patterns(&["a"]), Start::Live).is_ok());
    assert_eq!(
        subscription.join(&patterns(&["c"]), Start::Live),
        Err(JoinError::TooMany { max: 2 })
    );
}

#[test]
fn pieces_stay_below_the_cap_of_a_frame() {
    let hub = hub(HubSettings::default());
    let mut subscription = Subscription::new(Arc::clone(&hub));
    subscription.join(&patterns(&["a"]), Start::Live).unwrap();
    publish(&hub, &["a"; 256]);
    let cx = Context::from_waker(Waker::noop());
    let mut count = 0;
    while let Poll::Ready(Next::Burst(None, pieces)) = subscription.poll_next(&cx, FRAME_LEN_MAX) {
        assert!(pieces.iter().map(|piece| piece.text.len() + 1).sum::<usize>() <= FRAME_LEN_MAX);
        count += pieces.iter().map(|piece| piece.count).sum::<u32>();
    }
    assert_eq!(count, 256);
}

/// Joins at random moments while another thread publishes, reads at random speed.
fn race(settings: HubSettings, seed: u64) {
    const EVENTS: u64 = 2_000;
    let hub = hub(settings);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut left = EVENTS as usize;
            while left > 0 {
                let count = random.usize(1..=left.min(20));
                publish(&hub, &vec!["a"; count]);
                left -= count;
                if random.u8(..) < 30 {
                    thread::yield_now();
                }
            }
            is_done.store(true, Ordering::Release);
        });
        for reader in 0..4 {
            let (hub, is_done) = (&hub, &is_done);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed + reader);
                while !is_done.load(Ordering::Acquire) {
                    follow(hub, is_done, &mut random);
                }
            });
        }
    });
}

/// One subscriber from joining to the end: every event comes once or is in a gap.
fn follow(hub: &Arc<Hub>, is_done: &AtomicBool, random: &mut fastrand::Rng) {
    let mut subscription = Subscription::new(Arc::clone(hub));
    let back = random.u64(..100);
    let mut since = hub.cursor();
    since.seq = since.seq.saturating_sub(back);
    let joined = subscription.join(&patterns(&["*"]), Start::Since(since)).unwrap();
    let mut got = Got::default();
    got.gaps.extend(joined.missed.map(|missed| (missed.from.seq + 1, missed.until.seq)));
    loop {
        let was_done = is_done.load(Ordering::Acquire);
        take(&mut subscription, &mut got);
        if was_done {
            break;
        }
        for _ in 0..random.usize(..20) {
            thread::yield_now();
        }
    }
    assert!(got.seqs.is_sorted_by(|one, other| one < other), "in order and once each");
    let mut expected = since.seq + 1;
    let mut gaps = got.gaps.iter().peekable();
    for seq in &got.seqs {
        while let Some((from, until)) = gaps.next_if(|(from, _)| from <= seq) {
            assert!(*from >= expected && until < seq, "a gap covers only what is missing");
            assert_eq!(*from, expected);
            expected = until + 1;
        }
        assert_eq!(*seq, expected, "no hole without a gap: {:?}", got.gaps);
        expected += 1;
    }
    let last = gaps.next().map_or(expected - 1, |(_, until)| *until);
    assert_eq!(last, hub.cursor().seq);
}

#[test]
fn joining_while_events_are_published_brings_each_once() {
    for seed in 0..10 {
        race(HubSettings::default(), seed);
    }
}

#[test]
fn a_lagging_subscriber_gets_each_event_once_or_a_gap() {
    for seed in 0..10 {
        let queue = QueueLimits { events_max: 8, ..QueueLimits::default() };
        let history = HistoryLimits { events_max: 60, ..HistoryLimits::default() };
        race(HubSettings { queue, history, ..HubSettings::default() }, seed);
    }
}
