//! The task that publishes: it alone owns the channel, and every message that has no verdict.
//!
//! Events come in through the inlet; each gets its verdict only when the broker confirmed or
//! returned it, or when patience is over. After a lost channel all that has no verdict is
//! published again, in order, before anything new. lapin's confirmations are safe to match with
//! messages only while one task publishes on a channel.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lapin::{Channel, Confirmation};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use super::confirms::{Confirms, Verdict};
use super::held::Held;
use super::letterbox::{Letter, Letterbox};
use super::message::{Outgoing, Recipe, Target, send};
use super::redeclare::Redeclare;
use super::stats::Stats;
use super::suspicion::Suspicion;
use super::window::Slot;
use crate::ack::{Code, Outcome, Refusal};
use crate::amqp::{LinkState, LinkStatus, OpenError, Session, Topology, jitter, open, words};
use crate::component::Health;

/// How often a message that a queue refuses is published before its publisher is told.
const REFUSALS_MAX: u32 = 8;

/// How long a missing exchange is believed to be missing.
const RECHECK_EXCHANGE: Duration = Duration::from_secs(1);

/// The pause after the broker refused a declaration; a person has to look.
const RECHECK_REFUSED: Duration = Duration::from_secs(5);

/// The pause before a broken channel is opened again.
const REOPEN: Duration = Duration::from_millis(100);

/// What never changes while a sink runs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) recipe: Recipe,
    pub(super) topology: Topology,
    pub(super) is_mandatory: bool,
    pub(super) window: usize,
    pub(super) patience: Duration,
    /// What messages are given back with while the exchange is missing.
    pub(super) on_missing: Code,
    /// What a message that a queue keeps refusing is given back with.
    pub(super) on_nack: Code,
    pub(super) stall_timeout: Duration,
}

/// A sink at work.
pub(super) struct Publisher {
    plan: Arc<Plan>,
    held: Held,
    /// The link's supervisor holds the other end.
    link: watch::Receiver<LinkStatus>,
    stats: Stats,
    health: Arc<Health>,
    /// Where what no queue takes goes, if not back.
    letterbox: Option<Letterbox>,
    suspicion: Suspicion,
    /// When the broker last confirmed anything, or had nothing to confirm.
    progress: Instant,
    /// The last channel was given up because confirmations were owed, and none came since.
    is_stuck: bool,
}

/// Why publishing on a channel ended.
enum Over {
    /// Input ended and everything has its verdict.
    Done,
    /// The channel or its connection is of no use any more.
    Broken(String),
}

impl Publisher {
    pub(super) fn new(
        plan: Arc<Plan>,
        held: Held,
        link: watch::Receiver<LinkStatus>,
        health: Arc<Health>,
        letterbox: Option<Letterbox>,
    ) -> Self {
        Self {
            plan,
            held,
            link,
            stats: Stats::new(&health),
            health,
            letterbox,
            suspicion: Suspicion::default(),
            progress: Instant::now(),
            is_stuck: false,
        }
    }

