//! Dead letters go back into their pipeline, at the component that refused them.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::ack::{AckMode, Answer, Code, Outcome, Receipt, Refusal};
use crate::dead::{Letter, Letters};
use crate::runtime::PipelineView;
use crate::store::StoreError;

/// How long the pipeline may take for the letters of one call.
const VERDICT_LIMIT: Duration = Duration::from_secs(30);

/// Which letters to replay.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The first number.
    pub from: u64,
    /// The number after the last.
    pub before: u64,
    /// Most letters of one call.
    pub count_max: usize,
}

/// What became of the letters of one call.
#[derive(Debug)]
pub struct Replay {
    /// One for each letter, in order.
    pub results: Vec<Replayed>,
    /// Where to go on, if there is more.
    pub next: Option<u64>,
}

/// What became of one letter.
#[derive(Debug)]
pub struct Replayed {
    /// Its number.
    pub seq: u64,
    /// The id of its event.
    pub id: String,
    /// What the pipeline said. A letter that was taken is gone; one that was refused again by a
    /// component that keeps dead letters has become a new one.
    pub answer: Answer,
}

/// Publishes the letters of `range` again, in order, with their ids; repeats are not kept back.
///
/// # Errors
/// If the disk does not give the letters, or does not let go of those that were taken.
pub async fn replay(
    view: &PipelineView,
    letters: &Letters,
    range: Range,
) -> Result<Replay, StoreError> {
    let _alone = letters.replaying().await;
    let mut found = letters.read(range.from).await?;
    found.retain(|letter| (range.from..range.before).contains(&letter.seq));
    found.truncate(range.count_max);
    let next = found.last().map(|letter| letter.seq + 1).filter(|next| *next < range.before);
    let published: Vec<_> =
        found.into_iter().map(|letter| (letter.seq, id(&letter), publish(view, letter))).collect();
    let mut results = Vec::with_capacity(published.len());
    let until = Instant::now() + VERDICT_LIMIT;
    for (seq, id, receipt) in published {
        let answer = match receipt {
            Ok(receipt) => {
                // What is still open then is answered as such.
                drop(timeout_at(until, receipt.wait()).await);
                receipt.answers().pop().unwrap_or(Answer::Pending)
            }
            Err(refusal) => Answer::refused(refusal),
        };
        results.push(Replayed { seq, id, answer });
    }
    let taken = results.iter().filter(|result| is_taken(&result.answer));
    let taken: Vec<u64> = taken.map(|result| result.seq).collect();
    if !taken.is_empty() {
        letters.replayed(taken).await?;
    }
    Ok(Replay { results, next })
}

/// Whether the letter is not needed any more.
fn is_taken(answer: &Answer) -> bool {
    matches!(answer, Answer::Settled(outcome, _) if *outcome < Outcome::Rejected)
}

fn id(letter: &Letter) -> String {
    letter.event().id().to_owned()
}

fn publish(view: &PipelineView, letter: Letter) -> Result<Receipt, Refusal> {
    let component = &letter.cover.component;
    let door = view.doors.get(component).ok_or_else(|| {
        let message = format!("the pipeline has no `{component}` any more");
        Refusal::new(Code::Rejected, message)
    })?;
    door.publish(letter.batch, &[], Some(AckMode::Settled))
}
