//! The HTTP source behind the real listener, with a sink that judges by what it reads.

mod formats;
mod limits;
mod pages;
mod verdicts;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Config, Http};
use crate::ack::{Account, Ack, AckMode, Balance, Code, Limits, Outcome, Refusal};
use crate::component::{BuildContext, BuildError, ComponentId, Health, Host, PipelineName, Source};
use crate::edge::{Capacity, Inlet, Outlet, Target, edge};
use crate::event::{Batch, Event};
use crate::net::{Listener, Mount, Routes};
use crate::tasks::{Stopper, Tasks};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source at `/in` whose events a sink judges.
struct Site {
    address: SocketAddr,
    account: Arc<Account>,
    outlet: Outlet,
    taken: Arc<Mutex<Batch>>,
    health: Arc<Health>,
    _stopper: Stopper,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Site {
    async fn new(settings: &str) -> Self {
        Self::with_limits(settings, Limits::default()).await
    }

    async fn with_limits(settings: &str, limits: Limits) -> Self {
        let host = Arc::new(Host { listeners: vec!["public".to_owned()], ..Host::default() });
        let health = host.health(&id());
        let account = Arc::new(Account::new(limits));
        let outlet = Outlet::new(Arc::clone(&account));
        let mut routes = Routes::default();
        for mount in build(settings, &host, &outlet).unwrap() {
            assert!(routes.add(mount));
        }
        let (sender, inlet) = edge(Capacity { events: 10_000, bytes: 64 << 20 });
        outlet.point(Some(Target { sender, entry: 0, ack: AckMode::Settled, dedupe: None }));
        let taken = Arc::default();
        drop(host.tasks.spawn(judge(inlet, Arc::clone(&taken))));
        let listener = Listener::bind("public", "127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopper = Stopper::default();
        listener.serve(Arc::new(ArcSwap::from_pointee(routes)), &Tasks::default(), stopper.stop());
        Self { address, account, outlet, taken, health, _stopper: stopper }
    }

    async fn post(&self, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_to("/in", headers, body).await
    }

    async fn post_to(&self, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n");
        self.ask(&format!("{head}{headers}"), body).await
    }

    /// Sends a request and reads its reply; `head` lacks the last empty line.
    async fn ask(&self, head: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{head}connection: close\r\n\r\n").into_bytes();
        request.extend_from_slice(body);
        let talk = async {
            // A refused body is not read to its end.
            drop(stream.write_all(&request).await);
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).await.unwrap();
            String::from_utf8(reply).unwrap()
        };
        let reply = timeout(PATIENCE, talk).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// What the sink has taken so far, each as `read` sees it.
    fn taken<T>(&self, read: impl Fn(Event<'_>) -> T) -> Vec<T> {
        self.taken.lock().unwrap().iter().map(read).collect()
    }

    fn balance(&self) -> Balance {
        self.account.balance()
    }
}

impl Reply {
    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
    }

    /// That it is problem JSON with this code.
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
        assert!(self.body.contains(&format!(r#""code":"{code}""#)), "{}", self.body);
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn id() -> ComponentId {
    ComponentId::new(&PipelineName::new("test").unwrap(), "http").unwrap()
}

fn build(settings: &str, host: &Arc<Host>, outlet: &Outlet) -> Result<Vec<Mount>, BuildError> {
    let id = id();
    let cx = BuildContext::for_source(&id, host, outlet.clone());
    let config: Config = toml::from_str(&format!("path = \"/in\"\n{settings}")).unwrap();
    Http::build(config, &cx)?;
    Ok(cx.into_leavings().mounts)
}

/// Settles each event by what its data holds; `stall` is held for ever.
async fn judge(mut inlet: Inlet, taken: Arc<Mutex<Batch>>) {
    let mut stalled: Vec<Ack> = Vec::new();
    while let Some(delivery) = inlet.recv().await {
        for (event, ack) in delivery.batch.iter().zip(delivery.acks) {
            taken.lock().unwrap().push_event(&event);
            let data = String::from_utf8_lossy(event.data()).into_owned();
            let refuse = |code| Refusal::new(code, "the sink said no");
            match data {
                data if data.contains("stall") => stalled.push(ack),
                data if data.contains("filter") => ack.settle(Outcome::Filtered),
                data if data.contains("reject") => ack.refuse(refuse(Code::Rejected)),
                data if data.contains("unroutable") => ack.refuse(refuse(Code::Unroutable)),
                data if data.contains("unavailable") => ack.refuse(refuse(Code::Unavailable)),
                data if data.contains("lose") => drop(ack),
                _ => ack.settle(Outcome::Delivered),
            }
        }
    }
}
