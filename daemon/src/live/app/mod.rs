//! Pusher-style applications: clients that speak the Pusher protocol on a hub's channels.
//!
//! An [`App`] knows who is connected and on which channels; a `Guest` is one connection, without
//! its socket; `session` gives it one, `door` lets it in, `api` answers the application's servers.

mod api;
mod counts;
mod door;
mod guest;
mod session;
mod settings;
mod webhooks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::select;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout};
use tracing::warn;

pub(crate) use self::api::{AppIntake, Publication, Verdicts};
use self::counts::Counts;
pub use self::counts::{AppStats, Refused};
pub use self::door::mounts;
pub use self::settings::{AppLimits, AppSettings, NoticeKind, WebhookSettings};
use self::webhooks::{ClientEvent, Notice, Webhooks};
use super::backplane::Signal;
use super::echo::SocketId;
use super::hub::{Hub, Start};
use super::pattern::Pattern;
use super::presence::{Change, Full, Member, Roster};
use super::protocol::pusher::{self, Kind, Refusal};
use super::subscription::{JoinError, Subscription};
use crate::tasks::{Stop, Stopper, Tasks};

/// Connections on a channel up to which each change of their number is told at once.
const COUNT_AT_ONCE: usize = 100;

/// How often the number of connections on a larger channel is told.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// One application.
#[derive(Debug)]
pub struct App {
    settings: AppSettings,
    hub: Arc<Hub>,
    /// Held while somebody comes to a channel or leaves it, so that all see the same order; never
    /// across an await, hence a std mutex. Taken before the hub's.
    state: Mutex<State>,
    counts: Counts,
    webhooks: Webhooks,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    roster: Roster,
    /// Connections that signed in, by user.
    users: HashMap<Box<str>, Vec<(SocketId, Stopper)>>,
    /// When the number of connections of a large channel was told, and the number.
    counted: HashMap<Box<str>, (Instant, usize)>,
}

/// Why a connection cannot come to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denied {
    Join(JoinError),
    Full,
}

impl App {
    /// An app that nobody is connected to.
    pub fn new(settings: AppSettings, hub: Arc<Hub>) -> Self {
        let webhooks = Webhooks::new(&settings.webhooks, &settings.credentials);
        let (state, counts) = (Mutex::default(), Counts::default());
        Self { settings, hub, state, counts, webhooks }
    }

    /// How it behaves.
    pub fn settings(&self) -> &AppSettings {
        &self.settings
    }

    /// How it is.
    pub fn stats(&self) -> AppStats {
        let state = self.lock();
        let sizes = (state.connections, state.roster.len());
        self.counts.stats(sizes, self.webhooks.counts())
    }

    /// Tells clients how many connections large channels have, where that changed. To be called
    /// every few seconds.
    pub(super) fn tell_counts(&self) {
        let mut state = self.lock();
        let State { roster, counted, .. } = &mut *state;
        let now = Instant::now();
        counted.retain(|channel, (at, told)| {
            let count = roster.get(channel).map_or(0, |occupants| occupants.connections());
            if count == *told || now.duration_since(*at) < COUNT_EVERY {
                return count > 0;
            }
            self.signal_count(channel, count);
            (*at, *told) = (now, count);
            true
        });
    }

    /// Ends the connections of `user` that signed in, on all daemons that share the hub.
    pub(super) fn terminate(&self, user: &str) {
        self.terminate_here(user);
        if let Some(backplane) = self.hub.backplane() {
            backplane.signal(Signal::End { user: user.into() });
        }
    }

    fn terminate_here(&self, user: &str) {
        let ended = self.lock().users.remove(user).unwrap_or_default();
        ended.iter().for_each(|(_, stopper)| stopper.ask());
    }

