//! The daemon's settings: `weir.toml`, overridden by `WEIR_*` variables, overridden by flags.
//!
//! Everything has a default; the listener `public` and the hub `main` always exist.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::interpolate::Interpolation;
use super::keys::not_offered;
use super::listing::{read_text, whole};
use super::{Environment, Fault, SourceFile};
use crate::component::{BuildError, DEFAULT_LISTENER, Settings, Table};
use crate::live::{HistoryLimits, HubSettings};
use crate::units::{Size, Time};

/// The settings file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "weir.toml";

/// The hub that always exists.
const DEFAULT_HUB: &str = "main";

/// Keys that `weir.toml` will have one day, and what they are.
const PLANNED_KEYS: [(&str, &str); 2] =
    [("app", "`[app]`, a Pusher-style application,"), ("table", "`[table]`, a lookup table,")];

/// Everything that is the daemon's and not a pipeline's.
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where compiled plugins are kept.
    pub data_dir: PathBuf,
    /// Where plugins are looked up; the first match wins.
    pub plugins: Vec<PathBuf>,
    /// By name.
    pub listeners: BTreeMap<String, ListenerSettings>,
    /// The admin plane's address.
    pub admin: SocketAddr,
    /// By name.
    pub hubs: BTreeMap<String, HubSettings>,
    /// What files may interpolate.
    pub environment: Environment,
}

/// One listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
}

/// What flags say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`: the address of the listener `public`.
    pub listen: Option<SocketAddr>,
    /// `--admin`.
    pub admin: Option<SocketAddr>,
}

