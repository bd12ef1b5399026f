//! The dead letters of one pipeline: who writes them, and who reads them again.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{MutexGuard, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::letter::{Cover, Letter};
use crate::ack::{Ack, Outcome, Refusal, Rescue};
use crate::event::Batch;
use crate::store::{Appending, Journal, JournalSettings, JournalStats, StoreError};
use crate::tasks::{Stop, Tasks};

/// Letters that may wait for the disk; the journal bounds their bytes.
const WAITING_MAX: usize = 4_096;
/// Bytes of letters that are read at a time.
const READ_MAX: usize = 1 << 20;
/// How long the disk may take for a letter before its publisher is told that it is rejected.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// How often new letters are mentioned at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The dead letters of one pipeline.
#[derive(Debug)]
pub struct Letters {
    pipeline: String,
    journal: Journal,
    /// The task that settles acks holds the other end.
    inbox: mpsc::Sender<Waiting>,
    counts: Arc<Counts>,
    /// Held by who replays, so that no letter is replayed twice at a time.
    replay: tokio::sync::Mutex<()>,
}

/// What became of letters in this process.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events that were kept.
    pub kept: AtomicU64,
    /// Events that could not be kept, and whose publishers were told `rejected`.
    pub refused: AtomicU64,
    /// Events that were replayed and taken.
    pub replayed: AtomicU64,
    /// Events that were removed on request.
    pub purged: AtomicU64,
    is_failing: AtomicBool,
}

/// What the task that settles acks waits for, in order.
enum Waiting {
    Letter(Appending, Ack, Refusal),
    /// Somebody who wants to know that it got this far.
    Mark(oneshot::Sender<()>),
}

