//! The settings of the daemon: `weir.toml`, which may be absent, over the defaults.
//!
//! Environment variables and flags override it; see [`Overrides`]. Every fault is collected, and
//! what is faulty keeps its default, so that the rest can still be checked.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::interpolate::Interpolation;
use super::keys::{not_offered, take_named};
use super::listing::read_text;
use super::{Environment, Fault, Overrides, SourceFile};
use crate::component::{BuildError, DEFAULT_LISTENER, PipelineName, Settings, Table};
use crate::live::HubSettings;
use crate::units::Time;

/// The hub that exists without being declared.
const DEFAULT_HUB: &str = "main";

/// The daemon's settings.
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// Where compiled modules and, one day, journals are kept.
    pub data_dir: PathBuf,
    /// Where plugins are looked up; the first match wins.
    pub plugins: Vec<PathBuf>,
    /// Where requests come in, by name; there is always `public`.
    pub listeners: BTreeMap<String, ListenerSettings>,
    /// Where the admin plane listens.
    pub admin_address: SocketAddr,
    /// The live hubs, by name; there is always `main`.
    pub hubs: BTreeMap<String, HubSettings>,
    /// What `${env:…}` in files refers to.
    pub environment: Environment,
}

/// A `[listener.NAME]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSettings {
    /// What it binds.
    pub address: SocketAddr,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let public = ListenerSettings { address: loopback(8080) };
        Self {
            data_dir: PathBuf::from("./data"),
            plugins: vec![PathBuf::from("./plugins/dist")],
            listeners: BTreeMap::from([(DEFAULT_LISTENER.to_owned(), public)]),
            admin_address: loopback(9090),
            hubs: BTreeMap::from([(DEFAULT_HUB.to_owned(), HubSettings::default())]),
            environment: Environment::default(),
        }
    }
}

/// The most events that a hub may keep in memory.
const HISTORY_EVENTS_MAX: usize = 1_000_000;

/// The keys of `weir.toml` outside of its tables by name.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct TopKeys {
    data_dir: Option<String>,
    plugins: Option<Vec<String>>,
    admin: AdminKeys,
}

/// The keys of `[admin]`.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AdminKeys {
    address: Option<Spanned<String>>,
}

/// The keys of `[listener.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenerKeys {
    address: Spanned<String>,
}

/// The keys of `[hub.NAME]`.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct HubKeys {
    history: HistoryKeys,
    origins: Vec<String>,
}

/// The keys of `history`.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct HistoryKeys {
    events: Option<Spanned<usize>>,
    age: Option<Time>,
    durable: Option<Spanned<bool>>,
}

impl DaemonSettings {
    /// Settings from the file at `path`, if there is one, then from `environment`, then `overrides`.
    ///
    /// `None` means `weir.toml` in the working directory, which may be absent.
    pub fn load(
        path: Option<&Path>,
        environment: Environment,
        overrides: &Overrides,
    ) -> (Self, Vec<Fault>) {
        let mut settings = Self { environment, ..Self::default() };
        let default = Path::new("weir.toml");
        let mut faults = match path {
            Some(path) => settings.read_file(path),
            None if default.exists() => settings.read_file(default),
            None => Vec::new(),
        };
        faults.extend(settings.apply(overrides));
        (settings, faults)
    }

    /// The file of the plugin `name`.
    pub fn find_plugin(&self, name: &str) -> Option<PathBuf> {
        let files = self.plugins.iter().map(|dir| dir.join(format!("{name}.wasm")));
        files.into_iter().find(|file| file.is_file())
    }

    /// The names of all plugins that can be found.
    pub fn plugin_names(&self) -> Vec<String> {
        let dirs = self.plugins.iter().filter_map(|dir| fs::read_dir(dir).ok());
        let files = dirs.flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let plugins = files.filter(|file| file.extension().is_some_and(|end| end == "wasm"));
        let mut names: Vec<String> =
            plugins.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        names.sort();
        names.dedup();
        names
    }

