//! `[app.NAME]` of `weir.toml`: a Pusher-style application.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use toml::Spanned;

use crate::auth::signature::{Credentials, Secret};
use crate::component::{BuildError, did_you_mean};
use crate::live::{AppLimits, AppSettings, HubSettings, NoticeKind, WebhookSettings};
use crate::units::{Size, Time};

/// Longest id and key.
const NAME_LEN_MAX: usize = 64;

/// The least and the most time that a connection may be silent: clients count in whole seconds,
/// and proxies cut what is silent for long.
const ACTIVITY_TIMEOUTS: [Time; 2] = [Time(Duration::from_secs(1)), Time(Duration::from_secs(600))];

/// The most that one message may take on its way in.
const LEN_MAX: Size = Size(200 << 10);

/// The keys of one app.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AppKeys {
    /// Names the app in the paths of the HTTP API: digits, because some libraries take no other.
    id: Option<Spanned<String>>,
    /// What clients connect with; public.
    key: Option<Spanned<String>>,
    /// What the application's server signs with.
    secret: Option<Spanned<String>>,
    /// The hub whose channels are the app's; `main` by default.
    hub: Option<Spanned<String>>,
    /// Whether anybody is served.
    enabled: bool,
    /// Whether clients may publish to each other; off by default, as at Pusher.
    client_events: bool,
    /// Whether clients are told how many subscribe to their channels; off by default.
    subscription_counts: bool,
    /// Origins whose pages may connect; empty, the default, means all.
    origins: Vec<String>,
    /// How long a connection may be silent before it is asked whether it is there.
    activity_timeout: Option<Spanned<Time>>,
    /// What a proxy takes off the paths of the HTTP API; requests are signed with it.
    path_prefix: String,
    limits: LimitKeys,
    /// Who is told what happens on the channels.
    webhooks: Vec<WebhookKeys>,
}

/// The keys of one webhook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookKeys {
    /// Where it is posted to.
    url: Spanned<String>,
    /// What is told; absent means everything but `subscription_count`.
    #[serde(default)]
    events: Option<Vec<NoticeKind>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitKeys {
    /// Connections at one time; by default as many as the listener takes.
    connections: Option<usize>,
    /// Channels of one connection.
    channels: Option<usize>,
    /// Users on one presence channel.
    members: Option<usize>,
    /// What one user tells of itself.
    member: Option<Spanned<Size>>,
    /// The data of one event.
    event: Option<Spanned<Size>>,
    /// Events of clients a second, for each connection.
    client_events: Option<usize>,
}

impl Default for AppKeys {
    fn default() -> Self {
        Self {
            id: None,
            key: None,
            secret: None,
            hub: None,
            enabled: true,
            client_events: false,
            subscription_counts: false,
            origins: Vec::new(),
            activity_timeout: None,
            path_prefix: String::new(),
            limits: LimitKeys::default(),
            webhooks: Vec::new(),
        }
    }
}

/// The settings of all apps; marks their hubs. What is faulty goes to `faults`.
pub(super) fn settings(
    keys: BTreeMap<Spanned<String>, AppKeys>,
    hubs: &mut BTreeMap<String, HubSettings>,
    faults: &mut Vec<BuildError>,
) -> BTreeMap<String, AppSettings> {
    let mut apps: BTreeMap<String, AppSettings> = BTreeMap::new();
    for (name, keys) in keys {
        let spans = [&keys.id, &keys.key, &keys.hub].map(|key| key.as_ref().map(Spanned::span));
        let Some(app) = keys.settings(&name, faults) else { continue };
        let mut is_own = true;
        let own = [&app.id, &app.credentials.key, &app.hub];
        for (what, (own, span)) in ["id", "key", "hub"].into_iter().zip(own.into_iter().zip(spans))
        {
            let of = |app: &AppSettings| match what {
                "id" => app.id == *own,
                "key" => app.credentials.key == *own,
                _ => app.hub == *own,
            };
            if let Some((other, _)) = apps.iter().find(|(_, app)| of(app)) {
                let message = format!("the app `{other}` has the same {what}");
                let help = "give each app an `id`, a `key` and a `hub` of its own";
                let span = span.unwrap_or(name.span());
                faults.push(BuildError::new("W0510", message).help(help).at(span));
                is_own = false;
            }
        }
        match hubs.get_mut(&app.hub) {
            Some(hub) if is_own => {
                hub.has_app = true;
                apps.insert(name.into_inner(), app);
            }
            Some(_) => {}
            None => {
                let known: Vec<&str> = hubs.keys().map(String::as_str).collect();
                let error = BuildError::new("W0301", format!("there is no hub `{}`", app.hub));
                faults.push(error.help(did_you_mean(&app.hub, &known, "hubs")).at(name.span()));
            }
        }
    }
    apps
}

