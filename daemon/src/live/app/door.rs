//! Where a listener meets the apps: `/app/{key}` for clients, `/apps/{id}` for their servers.

use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::timeout;
use url::form_urlencoded;

use super::api::{self, Api};
use super::guest::Guest;
use super::{App, Apps, Refused, session};
use crate::budget::Budget;
use crate::live::protocol::pusher::Refusal;
use crate::live::{origins, upgrade};
use crate::net::{Endpoint, Mount, Peer, Reply, ReplyFuture, Request};
use crate::tasks::{Stop, Tasks};

/// What the path of clients begins with.
const CLIENTS: &str = "/app/";

/// The versions of the protocol that are spoken.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;

/// How long the other end may take to change protocols once it was told to.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

const NO_APP: Refusal = Refusal { code: 4001, message: "there is no app with this key" };
const DISABLED: Refusal = Refusal { code: 4003, message: "the app is disabled" };
const NO_PATH: Refusal = Refusal { code: 4005, message: "the path is not /app/KEY" };
const BAD_VERSION: Refusal = Refusal { code: 4006, message: "`protocol` is not a number" };
const NO_VERSION: Refusal = Refusal { code: 4008, message: "the query has no `protocol`" };
const UNSPOKEN: Refusal = Refusal { code: 4007, message: "protocols 5 to 7 are spoken here" };
const FOREIGN: Refusal =
    Refusal { code: 4009, message: "pages of this origin may not connect; add it to `origins`" };

/// The paths of all apps on one listener; sessions run in `tasks` until `stop` is asked.
pub fn mounts(
    (apps, budget): (&Arc<Apps>, &Arc<Budget>),
    listener: &str,
    tasks: &Tasks,
    stop: &Stop,
) -> Vec<Mount> {
    if apps.apps.is_empty() {
        return Vec::new();
    }
    let clients = Clients { apps: Arc::clone(apps), tasks: tasks.clone(), stop: stop.clone() };
    let clients: Arc<dyn Endpoint> = Arc::new(clients);
    let servers: Arc<dyn Endpoint> = Arc::new(Api::new(Arc::clone(apps), Arc::clone(budget)));
    let mount = |(path, endpoint): (&str, &Arc<dyn Endpoint>)| Mount {
        listener: listener.to_owned(),
        path: format!("{path}*"),
        endpoint: Arc::clone(endpoint),
    };
    [(CLIENTS, &clients), (api::APPS, &servers), (api::USERS, &servers)].map(mount).into()
}

/// Lets clients in.
#[derive(Debug)]
struct Clients {
    apps: Arc<Apps>,
    tasks: Tasks,
    stop: Stop,
}

impl Endpoint for Clients {
    fn call(self: Arc<Self>, request: Request, _peer: Peer) -> ReplyFuture {
        let reply = self.answer(request).unwrap_or_else(|refusal| refusal);
        Box::pin(std::future::ready(reply))
    }
}

impl Clients {
    /// Accepts every handshake, because clients read a refusal only from the socket.
    fn answer(&self, request: Request) -> Result<Reply, Reply> {
        let app = self.find(request.uri().path());
        let guest = app.and_then(|app| {
            admit(app, request.headers(), request.uri().query().unwrap_or_default())?;
            Guest::new(Arc::clone(app))
        });
        let (reply, socket) = upgrade::accept(request)?;
        let stop = self.stop.clone();
        drop(self.tasks.spawn(async move {
            if let Ok(Ok(upgraded)) = timeout(UPGRADE_TIMEOUT, socket).await {
                session::run(upgraded, guest, stop).await;
            }
        }));
        Ok(reply)
    }

    fn find(&self, path: &str) -> Result<&Arc<App>, Refusal> {
        let key = path.strip_prefix(CLIENTS).filter(|key| !key.is_empty() && !key.contains('/'));
        self.apps.with_key(key.ok_or(NO_PATH)?).ok_or(NO_APP)
    }
}

fn admit(app: &App, headers: &HeaderMap, query: &str) -> Result<(), Refusal> {
    let settings = app.settings();
    if !settings.enabled {
        return Err(DISABLED);
    }
    let mut query = form_urlencoded::parse(query.as_bytes());
    let (_, version) = query.find(|(name, _)| name == "protocol").ok_or(NO_VERSION)?;
    let version: u32 = version.parse().map_err(|_not_a_number| BAD_VERSION)?;
    if !VERSIONS.contains(&version) {
        return Err(UNSPOKEN);
    }
    if !settings.origins.is_empty() && origins::check(headers, &settings.origins).is_err() {
        app.counts.refuse(Refused::Origin);
        return Err(FOREIGN);
    }
    Ok(())
}
