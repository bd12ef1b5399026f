//! Who is on a shared hub's channels, as daemons tell it each other through the stream.
//!
//! Each tells what changed, and all of it where another one is new or it was away itself. Whoever
//! is silent for long is gone, with all who came through it, so each that has somebody speaks up
//! every few seconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::envelope::{Envelope, Kind};
use crate::live::hub::Hub;
use crate::live::presence::Member;
use crate::live::rooms::News;
use crate::store::Record;

/// How often a daemon shows that it is there.
const SIGN_EVERY: Duration = Duration::from_secs(10);

/// What one daemon owes the others.
#[derive(Debug)]
pub(super) struct Company {
    owes_all: bool,
    told: Instant,
    /// Whether the others may believe that somebody is here.
    has_told: bool,
}

/// News on the wire.
#[derive(Debug, Serialize, Deserialize)]
struct Told<'a> {
    all: bool,
    #[serde(borrow)]
    came: Vec<Came<'a>>,
    #[serde(borrow)]
    gone: Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Came<'a>(
    #[serde(borrow)] std::borrow::Cow<'a, str>,
    #[serde(borrow)] std::borrow::Cow<'a, str>,
    #[serde(borrow)] Option<&'a RawValue>,
);

impl Default for Company {
    fn default() -> Self {
        Self { owes_all: false, told: Instant::now(), has_told: false }
    }
}

impl Company {
    /// Somebody may not know who is here.
    pub(super) fn owe_all(&mut self) {
        self.owes_all = true;
    }

    /// What the others are to be told now, if anything.
    pub(super) fn news(&mut self, hub: &Hub, now: Instant) -> Option<Record> {
        let is_due = now.duration_since(self.told) >= SIGN_EVERY && hub.rooms().has_own();
        let owes_all =
            std::mem::take(&mut self.owes_all) && (self.has_told || hub.rooms().has_own());
        let news = hub.rooms().news(owes_all);
        let news = news.or_else(|| is_due.then(News::default))?;
        self.told = now;
        self.has_told = true;
        Some(record(&news))
    }

    /// Tells that nobody is here any more, if somebody was.
    pub(super) fn farewell(&self) -> Option<Record> {
        let nobody = News { is_whole: true, ..News::default() };
        self.has_told.then(|| record(&nobody))
    }
}

/// Takes in what the daemon that sent `envelope` tells.
pub(super) fn hear(hub: &Hub, envelope: &Envelope<'_>) {
    debug_assert_eq!(envelope.head.kind, Kind::Presence);
    for (_, record) in envelope.records() {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(record) else { continue };
        let came = told.came.into_iter().map(|Came(channel, user, info)| {
            let info = info.map(|info| info.get().into());
            (channel.into(), Member { user: user.into(), info })
        });
        let gone = told.gone.into_iter().map(|(channel, user)| (channel.into(), user.into()));
        let news = News { is_whole: told.all, came: came.collect(), gone: gone.collect() };
        hub.rooms().hear(envelope.head.node, news, hub.settings().queue);
    }
}

fn record(news: &News) -> Record {
    let came = news.came.iter().map(|(channel, member)| {
        let info = member.info.as_deref().and_then(|info| serde_json::from_str(info).ok());
        Came((&**channel).into(), (&*member.user).into(), info)
    });
    let gone = news.gone.iter().map(|(channel, user)| ((&**channel).into(), (&**user).into()));
    let told = Told { all: news.is_whole, came: came.collect(), gone: gone.collect() };
    let bytes = serde_json::to_vec(&told).expect("names and JSON are JSON");
    Record { events: 0, bytes }
}
