//! Whom a step may ask: the grants that begin with `http:`.
//!
//! | grant | admits |
//! |---|---|
//! | `http:api.example.com` | `https://api.example.com/…` |
//! | `http:api.example.com:8443` | `https://api.example.com:8443/…` |
//! | `http:http://10.0.0.5:8080` | `http://10.0.0.5:8080/…`, without TLS because the grant says so |
//!
//! One grant is one scheme, host and port. A name admits its public addresses only; an address that
//! is private, of this machine or special must be named itself, or be `localhost`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

/// What a grant of this capability begins with.
const PREFIX: &str = "http:";

/// One server that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::wasm) struct Origin {
    is_secure: bool,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In small letters.
    Name(String),
}

impl Origin {
    /// Whether `grant` is one of this capability, right or wrong.
    pub(in crate::wasm) fn is_grant(grant: &str) -> bool {
        grant.starts_with(PREFIX)
    }

    /// The server that `grant` names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::wasm) fn of(grant: &str) -> Result<Self, &'static str> {
        let text = grant.strip_prefix(PREFIX).ok_or("it does not begin with `http:`")?;
        let (is_secure, text) = match text.split_once("://") {
            None => (true, text),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err("only `http://` and `https://` are known"),
        };
        if text.is_empty() {
            return Err("it names no host");
        }
        if text.contains('/') {
            return Err("it has a path; a grant is for all of a server");
        }
        if text.contains('*') {
            return Err("it has a pattern; each host is named");
        }
        if text.contains('@') {
            return Err("it has a user; a plugin sends credentials in a header");
        }
        let authority: Authority = text.parse().ok().ok_or("it is no host and port")?;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if text.len() > authority.host().len() => return Err("its port is no port"),
            None => default_port(is_secure),
        };
        let host = Host::of(authority.host()).ok_or("its host is neither a name nor an address")?;
        Ok(Self { is_secure, host, port })
    }

    /// The server of `url`, if it can be one of a grant.
    pub(super) fn of_url(url: &Uri) -> Option<Self> {
        let is_secure = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = url.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let port = authority.port_u16().unwrap_or(default_port(is_secure));
        Some(Self { is_secure, host: Host::of(authority.host())?, port })
    }
}

impl Host {
    fn of(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = !text.is_empty() && text.bytes().all(is_fit);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}
