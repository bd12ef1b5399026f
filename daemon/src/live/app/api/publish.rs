//! `POST …/events` and `…/batch_events`: events from an application's servers into a pipeline.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::request::{BATCH_MAX, read};
use super::{AppIntake, Denial, Publication, reply};
use crate::ack::Answer;
use crate::budget::Budget;
use crate::live::app::{App, Refused};
use crate::live::echo::SocketId;
use crate::live::protocol::pusher;
use crate::net::{Endpoint, Peer, ReplyFuture, Request, status_of};

/// Most channels of one event.
const CHANNELS_MAX: usize = 100;

/// Answers the paths on which servers publish, for one app and one source.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) app: Arc<App>,
    pub(super) intake: Arc<dyn AppIntake>,
    pub(super) budget: Arc<Budget>,
}

/// One event as it is posted.
#[derive(Debug, Deserialize)]
struct Posted {
    name: String,
    data: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    socket_id: Option<String>,
    #[serde(default)]
    info: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Batch {
    batch: Vec<Posted>,
}

impl Endpoint for Publishing {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        Box::pin(async move { reply(self.answer(request).await) })
    }
}

impl Publishing {
    async fn answer(&self, request: Request) -> Result<String, Denial> {
        let asked = read(&self.app, request, &self.budget).await?;
        if asked.method != Method::POST {
            let message = "events are published with POST";
            return Err(Denial::new(StatusCode::METHOD_NOT_ALLOWED, message));
        }
        let is_batch = asked.path.iter().any(|segment| segment == "batch_events");
        let posted = if is_batch {
            let Batch { batch } = parse(&asked.body)?;
            if batch.len() > BATCH_MAX {
                let message = format!("a batch has at most {BATCH_MAX} events");
                return Err(self.refuse(Refused::Limit, Denial::bad(message)));
            }
            batch
        } else {
            vec![parse(&asked.body)?]
        };
        for event in &posted {
            self.check(event)?;
        }
        let events: Vec<_> = posted.iter().flat_map(Posted::publications).collect();
        if !events.is_empty() {
            let verdicts = self.intake.publish(&events).map_err(|refusal| {
                Denial::new(status_of(refusal.code), refusal.message.to_string())
            })?;
            judge(&verdicts.await)?;
        }
        Ok(self.told(&posted, is_batch))
    }

    fn check(&self, event: &Posted) -> Result<(), Denial> {
        let grammar = |message: String| self.refuse(Refused::Grammar, Denial::bad(message));
        let is_name = !event.name.is_empty()
            && event.name.len() <= pusher::EVENT_LEN_MAX
            && !event.name.chars().any(char::is_control);
        if !is_name {
            let max = pusher::EVENT_LEN_MAX;
            return Err(grammar(format!("the name of an event has 1 to {max} bytes")));
        }
        if pusher::is_reserved(&event.name) {
            return Err(grammar(format!("`{}` is an event of the protocol", event.name)));
        }
        let len_max = self.app.settings().limits.event_len_max;
        if event.data.len() > len_max {
            let message = format!("the data of an event has at most {len_max} bytes");
            let denial = Denial::new(StatusCode::PAYLOAD_TOO_LARGE, message);
            return Err(self.refuse(Refused::Limit, denial));
        }
        if !(1..=CHANNELS_MAX).contains(&event.channels().count()) {
            return Err(grammar(format!("an event goes to 1 to {CHANNELS_MAX} channels")));
        }
        for channel in event.channels() {
            pusher::check_channel(channel)
                .map_err(|error| grammar(format!("`{channel}`: {error}")))?;
        }
        let socket = event.socket_id.as_deref();
        if socket.is_some_and(|socket| socket.parse::<SocketId>().is_err()) {
            return Err(grammar("`socket_id` is not two numbers with a dot between".to_owned()));
        }
        Ok(())
    }

    fn refuse(&self, why: Refused, denial: Denial) -> Denial {
        self.app.counts.refuse(why);
        denial
    }

    /// The reply, with what the request asks about the channels.
    fn told(&self, posted: &[Posted], is_batch: bool) -> String {
        let describe = |event: &Posted, channel: &str| {
            let info = event.info.as_deref().unwrap_or_default();
            let words: Vec<String> = info.split(',').map(str::to_owned).collect();
            serde_json::Value::Object(self.app.attributes(channel, &words))
        };
        if posted.iter().all(|event| event.info.is_none()) {
            return "{}".to_owned();
        }
        let told = if is_batch {
            let of = |event: &Posted| event.channels().next().map(|name| describe(event, name));
            serde_json::json!({ "batch": posted.iter().map(of).collect::<Vec<_>>() })
        } else {
            let event = &posted[0];
            let channels = event.channels().map(|name| (name.to_owned(), describe(event, name)));
            let channels: serde_json::Map<_, _> = channels.collect();
            serde_json::json!({ "channels": channels })
        };
        told.to_string()
    }
}

impl Posted {
    fn channels(&self) -> impl Iterator<Item = &str> {
        self.channel.iter().chain(&self.channels).map(String::as_str)
    }

    fn publications(&self) -> impl Iterator<Item = Publication<'_>> {
        self.channels().map(|channel| Publication {
            name: &self.name,
            channel,
            data: &self.data,
            socket: self.socket_id.as_deref(),
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Denial> {
    serde_json::from_slice(body).map_err(|error| Denial::bad(format!("the body: {error}")))
}

/// Whether all is well; else what the first event is told that is not.
fn judge(answers: &[Answer]) -> Result<(), Denial> {
    let failed = answers.iter().find_map(|answer| Some((answer.code()?, answer)));
    let Some((code, answer)) = failed else { return Ok(()) };
    let message = answer.message().unwrap_or(code.name());
    Err(Denial::new(status_of(code), message))
}
