//! Names to addresses, of which only those that may be connected to are ever seen.
//!
//! The connector is handed addresses alone, so what was checked is what is connected to: a name that
//! means another address a moment later gains nothing. The name goes along in the place of the
//! user, which keeps connections of different names apart and tells TLS who has to answer.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_rustls::ResolveServerName;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::lookup_host;

use super::special::is_public;

/// The one name that stands for this machine; nobody can mean something else by it.
const LOCALHOST: &str = "localhost";

/// Why there is no address to connect to.
#[derive(Debug, Error)]
pub(super) enum ResolveError {
    /// The name means an address that is private, of this machine or special.
    #[error("its address is no public one")]
    Refused,
    /// The name means nothing.
    #[error("its name cannot be resolved: {0}")]
    Lookup(#[from] io::Error),
    /// There is no host in the URL.
    #[error("the URL names no server")]
    Url,
}

/// Tells TLS the name that a URL made by [`resolved`] goes with.
#[derive(Debug)]
pub(super) struct Named;

impl ResolveServerName for Named {
    fn resolve(&self, url: &Uri) -> Result<ServerName<'static>, Box<dyn Error + Sync + Send>> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = authority.split_once('@').map_or(host, |(name, _)| name);
        Ok(ServerName::try_from(name.to_owned())?)
    }
}

/// `url` with each address that its name may be connected to at in place of the name; one that
/// names an address itself as it is, for whoever lets such a URL through has named it.
///
/// # Errors
/// If there is none.
pub(super) async fn resolved(url: &Uri) -> Result<Vec<Uri>, ResolveError> {
    let name = url.host().ok_or(ResolveError::Url)?;
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Ok(vec![url.clone()]);
    }
    let scheme = url.scheme().unwrap_or(&Scheme::HTTPS);
    let default = if *scheme == Scheme::HTTP { 80 } else { 443 };
    let port = url.port_u16().unwrap_or(default);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let addresses = checked(name, lookup_host((name, port)).await?)?;
    let at = |address: SocketAddr| format!("{scheme}://{name}@{address}{path}").parse::<Uri>().ok();
    Ok(addresses.into_iter().filter_map(at).collect())
}

/// Those of the addresses of `name` that may be connected to.
///
/// # Errors
/// If none may.
pub(super) fn checked(
    name: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let is_fit = |address: &SocketAddr| match name {
        LOCALHOST => address.ip().to_canonical().is_loopback(),
        _ => is_public(address.ip()),
    };
    let fit: Vec<SocketAddr> = found.filter(is_fit).collect();
    if fit.is_empty() { Err(ResolveError::Refused) } else { Ok(fit) }
}
