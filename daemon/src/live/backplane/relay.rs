//! What goes into the stream and what comes out of it: no I/O here, time comes in from outside.
//!
//! Events wait, go out packed into one message, and are handed out and settled when that message
//! comes back. Whoever follows a stream for the first time looks where it ends, reads as much of
//! the past as the hub keeps, and is synced once it has its own greeting; whoever lost its
//! connection reads on from the message that it had last, and starts over where that is another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::company::{self, Company};
use super::envelope::{Envelope, Head, Kind};
use super::hand::{Held, base, hand_in, hand_out_stray};
use super::heard::Heard;
use super::signal::{self, Signals};
use super::{Waiting, closed};
use crate::live::cursor::Epoch;
use crate::live::hub::Hub;
use crate::units::now_micros;

/// How long events may wait for the stream before their publishers are told to try again.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Messages on their way at a time. Few, because what waits meanwhile is packed into the next one.
const SENT_MAX: usize = 16;

/// Bytes of records in one message, the last of them aside.
const MESSAGE_LEN: usize = 64 << 10;

/// Messages of the past that are looked at when the hub keeps fewer events: some bring none.
const PAST_MIN: u64 = 1_000;

/// Offsets that may be missing between two messages: the broker uses one for itself where a
/// segment begins.
const HOLE_MAX: u64 = 1;

/// The stream is not the one that was followed, or begins later than where one has to read on.
#[derive(Debug)]
pub(crate) struct Strange;

/// Moves the events of one hub.
#[derive(Debug)]
pub(crate) struct Relay {
    hub: Arc<Hub>,
    /// This run of the daemon.
    node: u64,
    /// The last message that this daemon made.
    number: u64,
    waiting: VecDeque<Held>,
    sent: VecDeque<Sent>,
    heard: Heard,
    /// The last message that came, in the life that the hub is in.
    last: Option<Last>,
    phase: Phase,
    is_alone: bool,
    company: Company,
    signals: Signals,
    taken: u64,
    settled: u64,
    /// Who waits until so many are settled.
    marks: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A message that did not come back yet.
#[derive(Debug)]
struct Sent {
    number: u64,
    /// Empty once its publishers were told to try again.
    held: Vec<Held>,
    is_stray: bool,
    /// Whether it went out on the connection that there is.
    is_out: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    offset: u64,
    node: u64,
    number: u64,
}

/// How far this daemon follows the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It does not.
    Away,
    /// It looks where the stream ends; its greeting has this number.
    Looking(u64),
    /// It reads what it has not yet, up to its greeting, in a stream that may be new to it.
    Reading { hello: u64, is_known: bool },
    /// It has everything.
    Synced,
}