    fn read_file(&mut self, path: &Path) -> Vec<Fault> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(fault) => return vec![fault],
        };
        let (mut table, mut errors) = Table::parse(&text);
        let mut secrets = Vec::new();
        if errors.is_empty() {
            let dir = path.parent().unwrap_or(Path::new("")).to_owned();
            let environment = self.environment.clone();
            let mut interpolation = Interpolation::new(&environment, &dir, &text);
            interpolation.table(&mut table);
            errors = interpolation.faults;
            secrets = interpolation.secrets;
            self.read_table(table, &dir, &mut errors);
        }
        let file = Arc::new(SourceFile::new(path, text).hiding(secrets));
        errors.sort_by_key(|error| error.span.as_ref().map_or(0, |span| span.start));
        errors.into_iter().map(|error| file.fault(error, 0..0)).collect()
    }

    fn read_table(&mut self, mut table: Table, dir: &Path, faults: &mut Vec<BuildError>) {
        let planned = [("app", "`[app]`, a Pusher-style application,"), ("table", "`[table]`")];
        for (key, what) in planned {
            if let Some(entry) = table.take(key) {
                faults.push(not_offered(what, entry.key_span));
            }
        }
        for key in ["source", "transform", "sink", "description"] {
            if let Some(entry) = table.take(key) {
                let fault = BuildError::new("W0101", format!("`{key}` is part of a pipeline"));
                let help = "it belongs into a file of the pipelines directory";
                faults.push(fault.help(help).at(entry.key_span));
            }
        }
        for (name, table) in take_named(&mut table, "listener", faults) {
            self.read_listener(&name, table, faults);
        }
        for (name, table) in take_named(&mut table, "hub", faults) {
            self.read_hub(&name, table, faults);
        }
        let Some(keys) = read::<TopKeys>(table, faults) else { return };
        self.data_dir = keys.data_dir.map_or(self.data_dir.clone(), |data_dir| dir.join(data_dir));
        if let Some(plugins) = keys.plugins {
            self.plugins = plugins.iter().map(|plugins| dir.join(plugins)).collect();
        }
        if let Some(address) = keys.admin.address {
            match admin_address(address.get_ref()) {
                Ok(parsed) => self.admin_address = parsed,
                Err(fault) => faults.push(fault.at(address.span())),
            }
        }
    }

    fn read_listener(
        &mut self,
        name: &Spanned<String>,
        mut table: Table,
        faults: &mut Vec<BuildError>,
    ) {
        check_name(name, faults);
        if let Some(tls) = table.take("tls") {
            let fault = not_offered("`tls`", tls.key_span);
            faults.push(fault.help("let a proxy in front of the listener speak TLS"));
        }
        let Some(keys) = read::<ListenerKeys>(table, faults) else { return };
        let address = match address(keys.address.get_ref()) {
            Ok(address) => address,
            Err(fault) => return faults.push(fault.at(keys.address.span())),
        };
        let twin = self.listeners.iter().find(|(known, listener)| {
            listener.address == address && address.port() != 0 && *known != name.get_ref()
        });
        if let Some((twin, _)) = twin {
            let message = format!("the listener `{twin}` has that address already");
            faults.push(BuildError::new("W0504", message).at(keys.address.span()));
        }
        self.listeners.insert(name.get_ref().clone(), ListenerSettings { address });
    }

    fn read_hub(&mut self, name: &Spanned<String>, table: Table, faults: &mut Vec<BuildError>) {
        check_name(name, faults);
        let Some(HubKeys { history, origins }) = read(table, faults) else { return };
        if let Some(durable) = history.durable.filter(|durable| *durable.get_ref()) {
            let fault = not_offered("a durable history", durable.span());
            faults.push(fault.help("`durable = false` keeps history in memory"));
        }
        let mut hub = HubSettings { origins, ..HubSettings::default() };
        if let Some(events) = history.events {
            hub.history.events_max = *events.get_ref();
            if hub.history.events_max > HISTORY_EVENTS_MAX {
                let message = format!("a hub keeps at most {HISTORY_EVENTS_MAX} events");
                faults.push(BuildError::new("W0114", message).at(events.span()));
            }
        }
        hub.history.age_max = history.age.map_or(hub.history.age_max, |age| age.0);
        self.hubs.insert(name.get_ref().clone(), hub);
    }
}

/// Reads an address to bind.
pub(super) fn address(text: &str) -> Result<SocketAddr, BuildError> {
    text.parse().map_err(|_not_an_address| {
        let help = "write an IP address and a port: `127.0.0.1:8080` for this machine alone, \
                    `0.0.0.0:8080` for everybody";
        BuildError::new("W0501", format!("`{text}` is not an address to listen on")).help(help)
    })
}

/// Reads the address of the admin plane, which asks nobody for credentials.
pub(super) fn admin_address(text: &str) -> Result<SocketAddr, BuildError> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let message = format!("the admin plane on `{address}` would be open to others");
    let help = "credentials for it are not offered yet; use a loopback address such as \
                `127.0.0.1:9090` and reach it through a tunnel or a proxy that asks for them";
    Err(BuildError::new("W0502", message).help(help))
}

/// Reads `table`, collecting what is wrong.
fn read<C: serde::de::DeserializeOwned>(table: Table, faults: &mut Vec<BuildError>) -> Option<C> {
    match Settings::new(table).read() {
        Ok(keys) => Some(keys),
        Err(errors) => {
            faults.extend(errors);
            None
        }
    }
}

/// Names of listeners and hubs follow the rule of all names.
fn check_name(name: &Spanned<String>, faults: &mut Vec<BuildError>) {
    if let Err(error) = PipelineName::new(name.get_ref()) {
        faults.push(BuildError::new("W0111", error.to_string()).at(name.span()));
    }
}
