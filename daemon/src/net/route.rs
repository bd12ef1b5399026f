//! Routes: which endpoint answers a path of a listener.
//!
//! A generation builds its [`Routes`] completely and they are put in place by one pointer store
//! ([`SharedRoutes`]), so routes come and go without a listener noticing.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use hyper::body::Incoming;

/// A request as it arrives, its body not read yet.
pub type Request = hyper::Request<Incoming>;

/// What an endpoint answers.
pub type Reply = hyper::Response<Body>;

/// The answer in the making.
pub type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Who is on the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The remote address.
    pub address: SocketAddr,
}

/// Answers the requests for one path, whatever their method.
pub trait Endpoint: Send + Sync + fmt::Debug + 'static {
    /// Answers one request.
    fn call(self: Arc<Self>, request: Request, peer: Peer) -> ReplyFuture;
}

/// A path that a component wants to serve.
#[derive(Debug, Clone)]
pub struct Mount {
    /// The name of the listener, from `[listener.NAME]`.
    pub listener: String,
    /// An absolute path; with a trailing `/*` everything below it.
    pub path: String,
    /// Who answers.
    pub endpoint: Arc<dyn Endpoint>,
}

/// All routes of a generation, by listener and path.
#[derive(Debug, Default, Clone)]
pub struct Routes {
    exact: HashMap<String, HashMap<String, Arc<dyn Endpoint>>>,
    /// Longest first.
    prefixes: HashMap<String, Vec<Prefix>>,
}

/// What a path starts with, and who answers below it.
type Prefix = (String, Arc<dyn Endpoint>);

impl Routes {
    /// Adds a mount; answers whether the place was free.
    pub fn add(&mut self, mount: Mount) -> bool {
        let Mount { listener, path, endpoint } = mount;
        if let Some(prefix) = path.strip_suffix('*') {
            let prefixes = self.prefixes.entry(listener).or_default();
            if prefixes.iter().any(|(known, _)| known == prefix) {
                return false;
            }
            prefixes.push((prefix.to_owned(), endpoint));
            prefixes.sort_by_key(|(prefix, _)| usize::MAX - prefix.len());
            return true;
        }
        self.exact.entry(listener).or_default().insert(path, endpoint).is_none()
    }

    /// Who answers `path` on `listener`.
    pub fn find(&self, listener: &str, path: &str) -> Option<&Arc<dyn Endpoint>> {
        let exact = self.exact.get(listener).and_then(|paths| paths.get(path));
        exact.or_else(|| {
            let prefixes = self.prefixes.get(listener)?;
            let found = prefixes.iter().find(|(prefix, _)| path.starts_with(prefix.as_str()));
            found.map(|(_, endpoint)| endpoint)
        })
    }
}

/// The routes in force, shared by all listeners.
pub type SharedRoutes = Arc<ArcSwap<Routes>>;
