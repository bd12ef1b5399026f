//! Where the brokers are: URLs from the settings, checked once, their passwords never shown.

use std::fmt;
use std::path::PathBuf;

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use crate::component::BuildError;

/// The largest frame that both sides may send; the broker's own default. Never left open: lapin
/// sizes its buffers from it.
const FRAME_MAX: u32 = 131_072;

/// A broker's URL as the settings say, with the password in it.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct BrokerUrl(String);

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerUrl(..)")
    }
}

impl BrokerUrl {
    /// Checks the URL and takes it apart.
    pub(crate) fn parse(&self) -> Result<Broker, BuildError> {
        let url = Url::parse(&self.0).map_err(|error| {
            BuildError::new("W0310", format!("this is not a URL: {error}")).help(URL_HELP)
        })?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            let message = format!("a broker is not reached with `{}`", url.scheme());
            return Err(BuildError::new("W0310", message).help(URL_HELP));
        }
        if url.path() == "/" {
            let message = "the `/` at the end names the virtual host with the empty name";
            let help = "leave it out or write `/%2f` for the default virtual host";
            return Err(BuildError::new("W0311", message).help(help));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BuildError::new("W0310", "the URL names no host").help(URL_HELP));
        }
        let known = |key: &str| matches!(key, "heartbeat" | "auth_mechanism");
        if let Some((key, _)) = url.query_pairs().find(|(key, _)| !known(key)) {
            let message = format!("the URL has a parameter `{key}` that nothing reads");
            let help = "known parameters: `heartbeat`, `auth_mechanism`";
            return Err(BuildError::new("W0312", message).help(help));
        }
        // The parser's own words may repeat the URL, hence the password.
        let parsed: Result<AMQPUri, _> = self.0.parse();
        let Ok(mut uri) = parsed else {
            let message = "the URL's user, virtual host or parameters cannot be read";
            return Err(BuildError::new("W0310", message).help(URL_HELP));
        };
        uri.query.frame_max = Some(FRAME_MAX);
        Ok(Broker { uri })
    }
}

const URL_HELP: &str = "write `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS";

/// One broker, ready to be dialled.
#[derive(Clone)]
pub(crate) struct Broker {
    pub(crate) uri: AMQPUri,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broker({self})")
    }
}

/// Host and port only.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri.authority.host, self.uri.authority.port)
    }
}

impl Broker {
    pub(crate) fn is_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }
}

/// Files for TLS, PEM. Read again on every connection, so that they may be renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// Authorities to trust beside the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Our certificate, for brokers that ask for one. Needs `key`.
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's key.
    pub(crate) key: Option<PathBuf>,
}

/// Everything that one connection is known by.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Tried in this order.
    pub(crate) brokers: Vec<Broker>,
    pub(crate) tls: Tls,
    /// What the broker lists the connection as.
    pub(crate) name: String,
}

impl Address {
    /// The brokers as `host:port/vhost`, without secrets.
    pub(crate) fn places(&self) -> Vec<String> {
        self.brokers.iter().map(|broker| format!("{broker}/{}", broker.uri.vhost)).collect()
    }

    /// The same for every component that may share the connection. A digest, because it covers
    /// passwords.
    pub(crate) fn identity(&self) -> String {
        let mut digest = Sha256::new();
        for Broker { uri } in &self.brokers {
            let user = &uri.authority.userinfo;
            let mechanism = uri.query.auth_mechanism.as_ref().map_or("", SASLMechanism::name);
            let heartbeat = uri.query.heartbeat.unwrap_or_default();
            for part in [
                uri.scheme.to_string().as_str(),
                &uri.authority.host,
                &uri.authority.port.to_string(),
                &user.username,
                &user.password,
                &uri.vhost,
                mechanism,
                &heartbeat.to_string(),
            ] {
                digest.update(part.len().to_le_bytes());
                digest.update(part);
            }
        }
        for file in [&self.tls.ca, &self.tls.cert, &self.tls.key] {
            let file = file.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default();
            digest.update(file.len().to_le_bytes());
            digest.update(file.as_bytes());
        }
        format!("{:x}", digest.finalize())
    }
}
