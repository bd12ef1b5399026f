//! The Pusher protocol, versions 5 to 7: one JSON object per WebSocket message.
//!
//! A message of a client comes in and a [`Command`] goes out; what the daemon says is appended to
//! a buffer, one message per line. Channels are classed by the prefix of their names.

mod frames;
mod member;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

pub(in crate::live) use self::frames::*;
pub(in crate::live) use self::member::{member, user};
use crate::live::pattern::{Channel, NAME_LEN_MAX, NameError};

/// Longest name of an event.
pub(in crate::live) const EVENT_LEN_MAX: usize = 200;

/// What the names of events begin with that clients publish.
const CLIENT: &str = "client-";

/// What the names of channels begin with that reach one user.
const TO_USER: &str = "#server-to-user-";

/// What a connection ends with, or is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) struct Refusal {
    /// The code of the protocol; clients decide by it whether to come back.
    pub(in crate::live) code: u16,
    pub(in crate::live) message: &'static str,
}

/// Who may subscribe to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Kind {
    /// Everybody.
    Public,
    /// Who shows a signature.
    Private,
    /// The same, and the others are told who it is.
    Presence,
    /// The user that it names, once signed in.
    User,
}

impl Kind {
    /// The kind of `channel`, by its prefix.
    pub(in crate::live) fn of(channel: &str) -> Self {
        if channel.starts_with("private-") {
            Self::Private
        } else if channel.starts_with("presence-") {
            Self::Presence
        } else if channel.starts_with(TO_USER) {
            Self::User
        } else {
            Self::Public
        }
    }
}

/// Whether `channel` keeps its last event for whoever comes next.
pub(in crate::live) fn is_cached(channel: &str) -> bool {
    ["cache-", "private-cache-", "presence-cache-", "private-encrypted-cache-"]
        .iter()
        .any(|prefix| channel.starts_with(prefix))
}

/// Whether what goes over `channel` is readable at its ends only.
pub(in crate::live) fn is_encrypted(channel: &str) -> bool {
    channel.starts_with("private-encrypted-")
}

/// Whether events named so are the protocol's own.
pub(in crate::live) fn is_reserved(event: &str) -> bool {
    event.starts_with("pusher:") || event.starts_with("pusher_internal:")
}

/// The user that a channel of kind [`Kind::User`] reaches.
pub(in crate::live) fn user_of(channel: &str) -> Option<&str> {
    channel.strip_prefix(TO_USER)
}

/// Why a text names no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(in crate::live) enum ChannelError {
    #[error("a channel name has 1 to {NAME_LEN_MAX} of the characters A-Z a-z 0-9 _ - = @ , . ;")]
    Character,
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Checks the name of a channel.
pub(in crate::live) fn check_channel(name: &str) -> Result<Channel<'_>, ChannelError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-=@,.;".contains(letter);
    let is_named = name.len() <= NAME_LEN_MAX && !name.is_empty() && name.chars().all(is_plain);
    if is_named || user_of(name).is_some_and(|user| !user.is_empty()) {
        return Ok(Channel::new(name)?);
    }
    Err(ChannelError::Character)
}

/// What a client wants.
#[derive(Debug)]
pub(in crate::live) enum Command<'a> {
    Subscribe(Wish),
    Unsubscribe { channel: String },
    SignIn { auth: String, user_data: String },
    Publish { event: Cow<'a, str>, channel: Cow<'a, str>, data: Option<&'a RawValue> },
    Ping,
    Pong,
}

/// A subscription that a client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::live) struct Wish {
    pub(in crate::live) channel: String,
    pub(in crate::live) auth: Option<String>,
    pub(in crate::live) channel_data: Option<String>,
}

/// Why a message is no command.
#[derive(Debug, Error)]
pub(in crate::live) enum Nonsense {
    #[error("the message is not an object with an `event`: {0}")]
    Message(serde_json::Error),
    #[error("`data` of `{event}` is not valid: {error}")]
    Data { event: &'static str, error: serde_json::Error },
    #[error("missing parameter: {0}")]
    Missing(&'static str),
    #[error("there is no event `{0}`; a client's own begin with `{CLIENT}`")]
    Unknown(String),
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignIn {
    auth: Option<String>,
    user_data: Option<String>,
}

/// Reads one message.
pub(in crate::live) fn parse(text: &str) -> Result<Command<'_>, Nonsense> {
    let message: Message<'_> = serde_json::from_str(text).map_err(Nonsense::Message)?;
    let Message { event, channel, data } = message;
    match event.as_ref() {
        "pusher:ping" => Ok(Command::Ping),
        "pusher:pong" => Ok(Command::Pong),
        "pusher:subscribe" => {
            let wish: Wish = read("pusher:subscribe", data)?;
            named(wish.channel.as_str())?;
            Ok(Command::Subscribe(wish))
        }
        "pusher:unsubscribe" => {
            let wish: Wish = read("pusher:unsubscribe", data)?;
            named(wish.channel.as_str())?;
            Ok(Command::Unsubscribe { channel: wish.channel })
        }
        "pusher:signin" => {
            let SignIn { auth, user_data } = read("pusher:signin", data)?;
            let auth = auth.ok_or(Nonsense::Missing("data.auth"))?;
            let user_data = user_data.ok_or(Nonsense::Missing("data.user_data"))?;
            Ok(Command::SignIn { auth, user_data })
        }
        name if name.starts_with(CLIENT) => {
            let channel = channel.ok_or(Nonsense::Missing("channel"))?;
            Ok(Command::Publish { event, channel, data })
        }
        name => {
            let end = name.floor_char_boundary(EVENT_LEN_MAX);
            Err(Nonsense::Unknown(name[..end].to_owned()))
        }
    }
}

fn named(channel: &str) -> Result<(), Nonsense> {
    if channel.is_empty() { Err(Nonsense::Missing("data.channel")) } else { Ok(()) }
}

/// Reads the data of the protocol's own events: an object, or a string that holds one.
fn read<T: for<'de> Deserialize<'de>>(
    event: &'static str,
    data: Option<&RawValue>,
) -> Result<T, Nonsense> {
    let text = data.ok_or(Nonsense::Missing("data"))?.get();
    let failed = |error| Nonsense::Data { event, error };
    if text.starts_with('"') {
        let inner: String = serde_json::from_str(text).map_err(failed)?;
        return serde_json::from_str(&inner).map_err(failed);
    }
    serde_json::from_str(text).map_err(failed)
}