impl Relay {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        hub.rooms().share();
        Self {
            hub,
            node: fastrand::u64(1..),
            number: 0,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            heard: Heard::default(),
            last: None,
            phase: Phase::Away,
            is_alone: false,
            company: Company::default(),
            signals: Signals::default(),
            taken: 0,
            settled: 0,
            marks: VecDeque::new(),
        }
    }

    /// Takes in what waits at the hub.
    pub(crate) fn take(&mut self, waiting: Waiting, now: Instant) {
        match waiting {
            Waiting::Parcel(parcel) => {
                self.taken += 1;
                let mut held = Held { parcel, until: now + WAIT_MAX, is_stray: false };
                if self.is_alone {
                    hand_out_stray(&self.hub, self.last_offset(), &mut held);
                }
                self.waiting.push_back(held);
            }
            Waiting::Signal(signal) if self.phase == Phase::Synced => self.signals.add(signal),
            // Nobody would hear it in time.
            Waiting::Signal(_) => {}
            Waiting::Mark(mark) => {
                self.marks.push_back((self.taken, mark));
                self.note_settled(0);
            }
        }
    }

    /// Whether nothing waits or is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.iter().all(|sent| sent.held.is_empty())
    }

    /// Whether something went out and did not come back yet.
    pub(crate) fn is_expecting(&self) -> bool {
        self.phase != Phase::Synced || self.sent.iter().any(|sent| sent.is_out)
    }

    /// Whether the message to read on from did not come yet.
    pub(crate) fn is_resuming(&self) -> bool {
        matches!(self.phase, Phase::Reading { is_known: false, .. })
    }

    /// Whether it has everything that is in the stream.
    pub(crate) fn is_synced(&self) -> bool {
        self.phase == Phase::Synced
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) {
        self.phase = Phase::Away;
        self.signals = Signals::default();
        self.sent.iter_mut().for_each(|sent| sent.is_out = false);
    }

    /// Where to read on on a new connection, if anything was read before.
    pub(crate) fn resume(&mut self) -> Option<u64> {
        let last = self.last?;
        self.phase = Phase::Reading { hello: self.number + 1, is_known: false };
        Some(last.offset)
    }

    /// Looks for the end of the stream.
    pub(crate) fn look(&mut self) {
        self.last = None;
        self.phase = Phase::Looking(self.number + 1);
    }

    /// The message that shows this daemon how far the stream has come.
    pub(crate) fn hello(&mut self) -> Vec<u8> {
        self.number += 1;
        self.head(Kind::Hello, self.number).write(&[])
    }

    /// While the end is looked for: where to start reading, once it is found.
    pub(crate) fn found(&mut self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let Phase::Looking(hello) = self.phase else { return None };
        let head = Envelope::read(bytes)?.head;
        if (head.node, head.number) != (self.node, hello) {
            return None;
        }
        self.phase = Phase::Reading { hello, is_known: true };
        let past = PAST_MIN.max(self.hub.settings().history.events_max as u64);
        Some((offset + 1).saturating_sub(past))
    }

    /// A message came.
    ///
    /// # Errors
    /// If it shows that this is not the place where to read on.
    pub(crate) fn came(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Strange> {
        let envelope = Envelope::read(bytes);
        let (node, number) =
            envelope.as_ref().map_or((0, 0), |read| (read.head.node, read.head.number));
        if let Phase::Reading { hello, is_known: false } = self.phase {
            let is_same =
                |last: Last| (last.offset, last.node, last.number) == (offset, node, number);
            if !self.last.is_some_and(is_same) {
                return Err(Strange);
            }
            self.phase = Phase::Reading { hello, is_known: true };
            return Ok(());
        }
        match envelope {
            Some(envelope) if self.follow(offset, &envelope)? => {}
            Some(_) => return Ok(()),
            None => warn!(offset, "a message in the stream is none of a daemon's; skipping it"),
        }
        self.last = Some(Last { offset, node, number });
        Ok(())
    }

    /// Answers whether this is a place to read on from.
    fn follow(&mut self, offset: u64, envelope: &Envelope<'_>) -> Result<bool, Strange> {
        let head = envelope.head;
        match self.last {
            // It tells nothing about the life that it is in.
            None if head.kind == Kind::Hello && offset > 0 && !self.is_own_hello(&head) => {
                return Ok(false);
            }
            None => self.begin(offset, &head),
            Some(last) if offset <= last.offset => return Err(Strange),
            Some(last) if offset > last.offset + 1 + HOLE_MAX => {
                warn!(offset, after = last.offset, "the stream was cut before it was read");
                self.hub.lose(base(offset));
            }
            Some(_) => {}
        }
        let is_new = self.heard.note(head.node, head.number);
        let is_other = head.node != self.node && self.phase == Phase::Synced;
        match head.kind {
            Kind::Events if is_new => self.hand_out(offset, envelope),
            Kind::Presence if is_new && is_other => company::hear(&self.hub, envelope),
            Kind::Signals if is_new && is_other => signal::hear(&self.hub, envelope),
            Kind::Signals if head.node == self.node => self.signals.came_back(),
            Kind::Hello if is_other => self.company.owe_all(),
            Kind::Events | Kind::Presence | Kind::Signals | Kind::Hello => {}
        }
        if self.is_own_hello(&head) {
            self.synced();
        }
        Ok(true)
    }

    fn is_own_hello(&self, head: &Head) -> bool {
        let Phase::Reading { hello, .. } = self.phase else { return false };
        (head.node, head.number) == (self.node, hello)
    }

    /// The first message of a stream that was not followed before, or not far enough.
    fn begin(&mut self, offset: u64, head: &Head) {
        // Nobody knows the life of a stream that has no events yet, or of which that is gone; then
        // it is named after a message that all see who read from here.
        let epoch = match head.epoch {
            0 => Epoch::of_journal(head.node ^ head.number.rotate_left(32) ^ head.at),
            known if offset > 0 => Epoch::of_number(known),
            _ => Epoch::of_journal(head.node ^ head.at),
        };
        if epoch == self.hub.epoch() {
            return self.hub.lose(base(offset));
        }
        info!(%epoch, offset, "following the stream of the hub");
        self.heard = Heard::default();
        self.hub.renew(epoch, base(offset));
        // Nobody has in this life what was handed out in another.
        self.sent.iter_mut().for_each(|sent| sent.is_stray = false);
        self.waiting.iter_mut().for_each(|held| held.is_stray = false);
    }

    fn synced(&mut self) {
        self.phase = Phase::Synced;
        self.is_alone = false;
        self.company.owe_all();
        // What is still missing never got there, unless it is late, which is found out by its number.
        self.sent.retain(|sent| !sent.held.is_empty());
        if let Some(backplane) = self.hub.backplane() {
            backplane.open();
            backplane.set_trouble(None);
        }
    }

    fn hand_out(&mut self, offset: u64, envelope: &Envelope<'_>) {
        let head = envelope.head;
        let mut first = base(offset);
        if first < self.hub.kept().end {
            return;
        }
        let own = self.sent.iter().position(|sent| sent.number == head.number);
        let own = own.filter(|_| head.node == self.node).and_then(|place| self.sent.remove(place));
        match own {
            Some(sent) if sent.is_stray => {
                self.hub.pass_to(first);
                self.settle(sent.held);
            }
            Some(sent) if !sent.held.is_empty() => {
                for held in &sent.held {
                    let posts = held.parcel.posts();
                    self.hub.feed(first, &posts, Instant::now());
                    first += posts.len() as u64;
                }
                self.settle(sent.held);
            }
            Some(_) | None => {
                let age = Duration::from_micros(now_micros().saturating_sub(head.at));
                let now = Instant::now();
                let at = now.checked_sub(age).unwrap_or(now);
                for (events, record) in envelope.records() {
                    hand_in(&self.hub, record, first, at);
                    first += u64::from(events);
                }
                self.hub.pass_to(first);
            }
        }
    }

    /// The next message for the stream, if there is one and it may go out now.
    pub(crate) fn next_message(&mut self) -> Option<Vec<u8>> {
        if self.phase != Phase::Synced {
            return None;
        }
        if let Some(place) = self.sent.iter().position(|sent| !sent.is_out) {
            self.sent[place].is_out = true;
            return Some(self.message(&self.sent[place]));
        }
        if let Some(signals) = self.signals.take() {
            self.number += 1;
            return Some(self.head(Kind::Signals, self.number).write(&[signals]));
        }
        if self.sent.len() >= SENT_MAX || self.waiting.is_empty() {
            return None;
        }
        let is_stray = self.waiting.front()?.is_stray;
        let mut held = Vec::new();
        let mut len = 0;
        while len < MESSAGE_LEN
            && let Some(next) = self.waiting.pop_front_if(|next| next.is_stray == is_stray)
        {
            len += next.parcel.size();
            held.push(next);
        }
        self.number += 1;
        let sent = Sent { number: self.number, held, is_stray, is_out: true };
        let message = self.message(&sent);
        self.sent.push_back(sent);
        Some(message)
    }

    /// What other daemons are to be told about who is here, if anything.
    pub(crate) fn news(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.hub.rooms().expire(now, self.hub.settings().queue);
        if self.phase != Phase::Synced {
            return None;
        }
        let news = self.company.news(&self.hub, now)?;
        self.number += 1;
        Some(self.head(Kind::Presence, self.number).write(&[news]))
    }

    /// What they are told last.
    pub(crate) fn farewell(&mut self) -> Option<Vec<u8>> {
        let farewell = self.company.farewell().filter(|_| self.phase == Phase::Synced)?;
        self.number += 1;
        Some(self.head(Kind::Presence, self.number).write(&[farewell]))
    }

    fn last_offset(&self) -> Option<u64> {
        self.last.map(|last| last.offset)
    }

    fn message(&self, sent: &Sent) -> Vec<u8> {
        let records: Vec<_> = sent.held.iter().map(|held| held.parcel.record()).collect();
        self.head(Kind::Events, sent.number).write(&records)
    }

    fn head(&self, kind: Kind, number: u64) -> Head {
        let epoch = if kind == Kind::Hello { 0 } else { self.hub.epoch().number() };
        Head { kind, node: self.node, number, epoch, at: now_micros() }
    }

    /// The stream takes events again.
    pub(crate) fn come_back(&mut self) {
        if self.phase == Phase::Synced
            && std::mem::take(&mut self.is_alone)
            && let Some(backplane) = self.hub.backplane()
        {
            backplane.set_trouble(None);
        }
    }

    /// Goes on without the stream: what comes is handed out here at once, and its publishers wait.
    pub(crate) fn go_alone(&mut self) {
        if std::mem::replace(&mut self.is_alone, true) {
            return;
        }
        if self.hub.epoch() == Epoch::UNKNOWN {
            self.hub.renew(Epoch::random(), 1);
        }
        if let Some(backplane) = self.hub.backplane() {
            backplane.open();
        }
        let last = self.last_offset();
        for sent in &mut self.sent {
            for held in &mut sent.held {
                hand_out_stray(&self.hub, last, held);
            }
            sent.is_stray = sent.held.iter().all(|held| held.is_stray) && !sent.held.is_empty()
                || sent.is_stray;
        }
        for held in &mut self.waiting {
            hand_out_stray(&self.hub, last, held);
        }
    }

    /// Says what is wrong with the way to the stream.
    pub(crate) fn set_trouble(&self, trouble: &str) {
        if let Some(backplane) = self.hub.backplane() {
            backplane.set_trouble(Some(trouble));
        }
    }

    /// Tells publishers who waited long enough to try again; all of them, with no time given.
    pub(crate) fn expire(&mut self, now: Option<Instant>) {
        let is_over = |held: &Held| now.is_none_or(|now| held.until <= now);
        let mut over = Vec::new();
        for sent in &mut self.sent {
            if sent.held.iter().any(is_over) {
                over.append(&mut sent.held);
            }
        }
        while let Some(held) = self.waiting.pop_front_if(|held| is_over(held)) {
            over.push(held);
        }
        let count = over.len() as u64;
        let refusal = closed("the broker that the hub is shared through does not answer");
        over.into_iter().for_each(|held| held.parcel.refuse(&refusal));
        self.note_settled(count);
    }

    fn settle(&mut self, held: Vec<Held>) {
        let count = held.len() as u64;
        held.into_iter().for_each(|held| held.parcel.settle());
        self.note_settled(count);
    }

    fn note_settled(&mut self, count: u64) {
        self.settled += count;
        while let Some((_, mark)) = self.marks.pop_front_if(|(due, _)| *due <= self.settled) {
            // Whoever asked may be gone.
            mark.send(()).ok();
        }
    }
}
