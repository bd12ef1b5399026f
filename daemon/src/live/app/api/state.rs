//! What servers ask about channels: which are occupied, by how many, and by whom.

use serde_json::{Map, Value, json};

use super::Denial;
use super::request::{Asked, parameter};
use crate::live::app::App;
use crate::live::protocol::pusher::{self, Kind};

impl App {
    /// `GET …/channels`.
    pub(super) fn list(&self, asked: &Asked) -> Result<String, Denial> {
        let prefix = parameter(&asked.query, "filter_by_prefix").unwrap_or_default();
        let info = asked.info();
        let wants_users = info.iter().any(|word| word == "user_count");
        if wants_users && !prefix.starts_with("presence-") {
            return Err(Denial::bad("`user_count` needs a `filter_by_prefix` of `presence-`"));
        }
        let state = self.lock();
        let channels = state.roster.channels().filter(|(name, _)| name.starts_with(&*prefix));
        let channels: Map<_, _> = channels
            .map(|(name, occupants)| {
                let mut told = Map::new();
                for word in &info {
                    let count = match word.as_str() {
                        "user_count" => occupants.users(),
                        "subscription_count" => occupants.connections(),
                        _ => continue,
                    };
                    told.insert(word.clone(), count.into());
                }
                (name.to_owned(), Value::Object(told))
            })
            .collect();
        drop(state);
        Ok(json!({ "channels": channels }).to_string())
    }

    /// `GET …/channels/{channel}`.
    pub(super) fn describe(&self, channel: &str, asked: &Asked) -> Result<String, Denial> {
        check(channel)?;
        let info = asked.info();
        let wants_users = info.iter().any(|word| word == "user_count");
        if wants_users && Kind::of(channel) != Kind::Presence {
            return Err(Denial::bad("`user_count` is for presence channels"));
        }
        let mut told = self.attributes(channel, &info);
        let is_occupied = self.lock().roster.get(channel).is_some();
        told.insert("occupied".to_owned(), is_occupied.into());
        if info.iter().any(|word| word == "cache") {
            let cached = self.hub.cached(channel).and_then(|(frame, ttl)| {
                let frame: Value = serde_json::from_slice(&frame).ok()?;
                Some(json!({ "data": frame["data"], "ttl": ttl.as_secs() }))
            });
            told.insert("cache".to_owned(), cached.unwrap_or(Value::Null));
        }
        Ok(Value::Object(told).to_string())
    }

    /// `GET …/channels/{channel}/users`.
    pub(super) fn users(&self, channel: &str) -> Result<String, Denial> {
        check(channel)?;
        if Kind::of(channel) != Kind::Presence {
            return Err(Denial::bad("only presence channels know their users"));
        }
        let state = self.lock();
        let members = state.roster.get(channel).into_iter().flat_map(|known| known.members());
        let users: Vec<_> = members.map(|(user, _)| json!({ "id": user })).collect();
        drop(state);
        Ok(json!({ "users": users }).to_string())
    }

    /// What is asked about one channel, as far as it has it.
    pub(super) fn attributes(&self, channel: &str, info: &[String]) -> Map<String, Value> {
        let state = self.lock();
        let occupants = state.roster.get(channel);
        let mut told = Map::new();
        for word in info {
            let count = match word.as_str() {
                "user_count" if Kind::of(channel) == Kind::Presence => {
                    occupants.map_or(0, |known| known.users())
                }
                "subscription_count" => occupants.map_or(0, |known| known.connections()),
                _ => continue,
            };
            told.insert(word.clone(), count.into());
        }
        told
    }
}

fn check(channel: &str) -> Result<(), Denial> {
    let checked = pusher::check_channel(channel);
    checked.map(drop).map_err(|error| Denial::bad(format!("`{channel}`: {error}")))
}
