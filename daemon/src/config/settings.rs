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

use super::app::{self, AppKeys};
use super::hub::HubKeys;
use super::interpolate::Interpolation;
use super::keys::not_offered;
use super::listing::{read_text, whole};
use super::memory::memory_limit;
use super::{Environment, Fault, SourceFile};
use crate::backplane::Backplane;
use crate::component::{BuildError, DEFAULT_LISTENER, PipelineName, Settings, Table, did_you_mean};
use crate::live::{AppSettings, HubSettings};
use crate::units::Size;

/// The settings file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "weir.toml";

/// The hub that always exists.
const DEFAULT_HUB: &str = "main";

/// Keys that `weir.toml` will have one day, and what they are.
const PLANNED_KEYS: [(&str, &str); 1] = [("table", "`[table]`, a lookup table,")];

/// Keys of pipeline files.
const PIPELINE_KEYS: [&str; 4] = ["source", "transform", "sink", "test"];

/// The least memory that a daemon works in: plugins, histories and sockets take some.
const MEMORY_MIN: usize = 64 << 20;

/// Everything that is the daemon's and not a pipeline's.
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where compiled plugins are kept.
    pub data_dir: PathBuf,
    /// Where plugins are looked up; the first match wins.
    pub plugins: Vec<PathBuf>,
    /// The memory that the daemon may take, in bytes, if somebody says; else what the system has.
    pub memory: Option<usize>,
    /// By name.
    pub listeners: BTreeMap<String, ListenerSettings>,
    /// The admin plane's address.
    pub admin: SocketAddr,
    /// By name.
    pub hubs: BTreeMap<String, HubSettings>,
    /// What hubs share with other daemons go through, by the name of the hub.
    pub backplanes: BTreeMap<String, Backplane>,
    /// Pusher-style applications, by name.
    pub apps: BTreeMap<String, AppSettings>,
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
    memory: Option<Spanned<Size>>,
    listener: BTreeMap<Spanned<String>, ListenerKeys>,
    admin: AdminKeys,
    hub: BTreeMap<Spanned<String>, HubKeys>,
    app: BTreeMap<Spanned<String>, AppKeys>,
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

impl Default for DaemonSettings {
    fn default() -> Self {
        let public = ListenerSettings { address: SocketAddr::from(([127, 0, 0, 1], 8080)) };
        Self {
            file: None,
            data_dir: PathBuf::from("data"),
            plugins: vec![PathBuf::from("plugins/dist")],
            memory: None,
            listeners: BTreeMap::from([(DEFAULT_LISTENER.to_owned(), public)]),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            hubs: BTreeMap::from([(DEFAULT_HUB.to_owned(), HubSettings::default())]),
            backplanes: BTreeMap::new(),
            apps: BTreeMap::new(),
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

    /// The memory that the daemon may take, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.unwrap_or_else(memory_limit)
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
            for key in PIPELINE_KEYS {
                if let Some(entry) = table.take(key) {
                    let error = BuildError::new("W0115", format!("`{key}` is part of a pipeline"));
                    let help = "it belongs into a file of the pipelines directory";
                    errors.push(error.help(help).at(entry.key_span));
                }
            }
            match Settings::new(table).read() {
                Ok(keys) => errors.extend(self.take(keys, dir)),
                Err(own) => errors.extend(own),
            }
        }
        let file = Arc::new(SourceFile::new(path, text).hiding(secrets));
        file.faults(errors)
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
        if let Some(size) = keys.memory {
            let span = size.span();
            let taken = self.take_memory(size.into_inner());
            faults.extend(taken.err().map(|error| error.at(span)));
        }
        for (name, listener) in keys.listener {
            faults.extend(check_name(&name));
            self.take_listener(name, listener, &mut faults);
        }
        if let Some(text) = &keys.admin.address {
            let admin = address(text.get_ref()).and_then(private);
            match admin {
                Ok(admin) => self.admin = admin,
                Err(error) => faults.push(error.at(text.span())),
            }
        }
        for (name, hub) in keys.hub {
            faults.extend(check_name(&name));
            let (hub, backplane) = hub.settings(name.get_ref(), dir, &mut faults);
            self.backplanes.extend(backplane.map(|backplane| (name.get_ref().clone(), backplane)));
            self.hubs.insert(name.into_inner(), hub);
        }
        faults.extend(keys.app.keys().filter_map(check_name));
        self.apps = app::settings(keys.app, &mut self.hubs, &mut faults);
        faults
    }