    /// Publishes until input ended and everything has its verdict.
    pub(super) async fn run(mut self) {
        self.held.away(self.link.borrow().away_since);
        while let Some(session) = self.session().await {
            let Some(opened) = self.open(&session).await else { break };
            let pause = match opened {
                Ok(amqp_channel) => match self.publish(&session, &amqp_channel).await {
                    Over::Done => break,
                    Over::Broken(reason) => {
                        warn!(reason, unconfirmed = self.held.window.len(), "channel lost");
                        self.degraded(reason);
                        jitter(REOPEN)
                    }
                },
                Err(error) => self.not_opened(error),
            };
            if self.meanwhile(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.stats.in_window.set(0);
        if let Some(letterbox) = self.letterbox {
            letterbox.finish().await;
        }
    }

    /// A session to publish on, or `None` once there is nothing left to do.
    async fn session(&mut self) -> Option<Arc<Session>> {
        loop {
            let status = self.link.borrow_and_update().clone();
            self.stats.reconnects.set(status.reconnects);
            if let LinkState::Connected(session) = status.state {
                return Some(session);
            }
            match status.trouble() {
                // The first attempt is under way, and most succeed.
                Some(_) if status.is_first() => self.health.set_starting(),
                Some(trouble) => self.degraded(trouble),
                None => {}
            }
            let mut link = self.link.clone();
            if self.meanwhile(link.changed()).await?.is_err() {
                // The supervisor outlives every sink that holds its link.
                self.meanwhile(sleep(REOPEN)).await?;
            }
        }
    }

    async fn open(&mut self, session: &Arc<Session>) -> Option<Result<Channel, OpenError>> {
        let plan = Arc::clone(&self.plan);
        let connection = Arc::clone(session);
        let opening = async move { open(&connection.connection, &plan.topology).await };
        let limit = self.plan.stall_timeout;
        let opened = self.meanwhile(timeout(limit, opening)).await?;
        Some(opened.unwrap_or_else(|_| {
            let is_blocked = matches!(self.link.borrow().state, LinkState::Blocked { .. });
            if !is_blocked {
                session.kill();
            }
            Err(OpenError::Broken("the broker does not open a channel".to_owned()))
        }))
    }

    /// Notes why there is no channel; answers how long to wait before the next try.
    fn not_opened(&mut self, error: OpenError) -> Duration {
        match error {
            OpenError::NoExchange => {
                let reason = format!("no exchange `{}`", self.plan.topology.exchange);
                self.held.refuse_new(Refusal::new(self.plan.on_missing, reason.as_str()));
                self.degraded(reason);
                RECHECK_EXCHANGE
            }
            OpenError::Refused(reason) => {
                self.degraded(format!("misconfigured: {reason}"));
                jitter(RECHECK_REFUSED)
            }
            OpenError::Broken(reason) => {
                self.degraded(reason);
                jitter(REOPEN)
            }
        }
    }

    fn degraded(&mut self, reason: String) {
        self.held.away(None);
        self.health.set_degraded(reason);
    }

    /// Does `work` while messages wait, and gives them back once patience is over. `None` once
    /// there is nothing left to do.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            self.stats.refused.add(self.held.give_back_if_over());
            if self.held.is_done() {
                return None;
            }
            let patience = self.held.patience_ends();
            select! {
                biased;
                output = &mut work => return Some(output),
                () = self.held.receive() => {}
                () = sleep_until(patience) => {}
            }
        }
    }

    /// Publishes on one channel until it breaks or everything is done.
    async fn publish(&mut self, session: &Arc<Session>, amqp_channel: &Channel) -> Over {
        let mut confirms = Confirms::new();
        let mut redeclare = Redeclare::default();
        let plan = Arc::clone(&self.plan);
        let mut link = self.link.clone();
        let mut is_blocked = false;
        self.held.window.restart();
        self.ready();
        loop {
            if !is_blocked && !redeclare.is_running() {
                self.fill(&plan, &mut confirms, |message| send(amqp_channel, message));
            }
            self.stats.refused.add(self.held.give_back_if_over());
            self.stats.in_window.set(self.held.window.len() as u64);
            if self.held.is_done() {
                return Over::Done;
            }
            let timer = self.timer(!confirms.is_empty() && !is_blocked);
            select! {
                biased;
                verdicts = confirms.ready(amqp_channel), if !confirms.is_empty() => {
                    let believes = |sent| redeclare.believes(sent, &plan, session);
                    if let Err(over) = self.settle(verdicts, believes) {
                        return over;
                    }
                }
                ended = redeclare.end(), if redeclare.is_running() => {
                    if let Err(reason) = ended {
                        warn!(reason, "the queue could not be declared again");
                    }
                }
                changed = link.changed() => {
                    let status = link.borrow_and_update().clone();
                    if changed.is_err() || status.session().is_none_or(|now| now.epoch != session.epoch) {
                        return Over::Broken("the connection is gone".to_owned());
                    }
                    is_blocked = matches!(status.state, LinkState::Blocked { .. });
                    self.blocked(&status);
                }
                () = self.held.receive() => {}
                () = sleep_until(timer) => {
                    let is_stalled = self.progress.elapsed() >= plan.stall_timeout;
                    if is_stalled && !is_blocked && !confirms.is_empty() {
                        self.stats.stalls.add(1);
                        self.is_stuck = true;
                        session.kill();
                        return Over::Broken("the broker owes confirmations".to_owned());
                    }
                }
            }
        }
    }

    fn ready(&mut self) {
        self.progress = Instant::now();
        self.held.back();
        if !self.is_stuck {
            self.health.set_running();
        }
    }

    /// The broker said something about a message.
    fn progressed(&mut self, now: Instant) {
        self.progress = now;
        if std::mem::take(&mut self.is_stuck) {
            self.health.set_running();
        }
    }

    fn blocked(&mut self, status: &LinkStatus) {
        match status.trouble() {
            Some(trouble) => {
                self.held.away(status.away_since);
                self.health.set_degraded(trouble);
            }
            None => self.ready(),
        }
    }

