//! Who keeps failing is left alone for a while: the quarantine of one step. Pure, told the time.
//!
//! A run is one delivery; it is bad if more than half of its events were lost to traps, time-outs
//! or unusable answers. One poison event among many therefore never opens the breaker.

use std::time::Duration;

use tokio::time::Instant;

/// How long a run counts.
const WINDOW: Duration = Duration::from_secs(10);

/// Fewer bad runs than this open nothing, whatever their share is.
const BAD_MIN: u32 = 5;

/// The first pause; each one that did not help is followed by one twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whether a step is given events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It is.
    #[default]
    Closed,
    /// It is not: it kept failing.
    Open,
    /// It was given one delivery after a pause; what becomes of that decides.
    HalfOpen,
}

impl State {
    /// The name in the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// The breaker of one step.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// Runs of the present and of the last half of the window.
    halves: [Runs; 2],
    /// When the present half began.
    since: Option<Instant>,
    /// When events are let through again.
    until: Option<Instant>,
    pause: Duration,
    /// Whether ticks alone opened it.
    is_by_tick: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    all: u32,
    bad: u32,
}

impl Breaker {
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether the step may be given a delivery.
    pub(super) fn lets_through(&mut self, now: Instant) -> bool {
        if self.state == State::Open && self.until.is_none_or(|until| now >= until) {
            self.state = State::HalfOpen;
        }
        self.state != State::Open
    }

    /// Counts a run; answers the pause if that opened the breaker.
    pub(super) fn record(&mut self, is_bad: bool, now: Instant) -> Option<Duration> {
        if self.state == State::HalfOpen {
            if is_bad {
                return Some(self.open((self.pause * 2).min(PAUSE_MAX), now));
            }
            *self = Self::default();
            return None;
        }
        self.turn(now);
        let present = &mut self.halves[0];
        present.all = present.all.saturating_add(1);
        present.bad = present.bad.saturating_add(u32::from(is_bad));
        let all = self.halves[0].all.saturating_add(self.halves[1].all);
        let bad = self.halves[0].bad.saturating_add(self.halves[1].bad);
        let keeps_failing = is_bad && bad >= BAD_MIN && bad > all / 2;
        keeps_failing.then(|| self.open(PAUSE_MIN, now))
    }

    /// Counts a tick: one that fails is as bad as a delivery that does. A good one says nothing
    /// about deliveries, so it closes only what a tick has opened.
    pub(super) fn record_tick(&mut self, is_bad: bool, now: Instant) -> Option<Duration> {
        if is_bad {
            let pause = self.record(true, now);
            self.is_by_tick |= pause.is_some();
            return pause;
        }
        if self.state == State::HalfOpen && self.is_by_tick {
            *self = Self::default();
        }
        None
    }

    fn open(&mut self, pause: Duration, now: Instant) -> Duration {
        *self = Self { state: State::Open, until: Some(now + pause), pause, ..Self::default() };
        pause
    }

    /// Forgets what is older than the window.
    fn turn(&mut self, now: Instant) {
        let age = now.duration_since(*self.since.get_or_insert(now));
        if age >= WINDOW {
            self.halves = [Runs::default(); 2];
        } else if age >= WINDOW / 2 {
            self.halves = [Runs::default(), self.halves[0]];
        } else {
            return;
        }
        self.since = Some(now);
    }
}
