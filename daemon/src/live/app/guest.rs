//! One client's connection to an app, without its socket: messages in, messages out.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{App, Denied, Refused};
use crate::auth::signature::SignatureError;
use crate::live::allowance::Allowance;
use crate::live::echo::SocketId;
use crate::live::presence::Member;
use crate::live::protocol::pusher::{self, Command, Kind, Refusal, Wish};
use crate::live::subscription::Subscription;
use crate::tasks::Stop;

/// Nonsense, less good messages, after which a connection is closed.
const FAULTS_MAX: u32 = 16;

/// What clients are told with a refused event of their own.
const CLIENT_EVENT: u16 = 4301;

/// Why a client that sends nonsense is cut off; by a code after which it waits.
const NONSENSE: Refusal = Refusal { code: 1008, message: "too many messages without meaning" };

/// Why a client that cannot show who it is is cut off for good.
const UNAUTHORIZED: Refusal = Refusal { code: 4009, message: "not authorized to sign in" };

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    app: Arc<App>,
    pub(super) socket: SocketId,
    pub(super) subscription: Subscription,
    /// The channels that it is on, each with the user that it came as.
    channels: HashMap<Box<str>, Option<Box<str>>>,
    /// Who signed in.
    user: Option<Member>,
    /// Asked when the user's connections shall end.
    pub(super) terminated: Option<Stop>,
    faults: u32,
    /// Events that may be published now, and when that was counted.
    allowance: Allowance,
}

/// Why a client does not get what it asked for.
struct No {
    why: Refused,
    kind: &'static str,
    status: u16,
    message: String,
}

impl Guest {
    /// A connection of `app`, if it may have one more.
    pub(super) fn new(app: Arc<App>) -> Result<Self, Refusal> {
        app.connect()?;
        let socket = SocketId::fresh();
        let limits = app.settings().limits;
        let rate = to_rate(limits.client_events_rate);
        let subscription =
            Subscription::of_socket(Arc::clone(&app.hub), socket, limits.channels_max);
        Ok(Self {
            app,
            socket,
            subscription,
            channels: HashMap::new(),
            user: None,
            terminated: None,
            faults: 0,
            allowance: Allowance::new(rate, rate),
        })
    }

    /// The app.
    pub(super) fn app(&self) -> &App {
        &self.app
    }

    /// Appends the greeting.
    pub(super) fn greet(&self, out: &mut Vec<u8>) {
        let timeout = self.app.settings().activity_timeout.as_secs();
        pusher::write_established(&self.socket.to_string(), timeout, out);
    }