    /// Counts one connection more, if there may be one.
    fn connect(&self) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.connections >= self.settings.limits.connections_max {
            self.counts.refuse(Refused::Limit);
            let message = "the app has as many connections as it may";
            return Err(Refusal { code: 4004, message });
        }
        state.connections += 1;
        Ok(())
    }

    fn disconnect(&self) {
        self.lock().connections -= 1;
    }

    /// Brings a connection onto `channel` and appends what it is told to `out`.
    fn enter(
        &self,
        (subscription, socket): (&mut Subscription, SocketId),
        channel: &str,
        member: Option<&Member>,
        out: &mut Vec<u8>,
    ) -> Result<(), Denied> {
        let pattern = Pattern::new(channel).expect("the name was checked");
        let is_cached = pusher::is_cached(channel);
        let start = if is_cached { Start::Cached } else { Start::Live };
        let mut state = self.lock();
        let members_max = self.settings.limits.members_max;
        let change = match state.roster.enter(channel, member, members_max) {
            Ok(change) => change,
            Err(Full) => return Err(Denied::Full),
        };
        // From here on whatever is signalled reaches this connection, behind what `out` holds.
        let joined = match subscription.join(&[pattern], start) {
            Ok(joined) => joined,
            Err(error) => {
                state.roster.leave(channel, member.map(|member| &*member.user));
                return Err(Denied::Join(error));
            }
        };
        let occupants = state.roster.get(channel).filter(|_| Kind::of(channel) == Kind::Presence);
        pusher::write_subscribed(channel, occupants, out);
        if is_cached && !joined.is_cached {
            pusher::write_cache_miss(channel, out);
            self.tell(NoticeKind::CacheMiss, channel, None);
        }
        if change.is_channel {
            self.tell(NoticeKind::ChannelOccupied, channel, None);
        }
        if let Some(member) = member.filter(|_| change.is_member) {
            self.tell(NoticeKind::MemberAdded, channel, Some(&member.user));
            let mut frame = Vec::new();
            let who = (&*member.user, member.info.as_deref());
            pusher::write_member_added(channel, who, &mut frame);
            self.hub.signal(channel, &frame.into(), Some(socket));
        }
        self.count(&mut state, channel, change);
        Ok(())
    }

    /// Takes a connection that came as `user` off `channel`.
    fn leave(&self, subscription: &mut Subscription, channel: &str, user: Option<&str>) {
        let mut state = self.lock();
        subscription.part(&[Pattern::new(channel).expect("the name was checked")]);
        let change = state.roster.leave(channel, user);
        if let Some(user) = user.filter(|_| change.is_member) {
            let mut frame = Vec::new();
            pusher::write_member_removed(channel, user, &mut frame);
            self.hub.signal(channel, &frame.into(), None);
            self.tell(NoticeKind::MemberRemoved, channel, Some(user));
        }
        if change.is_channel {
            self.tell(NoticeKind::ChannelVacated, channel, None);
        }
        self.count(&mut state, channel, change);
    }

    /// Hands a client's event to the others on its channel.
    fn pass_on(
        &self,
        (event, channel): (&str, &str),
        data: Option<&RawValue>,
        (user, socket): (Option<&str>, SocketId),
    ) {
        let mut frame = Vec::new();
        pusher::write_client_event((event, channel), data, user, &mut frame);
        let frame = Bytes::from(frame);
        self.counts.client_event();
        if self.webhooks.want(NoticeKind::ClientEvent) {
            let data = data.map_or("", RawValue::get);
            // Data that is a string is told as it is, anything else as JSON.
            let words = serde_json::from_str::<String>(data).map(Into::into);
            let event = ClientEvent {
                name: event.into(),
                data: words.unwrap_or_else(|_json| data.into()),
                socket: socket.to_string().into(),
            };
            let notice = Notice::new(NoticeKind::ClientEvent, channel);
            let user = user.map(Into::into);
            self.webhooks.tell(&Notice { event: Some(event), user, ..notice });
        }
        self.hub.signal(channel, &frame, Some(socket));
        if let Some(backplane) = self.hub.backplane() {
            let frame = String::from_utf8_lossy(&frame).into();
            backplane.signal(Signal::Frame { channel: channel.into(), frame });
        }
    }

    /// Notes who a connection is; answers what asks it to end.
    fn sign_in(&self, user: &str, socket: SocketId) -> Stop {
        let stopper = Stopper::default();
        let stop = stopper.stop();
        self.lock().users.entry(user.into()).or_default().push((socket, stopper));
        stop
    }

    fn sign_out(&self, user: &str, socket: SocketId) {
        let mut state = self.lock();
        let Some(connections) = state.users.get_mut(user) else { return };
        connections.retain(|(own, _)| *own != socket);
        if connections.is_empty() {
            state.users.remove(user);
        }
    }

    /// Tells the number of connections on `channel`, which is told less often where it is large.
    fn count(&self, state: &mut State, channel: &str, change: Change) {
        if Kind::of(channel) != Kind::Presence && self.webhooks.want(NoticeKind::SubscriptionCount)
        {
            let notice = Notice::new(NoticeKind::SubscriptionCount, channel);
            self.webhooks.tell(&Notice { count: Some(change.connections), ..notice });
        }
        let is_told = self.settings.subscription_counts && Kind::of(channel) != Kind::Presence;
        if !is_told {
            return;
        }
        let count = change.connections;
        if count <= COUNT_AT_ONCE {
            state.counted.remove(channel);
            return self.signal_count(channel, count);
        }
        if !state.counted.contains_key(channel) {
            self.signal_count(channel, count);
            state.counted.insert(channel.into(), (Instant::now(), count));
        }
    }

    fn signal_count(&self, channel: &str, count: usize) {
        let mut frame = Vec::new();
        pusher::write_subscription_count(channel, count, &mut frame);
        self.hub.signal(channel, &frame.into(), None);
    }

    fn tell(&self, kind: NoticeKind, channel: &str, user: Option<&str>) {
        if self.webhooks.want(kind) {
            let notice = Notice::new(kind, channel);
            self.webhooks.tell(&match user {
                Some(user) => notice.of(user),
                None => notice,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All apps of the daemon, by name.
#[derive(Debug, Default)]
pub struct Apps {
    apps: BTreeMap<String, Arc<App>>,
}

impl Apps {
    /// Apps with their names.
    pub fn new(apps: impl IntoIterator<Item = (String, App)>) -> Self {
        Self { apps: apps.into_iter().map(|(name, app)| (name, Arc::new(app))).collect() }
    }

    /// The app `name`.
    pub fn get(&self, name: &str) -> Option<Arc<App>> {
        self.apps.get(name).cloned()
    }

    /// All apps with their names, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<App>)> {
        self.apps.iter().map(|(name, app)| (name.as_str(), app))
    }

    /// Begins to tell webhooks, and the numbers of connections on large channels, in `tasks` until
    /// `stop` is asked.
    pub fn start(&self, tasks: &Tasks, stop: &Stop) {
        for app in self.apps.values() {
            app.webhooks.start(tasks, stop);
            if let Some(backplane) = app.hub.backplane() {
                let (app, ended, stop) = (Arc::clone(app), backplane.ended(), stop.clone());
                drop(tasks.spawn(obey(app, ended, stop)));
            }
        }
        let told = self.apps.values().filter(|app| app.settings.subscription_counts);
        for app in told {
            let app = Arc::clone(app);
            let mut stop = stop.clone();
            drop(tasks.spawn(async move {
                while timeout(COUNT_EVERY, stop.asked()).await.is_err() {
                    app.tell_counts();
                }
            }));
        }
    }

    /// The app with `id`.
    fn with_id(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.values().find(|app| app.settings.id == id)
    }

    /// The app with `key`.
    fn with_key(&self, key: &str) -> Option<&Arc<App>> {
        self.apps.values().find(|app| app.settings.credentials.key == key)
    }
}

/// Ends the connections of users as other daemons say.
async fn obey(app: Arc<App>, mut ended: broadcast::Receiver<Arc<str>>, mut stop: Stop) {
    loop {
        let user = select! {
            user = ended.recv() => user,
            () = stop.asked() => return,
        };
        match user {
            Ok(user) => app.terminate_here(&user),
            Err(RecvError::Lagged(users)) => warn!(users, "connections of users were not ended"),
            Err(RecvError::Closed) => return,
        }
    }
}