/// The keys of `weir.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    data_dir: Option<PathBuf>,
    plugins: Option<Vec<PathBuf>>,
    listener: BTreeMap<String, ListenerKeys>,
    admin: AdminKeys,
    hub: BTreeMap<String, HubKeys>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListenerKeys {
    address: Option<Spanned<String>>,
    tls: Option<Spanned<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AdminKeys {
    address: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HubKeys {
    history: HistoryKeys,
    origins: Vec<String>,
    /// Channels and patterns that one connection may subscribe to.
    channels: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HistoryKeys {
    events: Option<usize>,
    bytes: Option<Size>,
    age: Option<Time>,
    durable: Option<Spanned<bool>>,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        let public = ListenerSettings { address: SocketAddr::from(([127, 0, 0, 1], 8080)) };
        Self {
            file: None,
            data_dir: PathBuf::from("data"),
            plugins: vec![PathBuf::from("plugins/dist")],
            listeners: BTreeMap::from([(DEFAULT_LISTENER.to_owned(), public)]),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            hubs: BTreeMap::from([(DEFAULT_HUB.to_owned(), HubSettings::default())]),
            environment: Environment::default(),
        }
    }
}

impl DaemonSettings {
    /// Reads `path`, or `weir.toml` if it is there, then the variables, then the flags.
    ///
    /// Answers all faults; where something is faulty, the settings hold its default.
    pub fn load(
        path: Option<&Path>,
        overrides: &Overrides,
        environment: Environment,
    ) -> (Self, Vec<Fault>) {
        let mut settings = Self { environment, ..Self::default() };
        let mut faults = Vec::new();
        let default = Path::new(DEFAULT_FILE);
        if let Some(path) = path.or_else(|| default.is_file().then_some(default)) {
            settings.file = Some(path.to_owned());
            faults.extend(settings.read(path));
        }
        faults.extend(settings.apply_variables());
        settings.apply_flags(overrides);
        faults.extend(settings.check());
        (settings, faults)
    }

    /// Where compiled plugins are kept.
    pub fn modules_dir(&self) -> PathBuf {
        self.data_dir.join("modules")
    }

    /// The file of the plugin `name`.
    pub fn find_plugin(&self, name: &str) -> Option<PathBuf> {
        let files = self.plugins.iter().map(|dir| dir.join(format!("{name}.wasm")));
        files.into_iter().find(|file| file.is_file())
    }

    /// The names of all plugins that can be found.
    pub fn plugin_names(&self) -> Vec<String> {
        let files = self.plugins.iter().filter_map(|dir| dir.read_dir().ok()).flatten();
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let plugins = paths.filter(|path| path.extension().is_some_and(|end| end == "wasm"));
        let names = plugins.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        names
    }

    fn read(&mut self, path: &Path) -> Vec<Fault> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(fault) => return vec![fault],
        };
        let (mut table, mut errors) = Table::parse(&text);
        let dir = path.parent().unwrap_or(Path::new(""));
        let mut secrets = Vec::new();
        if errors.is_empty() {
            let mut interpolation = Interpolation::new(&self.environment, dir, &text);
            interpolation.table(&mut table);
            errors = interpolation.faults;
            secrets = interpolation.secrets;
            for (key, what) in PLANNED_KEYS {
                if let Some(entry) = table.take(key) {
                    errors.push(not_offered(what, entry.key_span));
                }
            }
            match Settings::new(table).read() {
                Ok(keys) => errors.extend(self.take(keys, dir)),
                Err(own) => errors.extend(own),
            }
        }
        errors.sort_by_key(|error| error.span.as_ref().map_or(0, |span| span.start));
        let file = Arc::new(SourceFile::new(path, text).hiding(secrets));
        errors.into_iter().map(|error| file.fault(error, 0..0)).collect()
    }

    /// Takes over what the file says; paths are relative to `dir`.
    fn take(&mut self, keys: Keys, dir: &Path) -> Vec<BuildError> {
        let mut faults = Vec::new();
        if let Some(data_dir) = keys.data_dir {
            self.data_dir = dir.join(data_dir);
        }
        if let Some(plugins) = keys.plugins {
            self.plugins = plugins.into_iter().map(|plugins| dir.join(plugins)).collect();
        }
        for (name, listener) in keys.listener {
            if let Some(tls) = listener.tls {
                faults.push(not_offered("`tls`", tls.span()));
            }
            let default = self.listeners.get(&name).map(|listener| listener.address);
            let given = listener.address.map(|text| address(&text, &mut faults));
            match given.unwrap_or(default) {
                Some(address) => drop(self.listeners.insert(name, ListenerSettings { address })),
                None => {
                    let message = format!("the listener `{name}` has no address");
                    let help = format!("add `address = \"127.0.0.1:8081\"` to `[listener.{name}]`");
                    faults.push(BuildError::new("W0501", message).help(help));
                }
            }
        }
        if let Some(address) = keys.admin.address.and_then(|text| address(&text, &mut faults)) {
            self.admin = address;
        }
        for (name, hub) in keys.hub {
            if let Some(durable) = hub.history.durable.as_ref().filter(|durable| *durable.get_ref())
            {
                faults.push(not_offered("`durable = true`", durable.span()));
            }
            let defaults = HubSettings::default();
            let history = HistoryLimits {
                events_max: hub.history.events.unwrap_or(defaults.history.events_max),
                bytes_max: hub.history.bytes.map_or(defaults.history.bytes_max, |size| size.0),
                age_max: hub.history.age.map_or(defaults.history.age_max, |time| time.0),
            };
            let channels_max = hub.channels.unwrap_or(defaults.channels_max);
            let origins = hub.origins;
            self.hubs.insert(name, HubSettings { history, channels_max, origins, ..defaults });
        }
        faults
    }

    fn apply_variables(&mut self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let environment = self.environment.clone();
        if let Some(data_dir) = environment.get("WEIR_DATA_DIR") {
            self.data_dir = PathBuf::from(data_dir);
        }
        if let Some(plugins) = environment.get("WEIR_PLUGINS") {
            self.plugins = std::env::split_paths(plugins).collect();
        }
        for (variable, text) in environment.iter() {
            let listener = variable
                .strip_prefix("WEIR_LISTENER_")
                .and_then(|rest| rest.strip_suffix("_ADDRESS"));
            if listener.is_none() && variable != "WEIR_ADMIN_ADDRESS" {
                continue;
            }
            let Ok(address) = text.parse::<SocketAddr>() else {
                let error = BuildError::new("W0503", format!("`{text}` is not an address"))
                    .help("an address is an IP address and a port, as in `127.0.0.1:8080`");
                faults.push(whole(Path::new(variable), error));
                continue;
            };
            let Some(listener) = listener else {
                self.admin = address;
                continue;
            };
            let mut known = self.listeners.iter_mut();
            match known.find(|(name, _)| variable_name(name) == listener) {
                Some((_, settings)) => settings.address = address,
                None => {
                    let error = BuildError::new("W0505", "there is no listener of that name")
                        .help("add `[listener.NAME]` to weir.toml");
                    faults.push(whole(Path::new(variable), error));
                }
            }
        }
        faults
    }

    fn apply_flags(&mut self, flags: &Overrides) {
        if let Some(data_dir) = &flags.data_dir {
            self.data_dir.clone_from(data_dir);
        }
        if let Some(admin) = flags.admin {
            self.admin = admin;
        }
        if let Some(address) = flags.listen {
            self.listeners.insert(DEFAULT_LISTENER.to_owned(), ListenerSettings { address });
        }
    }

    /// What is wrong with the settings as a whole, wherever they came from.
    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        if !self.admin.ip().is_loopback() {
            let message = format!("the admin address {} is open to other machines", self.admin);
            let help = "the admin API has no access control yet; use a loopback address such as \
                        `127.0.0.1:9090` and reach it through a tunnel or a proxy";
            faults.push(whole(file, BuildError::new("W0502", message).help(help)));
        }
        let own = self.listeners.iter().map(|(name, listener)| (name.as_str(), listener.address));
        let mut taken: BTreeMap<SocketAddr, &str> = BTreeMap::new();
        for (name, address) in own.chain([("admin", self.admin)]) {
            if address.port() == 0 {
                continue;
            }
            if let Some(other) = taken.insert(address, name) {
                let message = format!("`{other}` and `{name}` both listen on {address}");
                let error = BuildError::new("W0504", message).help("give each its own port");
                faults.push(whole(file, error));
            }
        }
        faults
    }
}

fn address(text: &Spanned<String>, faults: &mut Vec<BuildError>) -> Option<SocketAddr> {
    let parsed = text.get_ref().parse().ok();
    if parsed.is_none() {
        let message = format!("`{}` is not an address", text.get_ref());
        let help = "an address is an IP address and a port, as in `127.0.0.1:8080`";
        faults.push(BuildError::new("W0501", message).help(help).at(text.span()));
    }
    parsed
}

/// How a listener's name reads in the name of a variable.
fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