    /// Does what a message says and appends the answers to `out`.
    ///
    /// # Errors
    /// If the connection is to end.
    pub(super) fn obey(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let command = match pusher::parse(text) {
            Ok(command) => command,
            Err(nonsense) => {
                self.app.counts.refuse(Refused::Message);
                pusher::write_error(None, &nonsense.to_string(), out);
                self.faults += 1;
                return if self.faults > FAULTS_MAX { Err(NONSENSE) } else { Ok(()) };
            }
        };
        self.faults = self.faults.saturating_sub(1);
        match command {
            Command::Ping => pusher::write_pong(out),
            Command::Pong => {}
            Command::Subscribe(wish) => self.subscribe(&wish, out),
            Command::Unsubscribe { channel } => self.unsubscribe(&channel),
            Command::SignIn { auth, user_data } => return self.sign_in(&auth, &user_data, out),
            Command::Publish { event, channel, data } => {
                if let Err(no) = self.publish((&event, &channel), data) {
                    self.app.counts.refuse(no.why);
                    pusher::write_error(Some(CLIENT_EVENT), &no.message, out);
                }
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, wish: &Wish, out: &mut Vec<u8>) {
        let channel = wish.channel.as_str();
        if self.channels.contains_key(channel) {
            let message = format!("Existing subscription to channel {channel}");
            return pusher::write_error(None, &message, out);
        }
        let entered = self.admit(wish).and_then(|member| {
            let who = (&mut self.subscription, self.socket);
            let entered = self.app.enter(who, channel, member.as_ref(), out);
            entered.map_err(|denied| self.limit(denied)).map(|()| member)
        });
        match entered {
            Ok(member) => {
                self.channels.insert(channel.into(), member.map(|member| member.user));
            }
            Err(no) => {
                self.app.counts.refuse(no.why);
                let kind = (no.kind, no.status);
                pusher::write_subscription_error(channel, kind, &no.message, out);
            }
        }
    }

    /// Whether the client may subscribe; answers who it is where that is told.
    fn admit(&self, wish: &Wish) -> Result<Option<Member>, No> {
        let channel = wish.channel.as_str();
        pusher::check_channel(channel).map_err(|error| No::grammar(error.to_string()))?;
        match Kind::of(channel) {
            Kind::Public => Ok(None),
            Kind::User => {
                let user = self.user.as_ref().map(|user| &*user.user);
                if user == pusher::user_of(channel) {
                    return Ok(None);
                }
                let message = "only the user that signed in may subscribe to this channel";
                Err(No::auth(Refused::Forbidden, message.to_owned()))
            }
            Kind::Private => self.check(wish).map(|()| None),
            Kind::Presence => {
                self.check(wish)?;
                match (&wish.channel_data, &self.user) {
                    (Some(data), _) => {
                        let member =
                            pusher::member(data, self.app.settings().limits.member_len_max);
                        member.map(Some).map_err(|error| No::grammar(error.to_string()))
                    }
                    (None, Some(user)) => Ok(Some(user.clone())),
                    (None, None) => {
                        let message =
                            "a presence channel needs `channel_data`, or a sign-in before";
                        Err(No::grammar(message.to_owned()))
                    }
                }
            }
        }
    }

    fn check(&self, wish: &Wish) -> Result<(), No> {
        let auth = wish.auth.as_deref().unwrap_or_default();
        let socket = self.socket.to_string();
        let mut parts = vec![socket.as_str(), &wish.channel];
        parts.extend(wish.channel_data.as_deref());
        self.app.settings().credentials.check(auth, &parts).map_err(|error| {
            let message = match error {
                SignatureError::Key => {
                    let key = auth.split(':').next().unwrap_or_default();
                    let end = key.floor_char_boundary(64);
                    format!("Invalid key in subscription auth data: '{}'", &key[..end])
                }
                _ => format!(
                    "Invalid signature: {error}; signed must be socket id and channel, as in \
                     {socket}:{}, with `channel_data` if there is some",
                    wish.channel
                ),
            };
            No::auth(Refused::Signature, message)
        })
    }

    fn limit(&self, denied: Denied) -> No {
        let (kind, status) = ("LimitReached", 403);
        let message = match denied {
            Denied::Join(error) => error.to_string(),
            Denied::Full => {
                let max = self.app.settings().limits.members_max;
                format!("a presence channel has at most {max} members")
            }
        };
        No { why: Refused::Limit, kind, status, message }
    }

    fn unsubscribe(&mut self, channel: &str) {
        if let Some(user) = self.channels.remove(channel) {
            self.app.leave(&mut self.subscription, channel, user.as_deref());
        }
    }

    fn sign_in(&mut self, auth: &str, data: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let socket = self.socket.to_string();
        let signed = [socket.as_str(), "", "user", "", data];
        if self.app.settings().credentials.check(auth, &signed).is_err() {
            self.app.counts.refuse(Refused::Signature);
            return Err(UNAUTHORIZED);
        }
        let Ok(user) = pusher::user(data, self.app.settings().limits.member_len_max) else {
            self.app.counts.refuse(Refused::Grammar);
            return Err(UNAUTHORIZED);
        };
        match &self.user {
            Some(known) if known.user != user.user => {
                self.app.counts.refuse(Refused::Forbidden);
                return Err(UNAUTHORIZED);
            }
            Some(_) => {}
            None => self.terminated = Some(self.app.sign_in(&user.user, self.socket)),
        }
        pusher::write_signed_in(data, out);
        self.user = Some(user);
        Ok(())
    }

    fn publish(
        &mut self,
        (event, channel): (&str, &str),
        data: Option<&RawValue>,
    ) -> Result<(), No> {
        let settings = self.app.settings();
        if !settings.client_events {
            return Err(No::forbidden("this app has no client events"));
        }
        let Some(user) = self.channels.get(channel) else {
            return Err(No::forbidden("a client publishes only where it subscribes"));
        };
        let is_open = matches!(Kind::of(channel), Kind::Private | Kind::Presence);
        if !is_open || pusher::is_encrypted(channel) {
            return Err(No::forbidden(
                "clients publish to private and presence channels that are not encrypted",
            ));
        }
        if event.len() > pusher::EVENT_LEN_MAX {
            let message = format!("an event's name has at most {} bytes", pusher::EVENT_LEN_MAX);
            return Err(No::grammar(message));
        }
        let max = settings.limits.event_len_max;
        if data.is_some_and(|data| data.get().len() > max) {
            let message = format!("the data of an event has at most {max} bytes");
            return Err(No { why: Refused::Limit, ..No::grammar(message) });
        }
        let rate = settings.limits.client_events_rate;
        if !self.allowance.spend() {
            let message = format!("a client publishes at most {rate} events a second");
            return Err(No { why: Refused::Rate, ..No::grammar(message) });
        }
        self.app.pass_on((event, channel), data, (user.as_deref(), self.socket));
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        for (channel, user) in std::mem::take(&mut self.channels) {
            self.app.leave(&mut self.subscription, &channel, user.as_deref());
        }
        if let Some(user) = &self.user {
            self.app.sign_out(&user.user, self.socket);
        }
        self.app.disconnect();
    }
}

impl No {
    fn auth(why: Refused, message: String) -> Self {
        Self { why, kind: "AuthError", status: 401, message }
    }

    fn grammar(message: String) -> Self {
        Self { why: Refused::Grammar, kind: "InvalidRequest", status: 400, message }
    }

    fn forbidden(message: &str) -> Self {
        let message = message.to_owned();
        Self { why: Refused::Forbidden, kind: "Forbidden", status: 403, message }
    }
}

fn to_rate(events: usize) -> f64 {
    f64::from(u32::try_from(events).unwrap_or(u32::MAX))
}