    /// Publishes as much as the window takes: first what has to be published again.
    fn fill<F: Future<Output = (u64, lapin::Result<Confirmation>)>>(
        &mut self,
        plan: &Plan,
        confirms: &mut Confirms<F>,
        send: impl Fn(Outgoing) -> F,
    ) {
        let now = Instant::now();
        let at_once_max = self.suspicion.at_once_max(plan.window);
        while confirms.len() < at_once_max {
            let again = self.held.window.next_again(now);
            let (seq, batch, row) = if let Some(seq) = again {
                let Some(slot) = self.held.window.get_mut(seq) else { continue };
                slot.sent = now;
                self.stats.resent.add(1);
                (seq, Arc::clone(&slot.batch), slot.row)
            } else if let Some((batch, row, ack)) = self.held.next_new() {
                let seq = self.held.window.next_seq();
                self.held.window.push(Arc::clone(&batch), row, ack);
                (seq, batch, row)
            } else {
                return;
            };
            match plan.recipe.render(&batch.event(row), seq) {
                Ok((routing_key, properties)) => {
                    if confirms.is_empty() {
                        self.progress = now;
                    }
                    let exchange = plan.topology.exchange.clone();
                    let is_mandatory = plan.is_mandatory;
                    let target = Target { exchange, routing_key, is_mandatory };
                    confirms.push(send(Outgoing { seq, batch, row, target, properties }));
                    self.stats.published.add(1);
                }
                Err(refusal) => self.held.refuse(seq, refusal),
            }
        }
    }

    /// Hands on the broker's verdicts; `believes` says whether a message that was published then
    /// and returned has no queue.
    fn settle(
        &mut self,
        verdicts: Vec<(u64, Verdict)>,
        mut believes: impl FnMut(Instant) -> bool,
    ) -> Result<(), Over> {
        let now = Instant::now();
        let mut broken = None;
        let outstanding = verdicts.len();
        for (seq, verdict) in verdicts {
            match verdict {
                Verdict::Confirmed => {
                    self.progressed(now);
                    self.suspicion.clear_one();
                    if let Some(slot) = self.held.window.take(seq) {
                        self.stats.confirm(now - slot.sent);
                        slot.ack.settle(Outcome::Delivered);
                    }
                }
                Verdict::Returned => {
                    self.progressed(now);
                    self.suspicion.clear_one();
                    let sent = self.held.window.get_mut(seq).map(|slot| slot.sent);
                    let is_final = sent.is_none_or(&mut believes);
                    if is_final || self.held.window.send_again(seq) >= REFUSALS_MAX {
                        self.stats.returned.add(1);
                        self.give_up(seq, Refusal::new(Code::Unroutable, "no queue takes it"));
                    }
                }
                Verdict::Nacked => {
                    self.progressed(now);
                    self.stats.nacked.add(1);
                    if self.held.window.refuse(seq) >= REFUSALS_MAX {
                        let words = "the queue refuses it";
                        self.give_up(seq, Refusal::new(self.plan.on_nack, words));
                    }
                }
                Verdict::Unknown(error) => broken = Some((seq, error)),
            }
        }
        let Some((seq, error)) = broken else { return Ok(()) };
        let is_alone = outstanding == 1 && self.suspicion.is_on();
        if self.suspicion.raise(&error, self.held.window.len()) && is_alone {
            self.held.refuse(seq, Refusal::new(Code::Rejected, words(&error)));
        }
        Err(Over::Broken(words(&error)))
    }

    /// Posts what no queue takes to where such messages go, or refuses it.
    fn give_up(&mut self, seq: u64, refusal: Refusal) {
        let is_letter = refusal.code.outcome() == Outcome::Rejected;
        let Some(letterbox) = self.letterbox.as_ref().filter(|_| is_letter) else {
            return self.held.refuse(seq, refusal);
        };
        if let Some(Slot { batch, row, ack, .. }) = self.held.window.take(seq) {
            letterbox.put(Letter { batch, row, ack, refusal });
        }
    }

    /// When something has to be done at the latest.
    fn timer(&self, awaits_confirms: bool) -> Instant {
        let stall = awaits_confirms.then(|| self.progress + self.plan.stall_timeout);
        let retry = self.held.window.next_due();
        let times = [Some(self.held.patience_ends()), stall, retry];
        times.into_iter().flatten().min().expect("patience always ends some time")
    }
}
