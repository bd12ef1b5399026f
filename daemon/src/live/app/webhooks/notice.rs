//! One thing that happened, and the JSON that tells it.

use serde_json::{Map, Value};

use crate::live::app::settings::NoticeKind;

/// Something that happened on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::live::app) struct Notice {
    pub(in crate::live::app) kind: NoticeKind,
    pub(in crate::live::app) channel: Box<str>,
    /// Who came, went or published, where that is known.
    pub(in crate::live::app) user: Option<Box<str>>,
    /// What a client published.
    pub(in crate::live::app) event: Option<ClientEvent>,
    /// How many connections the channel has.
    pub(in crate::live::app) count: Option<usize>,
}

/// What a client published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::live::app) struct ClientEvent {
    pub(in crate::live::app) name: Box<str>,
    pub(in crate::live::app) data: Box<str>,
    pub(in crate::live::app) socket: Box<str>,
}

impl Notice {
    /// That something happened on `channel`.
    pub(in crate::live::app) fn new(kind: NoticeKind, channel: &str) -> Self {
        Self { kind, channel: channel.into(), user: None, event: None, count: None }
    }

    /// The same, with who it was.
    pub(in crate::live::app) fn of(self, user: &str) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// The notice that undoes this one.
    pub(super) fn opposite(&self) -> Option<Self> {
        let kind = match self.kind {
            NoticeKind::ChannelOccupied => NoticeKind::ChannelVacated,
            NoticeKind::ChannelVacated => NoticeKind::ChannelOccupied,
            NoticeKind::MemberAdded => NoticeKind::MemberRemoved,
            NoticeKind::MemberRemoved => NoticeKind::MemberAdded,
            NoticeKind::ClientEvent | NoticeKind::CacheMiss | NoticeKind::SubscriptionCount => {
                return None;
            }
        };
        Some(Self { kind, ..self.clone() })
    }

    /// Whether it waits, because it may be undone in a moment.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.kind, NoticeKind::ChannelVacated | NoticeKind::MemberRemoved)
    }

    /// The notice on the wire.
    pub(super) fn json(&self) -> Value {
        let mut told = Map::new();
        let mut put = |name: &str, text: &str| told.insert(name.to_owned(), text.into());
        put("name", self.kind.name());
        put("channel", &self.channel);
        if let Some(ClientEvent { name, data, socket }) = &self.event {
            put("event", name);
            put("data", data);
            put("socket_id", socket);
        }
        if let Some(user) = &self.user {
            put("user_id", user);
        }
        if let Some(count) = self.count {
            told.insert("subscription_count".to_owned(), count.into());
        }
        Value::Object(told)
    }
}