    fn take_memory(&mut self, Size(bytes): Size) -> Result<(), BuildError> {
        if bytes < MEMORY_MIN {
            let message = format!("a daemon needs {} of memory", Size(MEMORY_MIN));
            return Err(BuildError::new("W0114", message));
        }
        self.memory = Some(bytes);
        Ok(())
    }

    fn take_listener(
        &mut self,
        name: Spanned<String>,
        keys: ListenerKeys,
        faults: &mut Vec<BuildError>,
    ) {
        if let Some(tls) = keys.tls {
            let fault = not_offered("`tls`", tls.span());
            faults.push(fault.help("let a proxy in front of the listener speak TLS"));
        }
        let given = keys.address.map(|text| {
            address(text.get_ref()).map_err(|error| faults.push(error.at(text.span()))).ok()
        });
        let default = self.listeners.get(name.get_ref()).map(|listener| listener.address);
        match given.unwrap_or(default) {
            Some(address) => {
                self.listeners.insert(name.into_inner(), ListenerSettings { address });
            }
            // Its address is faulty, which is told already.
            None if given.is_some() => {}
            None => {
                let message = format!("the listener `{name}` has no address");
                let help = "add one, as in `address = \"127.0.0.1:8081\"`";
                faults.push(BuildError::new("W0501", message).help(help).at(name.span()));
            }
        }
    }

    /// Takes over the variables. Those that are none of ours are passed over: a Kubernetes service
    /// named `weir` sets many.
    fn apply_variables(&mut self) -> Vec<Fault> {
        let environment = self.environment.clone();
        let mut faults = Vec::new();
        for (variable, text) in environment.iter().filter(|(_, text)| !text.is_empty()) {
            let applied = match variable {
                "WEIR_DATA_DIR" => {
                    self.data_dir = PathBuf::from(text);
                    Ok(())
                }
                "WEIR_PLUGINS" => {
                    self.plugins = std::env::split_paths(text).collect();
                    Ok(())
                }
                "WEIR_MEMORY" => memory(text).and_then(|size| self.take_memory(size)),
                "WEIR_ADMIN_ADDRESS" => {
                    address(text).and_then(private).map(|address| self.admin = address)
                }
                _ => self.apply_listener_variable(variable, text),
            };
            faults.extend(applied.err().map(|error| whole(Path::new(variable), error)));
        }
        faults
    }

    fn apply_listener_variable(&mut self, variable: &str, text: &str) -> Result<(), BuildError> {
        let name = variable.strip_prefix("WEIR_LISTENER_");
        let Some(name) = name.and_then(|name| name.strip_suffix("_ADDRESS")) else {
            return Ok(());
        };
        let address = address(text)?;
        let mut known = self.listeners.iter_mut();
        if let Some((_, settings)) = known.find(|(known, _)| variable_name(known) == name) {
            settings.address = address;
            return Ok(());
        }
        let name = name.to_lowercase();
        let known: Vec<&str> = self.listeners.keys().map(String::as_str).collect();
        let error = BuildError::new("W0505", format!("there is no listener `{name}`"));
        Err(error.help(did_you_mean(&name, &known, "listeners")))
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
        if let Err(error) = private(self.admin) {
            faults.push(whole(Path::new("--admin"), error));
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

fn memory(text: &str) -> Result<Size, BuildError> {
    text.parse::<Size>().map_err(|error| BuildError::new("W0202", error.to_string()))
}

fn address(text: &str) -> Result<SocketAddr, BuildError> {
    text.parse().map_err(|_not_an_address| {
        let help = "an address is an IP address and a port: `127.0.0.1:8080` for this machine \
                    alone, `0.0.0.0:8080` for everybody";
        BuildError::new("W0501", format!("`{text}` is not an address")).help(help)
    })
}

/// The address of the admin plane, which asks nobody who they are.
fn private(address: SocketAddr) -> Result<SocketAddr, BuildError> {
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let message = format!("the admin address {address} is open to other machines");
    let help = "the admin API has no access control yet; use a loopback address such as \
                `127.0.0.1:9090` and reach it through a tunnel or a proxy";
    Err(BuildError::new("W0502", message).help(help))
}

/// Names of listeners and hubs follow the rule of all names.
fn check_name(name: &Spanned<String>) -> Option<BuildError> {
    let error = PipelineName::new(name.get_ref()).err()?;
    Some(BuildError::new("W0111", error.to_string()).at(name.span()))
}

/// How a listener's name reads in the name of a variable.
fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
