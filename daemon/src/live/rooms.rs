//! Who is on the channels of a hub, for subscribers who want to know and be known: users, each
//! counted once however many connections and daemons it comes through.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::presence::{Full, Member, Roster};
use super::protocol::weir;
use super::subscriber::{QueueLimits, Subscriber};

/// Users that may be on one channel.
pub(super) const MEMBERS_MAX: usize = 1_000;

/// How long another daemon may be silent before who came through it counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A user and the channel that it is on.
type Seat = (Box<str>, Box<str>);

/// Who is on the channels of a hub.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// Held while somebody comes or goes, so that all see the same order; never across an await,
    /// hence a std mutex. Taken before those of queues.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Who came through this daemon.
    own: Roster,
    /// Who came through any; each daemon counts as one connection of a user.
    all: Roster,
    /// Connections that want to know, by channel.
    watchers: HashMap<Box<str>, Vec<Arc<Subscriber>>>,
    /// What changed on this daemon and was not told to the others; kept for a shared hub only.
    news: Option<BTreeSet<Seat>>,
    others: HashMap<u64, Other>,
}

/// Another daemon.
#[derive(Debug)]
struct Other {
    heard: Instant,
    seats: BTreeSet<Seat>,
}

/// What a daemon tells the others about who came through it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Whether whoever is not named is not there.
    pub(super) is_whole: bool,
    pub(super) came: Vec<(Box<str>, Member)>,
    pub(super) gone: Vec<(Box<str>, Box<str>)>,
}

impl Rooms {
    /// Keeps what changes for other daemons.
    pub(super) fn share(&self) {
        self.lock().news.get_or_insert_default();
    }

    /// Brings a connection onto `channel` as `member`; answers the `members` frame.
    ///
    /// # Errors
    /// If there are as many members as there may be.
    pub(super) fn enter(
        &self,
        subscriber: &Arc<Subscriber>,
        channel: &str,
        member: &Member,
        limits: QueueLimits,
    ) -> Result<Vec<u8>, Full> {
        let mut state = self.lock();
        let is_known = state.all.get(channel).is_some_and(|room| room.has(&member.user));
        let users = state.all.get(channel).map_or(0, |room| room.users());
        if !is_known && users >= MEMBERS_MAX {
            return Err(Full);
        }
        if state.own.enter(channel, Some(member), MEMBERS_MAX)?.is_member {
            state.note(channel, &member.user);
            state.come(channel, member, limits);
        }
        state.watchers.entry(channel.into()).or_default().push(Arc::clone(subscriber));
        let mut frame = Vec::new();
        let members = state.all.get(channel).into_iter().flat_map(|room| room.members());
        weir::write_members(channel, members, &mut frame);
        Ok(frame)
    }

    /// Takes a connection that entered as `user` out.
    pub(super) fn leave(
        &self,
        subscriber: &Arc<Subscriber>,
        (channel, user): (&str, &str),
        limits: QueueLimits,
    ) {
        let mut state = self.lock();
        if let Some(watchers) = state.watchers.get_mut(channel) {
            if let Some(place) = watchers.iter().position(|own| Arc::ptr_eq(own, subscriber)) {
                watchers.swap_remove(place);
            }
            if watchers.is_empty() {
                state.watchers.remove(channel);
            }
        }
        if state.own.leave(channel, Some(user)).is_member {
            state.note(channel, user);
            state.go(channel, user, limits);
        }
    }

    /// What the other daemons have not been told yet, or everything.
    pub(super) fn news(&self, is_whole: bool) -> Option<News> {
        let mut state = self.lock();
        let State { own, news, .. } = &mut *state;
        let told = std::mem::take(news.as_mut()?);
        let mut tell = News { is_whole, ..News::default() };
        let member = |user: &str, info: Option<&str>| Member {
            user: user.into(),
            info: info.map(Into::into),
        };
        if is_whole {
            for (channel, room) in own.channels() {
                let members =
                    room.members().map(|(user, info)| (channel.into(), member(user, info)));
                tell.came.extend(members);
            }
            return Some(tell);
        }
        for (channel, user) in told {
            let room = own.get(&channel);
            match room.and_then(|room| room.members().find(|(own, _)| **own == *user)) {
                Some((own, info)) => tell.came.push((channel, member(own, info))),
                None => tell.gone.push((channel, user)),
            }
        }
        (!tell.came.is_empty() || !tell.gone.is_empty()).then_some(tell)
    }

    /// Whether anybody came through this daemon.
    pub(super) fn has_own(&self) -> bool {
        self.lock().own.len() > 0
    }

    /// Takes in what another daemon tells.
    pub(super) fn hear(&self, node: u64, news: News, limits: QueueLimits) {
        let mut state = self.lock();
        let fresh = Other { heard: Instant::now(), seats: BTreeSet::new() };
        let mut other = state.others.remove(&node).unwrap_or(fresh);
        let mut gone = news.gone;
        if news.is_whole {
            let named: BTreeSet<_> =
                news.came.iter().map(|(channel, member)| (channel, &member.user)).collect();
            let missing =
                other.seats.iter().filter(|(channel, user)| !named.contains(&(channel, user)));
            gone.extend(missing.cloned());
        }
        for seat in gone {
            if other.seats.remove(&seat) {
                state.go(&seat.0, &seat.1, limits);
            }
        }
        for (channel, member) in news.came {
            if other.seats.insert((channel.clone(), member.user.clone())) {
                state.come(&channel, &member, limits);
            }
        }
        other.heard = Instant::now();
        state.others.insert(node, other);
    }

    /// Takes out who came through daemons that are silent.
    pub(super) fn expire(&self, now: Instant, limits: QueueLimits) {
        let mut state = self.lock();
        let is_silent = |other: &Other| now.duration_since(other.heard) > SILENCE_MAX;
        let silent: Vec<_> = state.others.extract_if(|_, other| is_silent(other)).collect();
        for (channel, user) in silent.into_iter().flat_map(|(_, other)| other.seats) {
            state.go(&channel, &user, limits);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, channel: &str, user: &str) {
        if let Some(news) = &mut self.news {
            news.insert((channel.into(), user.into()));
        }
    }

    fn come(&mut self, channel: &str, member: &Member, limits: QueueLimits) {
        let entered = self.all.enter(channel, Some(member), usize::MAX);
        if entered.is_ok_and(|change| change.is_member) {
            let mut frame = Vec::new();
            weir::write_join(channel, member, &mut frame);
            self.signal(channel, frame, limits);
        }
    }

    fn go(&mut self, channel: &str, user: &str, limits: QueueLimits) {
        if self.all.leave(channel, Some(user)).is_member {
            let mut frame = Vec::new();
            weir::write_leave(channel, user, &mut frame);
            self.signal(channel, frame, limits);
        }
    }

    fn signal(&self, channel: &str, frame: Vec<u8>, limits: QueueLimits) {
        let frame = frame.into();
        for watcher in self.watchers.get(channel).into_iter().flatten() {
            watcher.push_signal(&frame, limits);
        }
    }
}
