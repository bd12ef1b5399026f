//! Who is where: how many connections each channel has, and which users, counted once however
//! many connections they have. Knows nothing of hubs and protocols; its holder tells what changed.

use std::collections::{BTreeMap, HashMap};

/// A user on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Who it is.
    pub(crate) user: Box<str>,
    /// What others may know of it, as JSON.
    pub(crate) info: Option<Box<str>>,
}

/// The channels that somebody is on.
#[derive(Debug, Default)]
pub(super) struct Roster {
    channels: HashMap<Box<str>, Occupants>,
}

/// Who is on one channel.
#[derive(Debug, Default)]
pub(super) struct Occupants {
    connections: usize,
    /// By user, in the order of their names.
    members: BTreeMap<Box<str>, Known>,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    info: Option<Box<str>>,
}

/// What a connection's coming or going changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Connections on the channel now.
    pub(super) connections: usize,
    /// Whether the channel was empty before, or is now.
    pub(super) is_channel: bool,
    /// Whether the user was not there before, or is no more.
    pub(super) is_member: bool,
}

/// There are as many members as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Roster {
    /// Adds one connection to `channel`, as a member of it if there is one.
    pub(super) fn enter(
        &mut self,
        channel: &str,
        member: Option<&Member>,
        members_max: usize,
    ) -> Result<Change, Full> {
        let known = self.channels.get(channel);
        let members = known.map_or(0, |occupants| occupants.members.len());
        let is_new = |member: &Member| {
            known.is_none_or(|occupants| !occupants.members.contains_key(&member.user))
        };
        let is_member = member.is_some_and(is_new);
        if is_member && members >= members_max {
            return Err(Full);
        }
        if known.is_none() {
            self.channels.insert(channel.into(), Occupants::default());
        }
        let occupants = self.channels.get_mut(channel).expect("it was put in if it was not there");
        occupants.connections += 1;
        if let Some(Member { user, info }) = member {
            let fresh = || Known { connections: 0, info: info.clone() };
            occupants.members.entry(user.clone()).or_insert_with(fresh).connections += 1;
        }
        let connections = occupants.connections;
        Ok(Change { connections, is_channel: connections == 1, is_member })
    }

    /// Takes out one connection that entered as `user`, if as one.
    pub(super) fn leave(&mut self, channel: &str, user: Option<&str>) -> Change {
        let mut change = Change { connections: 0, is_channel: false, is_member: false };
        let Some(occupants) = self.channels.get_mut(channel) else { return change };
        occupants.connections = occupants.connections.saturating_sub(1);
        if let Some((user, known)) =
            user.and_then(|user| Some((user, occupants.members.get_mut(user)?)))
        {
            known.connections -= 1;
            if known.connections == 0 {
                occupants.members.remove(user);
                change.is_member = true;
            }
        }
        change.connections = occupants.connections;
        if occupants.connections == 0 {
            self.channels.remove(channel);
            change.is_channel = true;
        }
        change
    }

    /// Who is on `channel`, if anybody.
    pub(super) fn get(&self, channel: &str) -> Option<&Occupants> {
        self.channels.get(channel)
    }

    /// All channels that somebody is on.
    pub(super) fn channels(&self) -> impl Iterator<Item = (&str, &Occupants)> {
        self.channels.iter().map(|(name, occupants)| (&**name, occupants))
    }

    /// How many channels somebody is on.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }
}

impl Occupants {
    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// How many users there are.
    pub(super) fn users(&self) -> usize {
        self.members.len()
    }

    /// Whether `user` is there.
    pub(super) fn has(&self, user: &str) -> bool {
        self.members.contains_key(user)
    }

    /// The users, each with what others may know of it.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.members.iter().map(|(user, known)| (&**user, known.info.as_deref()))
    }
}
