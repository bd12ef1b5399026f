//! Groups the events of each key into sessions, and says when one has ended.
//!
//! ```toml
//! [[transform]]
//! plugin = "sessionize"
//! grants = ["clock", "kv"]
//! config = { key = "data.user", idle = "30m" }
//! ```
//!
//! `key` names whose events make a session: `id`, `source`, `type`, `subject`, `ext.NAME` or
//! `data.PATH`, or several of them. An event that lacks a part passes without a session. A session
//! goes on until no event of its key has come for `idle`, by the daemon's clock.
//!
//! Each event gets the id of its session as the extension attribute `session`, or where `into` says:
//! `ext.NAME` or `data.PATH`. The id is a hash of the key and of the event that began it.
//!
//! When a session has ended, an event of the type `session.ended` (or `ended`) follows, with the key
//! as its subject and
//! `{"session":"…","key":"…","started":"2026-01-31T12:00:00.000000Z","ended":"…","events":3}`;
//! the parts of a key are joined by `/`. `started` and `ended` are the `time` of its first and last
//! event. It comes up to a 256th of `idle`, and never less than a quarter of a second, later than it
//! could; the step's `tick` adds to that.
//!
//! Sessions outlive reloads and restarts. At most `sessions` (50,000) are open, and all of them share
//! the step's `limits.state`: each takes its key twice and some 500 bytes. When there is no room, events of new
//! keys fail until others end, and the step's `on_error` decides: with `on_error = "pass"` they pass
//! without a session. A few hundred sessions end at a tick, the others at the next ones.

mod book;
#[cfg(test)]
mod tests;
mod time;

use book::{Book, Session};
use keyed::{Key, Span};
use serde::Deserialize;
use weir_plugin::{Action, Event, Failure, Plugin, Row, Step, Timer, clock};

/// The parts of a key as they are shown are joined by this.
const JOINED: &str = "/";

/// What a pipeline file may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose events make a session.
    key: Key,
    /// How long after its last event a session ends.
    idle: Span,
    /// Where its id goes.
    #[serde(default)]
    into: Into,
    /// The type of the event that says that it has ended.
    #[serde(default = "ended")]
    ended: String,
    /// How many may be open.
    #[serde(default = "sessions")]
    sessions: u64,
}

/// Where the id of a session goes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Into {
    Extension(String),
    Field(String),
}

/// Keeps the sessions of one step.
#[derive(Debug)]
pub struct Sessionize {
    config: Config,
    book: Book,
}

fn ended() -> String {
    "session.ended".to_owned()
}

fn sessions() -> u64 {
    50_000
}

impl Default for Into {
    fn default() -> Self {
        Self::Extension("session".to_owned())
    }
}

impl TryFrom<String> for Into {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.strip_prefix("ext."), text.strip_prefix("data.")) {
            (Some(name), _) if is_attribute(name) => Ok(Self::Extension(name.to_owned())),
            (_, Some(path)) if !path.is_empty() => Ok(Self::Field(path.to_owned())),
            _ => Err(format!(
                "`{text}` is no place: write `ext.NAME`, with letters a-z and digits, or `data.PATH`"
            )),
        }
    }
}

/// Whether `CloudEvents` allows an attribute of this name.
fn is_attribute(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name.bytes().all(is_fit)
}

impl Plugin for Sessionize {
    type Config = Config;
    const SCHEMA: Option<&'static str> = Some(include_str!("schema.json"));

    fn configure(config: Config, _: &Step) -> Result<Self, String> {
        if config.ended.is_empty() {
            return Err("`ended` is the type of an event, which is not empty".to_owned());
        }
        if config.sessions == 0 {
            return Err("`sessions` is at least 1".to_owned());
        }
        let idle =
            u64::try_from(config.idle.0.as_micros()).map_err(|_long| "`idle` is too long")?;
        let book = Book { idle, sessions_max: config.sessions };
        Ok(Self { config, book })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let Some(key) = self.config.key.of(event)? else { return Ok(Action::Keep) };
        let session = self.book.enter(&key, event, clock::now())?;
        Ok(match &self.config.into {
            Into::Extension(name) => Action::Emit(vec![Row::new().extension(name, session)]),
            Into::Field(path) => event.set(path, session).into(),
        })
    }

    fn fields(&self) -> Vec<String> {
        self.config.key.fields()
    }

    fn needs_data(&self) -> bool {
        false
    }
}

impl Timer for Sessionize {
    fn tick(&mut self, now: u64) -> Result<Vec<Row>, Failure> {
        let ended = self.book.close(now)?;
        Ok(ended.iter().map(|(id, session)| self.told(id, session)).collect())
    }
}

impl Sessionize {
    /// The event that says that a session has ended.
    fn told(&self, id: &str, session: &Session) -> Row {
        let key = session.key.replace(keyed::SEPARATOR, JOINED);
        let data = serde_json::json!({
            "session": id,
            "key": key,
            "started": time::written(session.started),
            "ended": time::written(session.ended),
            "events": session.events,
        });
        let row = Row::new().event_type(&self.config.ended).subject(Some(&key));
        let row = row.content_type(Some("application/json")).data(data.to_string());
        match &self.config.into {
            Into::Extension(name) => row.extension(name, id),
            Into::Field(_) => row,
        }
    }
}

weir_plugin::register!(Sessionize, timer);