impl Letters {
    pub(super) fn start(
        pipeline: &str,
        settings: JournalSettings,
        tasks: &Tasks,
        stop: &Stop,
    ) -> Arc<Self> {
        let journal = Journal::new(settings);
        journal.start(tasks);
        let (inbox, waiting) = mpsc::channel(WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let pipeline = pipeline.to_owned();
        let news = News { pipeline: pipeline.clone(), untold: 0, told: None };
        let keeper = keep(waiting, journal.clone(), (Arc::clone(&counts), news), stop.clone());
        drop(tasks.spawn(keeper));
        Arc::new(Self { pipeline, journal, inbox, counts, replay: tokio::sync::Mutex::default() })
    }

    pub(super) fn adjust(&self, settings: JournalSettings) {
        self.journal.adjust(settings);
    }

    /// Keeps what `component` of this generation refuses for good.
    pub fn rescue(self: &Arc<Self>, component: &str, generation: u64) -> Arc<dyn Rescue> {
        let letters = Arc::clone(self);
        Arc::new(Keeping { letters, component: component.to_owned(), generation })
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// How the journal fares.
    pub fn stats(&self) -> JournalStats {
        self.journal.stats()
    }

    /// What became of letters in this process.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Reads some letters in order from number `from`.
    ///
    /// # Errors
    /// If the disk does not give them.
    pub async fn read(&self, from: u64) -> Result<Vec<Letter>, StoreError> {
        let stored = self.journal.read(from, READ_MAX).await?;
        Ok(stored.iter().filter_map(Letter::open).collect())
    }

    /// The letter number `seq`, if there is one.
    ///
    /// # Errors
    /// If the disk does not give it.
    pub async fn get(&self, seq: u64) -> Result<Option<Letter>, StoreError> {
        let stored = self.journal.read(seq, 1).await?;
        Ok(stored.iter().filter_map(Letter::open).find(|letter| letter.seq == seq))
    }

    /// The right to replay letters, for one at a time.
    pub async fn replaying(&self) -> MutexGuard<'_, ()> {
        self.replay.lock().await
    }

    /// Removes letters that were replayed and taken.
    ///
    /// # Errors
    /// If the disk does not let go of them; they may be replayed again then.
    pub async fn replayed(&self, seqs: Vec<u64>) -> Result<(), StoreError> {
        let removed = self.journal.remove(seqs).await?;
        self.counts.replayed.fetch_add(removed as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the letters with these numbers that are there now; answers how many there were.
    ///
    /// # Errors
    /// If the disk does not let go of all of them.
    pub async fn purge(&self, seqs: Range<u64>) -> Result<usize, StoreError> {
        let end = seqs.end.min(self.stats().next);
        let (mut from, mut purged) = (seqs.start, 0);
        while from < end {
            let stored = self.journal.read(from, READ_MAX).await?;
            let found: Vec<u64> = stored
                .iter()
                .map(|stored| stored.seq)
                .filter(|seq| (from..end).contains(seq))
                .collect();
            let Some(last) = found.last() else { break };
            from = last + 1;
            let removed = self.journal.remove(found).await?;
            self.counts.purged.fetch_add(removed as u64, Ordering::Relaxed);
            purged += removed;
        }
        Ok(purged)
    }

    /// Resolves once every event that was refused before this call is settled.
    pub(super) async fn settled(&self) {
        let (mark, reached) = oneshot::channel();
        // Both fail only when nothing waits any more.
        if self.inbox.send(Waiting::Mark(mark)).await.is_ok() {
            drop(reached.await);
        }
    }
}

/// Keeps what one component refuses.
#[derive(Debug)]
struct Keeping {
    letters: Arc<Letters>,
    component: String,
    generation: u64,
}

impl Rescue for Keeping {
    fn rescue(&self, batch: &Batch, row: usize, refusal: Refusal, ack: Ack) {
        // A place first: what is written must have somebody to settle it.
        let Ok(place) = self.letters.inbox.try_reserve() else {
            self.letters.counts.refused.fetch_add(1, Ordering::Relaxed);
            return ack.refuse(refusal);
        };
        let cover = Cover::new(&self.component, self.generation, &refusal);
        let appending = self.letters.journal.append(cover.seal(batch, row));
        place.send(Waiting::Letter(appending, ack, refusal));
    }
}

/// Settles acks as the disk answers, until `stop` is asked and nothing waits any more.
async fn keep(
    mut waiting: mpsc::Receiver<Waiting>,
    journal: Journal,
    (counts, mut news): (Arc<Counts>, News),
    mut stop: Stop,
) {
    loop {
        let next = tokio::select! {
            biased;
            next = waiting.recv() => next,
            () = stop.asked(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        match next {
            Some(Waiting::Letter(appending, ack, refusal)) => {
                let written = timeout(WRITE_LIMIT, appending).await;
                let written = written.unwrap_or(Err(StoreError::Busy));
                if written.is_ok() {
                    news.tell(&refusal);
                }
                settle(&counts, written, ack, refusal);
            }
            // Whoever asked may be gone.
            Some(Waiting::Mark(mark)) => drop(mark.send(())),
            None => return journal.close(),
        }
    }
}

/// Tells operators that there are new letters, once in a while.
struct News {
    pipeline: String,
    /// Letters since it was told last.
    untold: u64,
    told: Option<Instant>,
}

impl News {
    fn tell(&mut self, refusal: &Refusal) {
        self.untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        // Not its words: a plugin may have put the event into them.
        let (pipeline, code) = (&self.pipeline, refusal.code.name());
        let letters = std::mem::take(&mut self.untold);
        self.told = Some(Instant::now());
        warn!(%pipeline, letters, code, "new dead letters; `weir dead ls` shows them");
    }
}

fn settle(counts: &Counts, written: Result<u64, StoreError>, ack: Ack, refusal: Refusal) {
    let was_failing = counts.is_failing.swap(written.is_err(), Ordering::Relaxed);
    match written {
        Ok(_) => {
            if was_failing {
                info!("dead letters are kept again");
            }
            counts.kept.fetch_add(1, Ordering::Relaxed);
            ack.settle(Outcome::DeadLettered);
        }
        Err(error) => {
            if !was_failing {
                error!(%error, "dead letters are not kept; publishers are told `rejected`");
            }
            counts.refused.fetch_add(1, Ordering::Relaxed);
            ack.refuse(refusal);
        }
    }
}
