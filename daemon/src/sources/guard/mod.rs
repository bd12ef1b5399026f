//! Who may publish through a source, and how much: tokens of a hub, and a rate per publisher.

mod quota;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use toml::Spanned;

use self::quota::{Quota, Who};
use crate::ack::{Code, Refusal};
use crate::component::{BuildContext, BuildError};
use crate::live::{Hub, Publisher};
use crate::units::Time;

/// The longest time that a rate is over.
const PER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How much one publisher may publish: so many events in so much time, all at once or spread.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    events: u32,
    per: Time,
}

/// Lets publishers in.
#[derive(Debug)]
pub(super) struct Guard {
    /// Whose tokens publishers must show.
    pub(super) access: Option<Arc<Hub>>,
    quota: Option<Arc<Quota>>,
}

impl Guard {
    /// The guard of a source with these settings.
    pub(super) fn new(
        access: Option<&Spanned<String>>,
        rate: Option<&Spanned<Rate>>,
        cx: &BuildContext<'_>,
    ) -> Result<Self, BuildError> {
        let access = access.map(|name| hub(name, cx)).transpose()?;
        let quota = rate.map(|rate| {
            let Rate { events, per } = rate.get_ref();
            if *events == 0 || per.0.is_zero() || per.0 > PER_MAX {
                let message = "a rate is 1 event or more in up to a day";
                let help = "write `rate = { events = 100, per = \"1s\" }`";
                return Err(BuildError::new("W0202", message).help(help).at(rate.span()));
            }
            // A reload that does not change the rate forgives nothing.
            let key = format!("{} {events} {:?}", cx.id, per.0);
            Ok(cx.host.lent.borrow(&key, || Quota::new(*events, per.0)))
        });
        Ok(Self { access, quota: quota.transpose()? })
    }

    /// Charges whoever publishes for `events`.
    ///
    /// # Errors
    /// If that is more than the rate allows: when to try again.
    pub(super) fn charge(
        &self,
        publisher: Option<&Publisher<'_>>,
        address: IpAddr,
        events: usize,
    ) -> Result<(), Duration> {
        let Some(quota) = &self.quota else { return Ok(()) };
        let who = match publisher.and_then(|publisher| publisher.user) {
            Some(user) => Who::User(user.into()),
            None => Who::at(address),
        };
        quota.take(who, events, Instant::now())
    }
}

fn hub(name: &Spanned<String>, cx: &BuildContext<'_>) -> Result<Arc<Hub>, BuildError> {
    let hub = cx.hub(name.get_ref()).map_err(|error| error.at(name.span()))?;
    if hub.settings().access.is_none() {
        let message = format!("the hub `{}` knows no tokens", name.get_ref());
        let help = "add `access = { jwt = … }` to the hub in weir.toml";
        return Err(BuildError::new("W0114", message).help(help).at(name.span()));
    }
    Ok(hub)
}

/// The refusal of who has published too much.
pub(super) fn too_much(wait: Duration) -> Refusal {
    let seconds = wait.as_secs_f64();
    Refusal::new(Code::RateLimited, format!("more than this publisher's rate; wait {seconds:.1} s"))
}

/// The refusal of an event that the publisher's token does not cover.
pub(super) fn forbidden(event_type: &str) -> Refusal {
    Refusal::new(
        Code::Forbidden,
        format!("the token is not good for events of type `{event_type}`"),
    )
}