impl AppKeys {
    fn settings(self, name: &Spanned<String>, faults: &mut Vec<BuildError>) -> Option<AppSettings> {
        let known = faults.len();
        let is_id = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
        let is_key = |key: &str| {
            key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let id = text("id", self.id, name, faults).filter(|id| {
            let rule = "an app's `id` is made of digits; some client libraries take no other";
            check(is_id(id.get_ref()), rule, id, faults)
        });
        let key = text("key", self.key, name, faults).filter(|key| {
            let rule = "an app's `key` is made of letters, digits, `-` and `_`";
            check(is_key(key.get_ref()), rule, key, faults)
        });
        let secret = text("secret", self.secret, name, faults);
        let activity_timeout = self.activity_timeout.map_or(Duration::from_secs(120), |time| {
            let [least, most] = ACTIVITY_TIMEOUTS;
            if time.get_ref().0 < least.0 || time.get_ref().0 > most.0 {
                let message = format!("`activity_timeout` is between {least} and {most}");
                faults.push(BuildError::new("W0114", message).at(time.span()));
            }
            time.into_inner().0
        });
        let limits = self.limits.limits(faults);
        let webhooks = self.webhooks.into_iter().filter_map(|keys| keys.settings(faults)).collect();
        let (id, key, secret) = (id?, key?, secret?);
        (faults.len() == known).then(|| AppSettings {
            id: id.into_inner(),
            credentials: Credentials {
                key: key.into_inner(),
                secret: Secret::new(secret.get_ref()),
            },
            hub: self.hub.map_or_else(|| "main".to_owned(), Spanned::into_inner),
            enabled: self.enabled,
            client_events: self.client_events,
            subscription_counts: self.subscription_counts,
            origins: self.origins,
            activity_timeout,
            path_prefix: self.path_prefix.trim_end_matches('/').to_owned(),
            limits,
            webhooks,
        })
    }
}

impl WebhookKeys {
    fn settings(self, faults: &mut Vec<BuildError>) -> Option<WebhookSettings> {
        let is_web = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https"));
        let url = self.url.get_ref().parse().ok().filter(is_web);
        if url.is_none() {
            let error = BuildError::new("W0202", "the webhook's `url` is not one of HTTP or HTTPS");
            let help = "a URL is `https://shop.example.com/webhook`";
            faults.push(error.help(help).at(self.url.span()));
        }
        let others = NoticeKind::ALL.into_iter();
        let others = others.filter(|kind| *kind != NoticeKind::SubscriptionCount);
        let events = self.events.unwrap_or_else(|| others.collect());
        Some(WebhookSettings { url: url?, events })
    }
}

impl LimitKeys {
    fn limits(self, faults: &mut Vec<BuildError>) -> AppLimits {
        let defaults = AppLimits::default();
        let mut size = |given: Option<Spanned<Size>>, default: usize| {
            let Some(size) = given else { return default };
            if size.get_ref().0 > LEN_MAX.0 {
                let message = format!("a message of a client has room for {LEN_MAX}");
                faults.push(BuildError::new("W0114", message).at(size.span()));
            }
            size.into_inner().0
        };
        AppLimits {
            connections_max: self.connections.unwrap_or(defaults.connections_max),
            channels_max: self.channels.unwrap_or(defaults.channels_max),
            members_max: self.members.unwrap_or(defaults.members_max),
            member_len_max: size(self.member, defaults.member_len_max),
            event_len_max: size(self.event, defaults.event_len_max),
            client_events_rate: self.client_events.unwrap_or(defaults.client_events_rate),
        }
    }
}

/// A text that must be given.
fn text(
    key: &str,
    given: Option<Spanned<String>>,
    name: &Spanned<String>,
    faults: &mut Vec<BuildError>,
) -> Option<Spanned<String>> {
    let found = given.as_ref().filter(|text| !text.get_ref().is_empty());
    if found.is_none() {
        let message = format!("the app `{name}` has no `{key}`");
        let help = "an app has an `id` of digits, a `key` that is public, and a `secret`, as in \
                    `secret = \"${file:secrets/shop}\"`";
        let span = given.as_ref().map_or(name.span(), Spanned::span);
        faults.push(BuildError::new("W0510", message).help(help).at(span));
        return None;
    }
    given
}

fn check(is_valid: bool, rule: &str, text: &Spanned<String>, faults: &mut Vec<BuildError>) -> bool {
    let is_valid = is_valid && text.get_ref().len() <= NAME_LEN_MAX;
    if !is_valid {
        let help = format!("it has at most {NAME_LEN_MAX} of them");
        faults.push(BuildError::new("W0510", rule).help(help).at(text.span()));
    }
    is_valid
}
