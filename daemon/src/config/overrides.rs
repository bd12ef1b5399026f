//! What overrides `weir.toml`: environment variables `WEIR_*`, then flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listing::whole;
use super::settings::{address, admin_address};
use super::{DaemonSettings, Fault, ListenerSettings};
use crate::component::{BuildError, did_you_mean};

/// Settings given as flags; what is absent or empty changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// In place of `plugins`.
    pub plugins: Vec<PathBuf>,
    /// In place of the address of `[admin]`.
    pub admin_address: Option<String>,
    /// In place of the addresses of listeners, by name.
    pub listeners: Vec<(String, String)>,
}

/// Where one override comes from, as faults name it.
type Origin = String;

impl DaemonSettings {
    /// Applies the environment, then `flags`.
    pub(super) fn apply(&mut self, flags: &Overrides) -> Vec<Fault> {
        let mut faults = Vec::new();
        let (overrides, strangers) = self.from_environment();
        faults.extend(strangers);
        let variable = |name: &str| format!("environment variable {name}");
        self.apply_paths(&overrides);
        let admin = overrides.admin_address.as_ref();
        let admin = admin.map(|text| (variable("WEIR_ADMIN_ADDRESS"), text));
        let flag = flags.admin_address.as_ref().map(|text| ("flag --admin".to_owned(), text));
        for (origin, text) in admin.into_iter().chain(flag) {
            match admin_address(text) {
                Ok(address) => self.admin_address = address,
                Err(error) => faults.push(told(&origin, error)),
            }
        }
        self.apply_paths(flags);
        for (name, text) in &overrides.listeners {
            faults.extend(self.apply_listener(&variable(&variable_of(name)), name, text));
        }
        for (name, text) in &flags.listeners {
            faults.extend(self.apply_listener(&format!("flag --listen {name}"), name, text));
        }
        faults
    }

    fn apply_paths(&mut self, overrides: &Overrides) {
        if let Some(data_dir) = &overrides.data_dir {
            self.data_dir.clone_from(data_dir);
        }
        if !overrides.plugins.is_empty() {
            self.plugins.clone_from(&overrides.plugins);
        }
    }

    fn apply_listener(&mut self, origin: &Origin, name: &str, text: &str) -> Option<Fault> {
        let address: SocketAddr = match address(text) {
            Ok(address) => address,
            Err(error) => return Some(told(origin, error)),
        };
        if let Some(listener) = self.listeners.get_mut(name) {
            *listener = ListenerSettings { address };
            return None;
        }
        let known: Vec<&str> = self.listeners.keys().map(String::as_str).collect();
        let error = BuildError::new("W0505", format!("there is no listener `{name}`"));
        Some(told(origin, error.help(did_you_mean(name, &known, "listeners"))))
    }

    /// What the environment overrides. Variables that are none of ours are passed over: a
    /// Kubernetes service named `weir` sets many.
    fn from_environment(&self) -> (Overrides, Vec<Fault>) {
        let mut overrides = Overrides::default();
        let mut faults = Vec::new();
        for (variable, value) in self.environment.iter() {
            match variable {
                _ if value.is_empty() => {}
                "WEIR_DATA_DIR" => overrides.data_dir = Some(value.into()),
                "WEIR_PLUGINS" => overrides.plugins = std::env::split_paths(value).collect(),
                "WEIR_ADMIN_ADDRESS" => overrides.admin_address = Some(value.to_owned()),
                _ => {
                    let name = variable.strip_prefix("WEIR_LISTENER_");
                    let Some(name) = name.and_then(|name| name.strip_suffix("_ADDRESS")) else {
                        continue;
                    };
                    let mut known = self.listeners.keys();
                    match known.find(|known| variable_of(known) == variable) {
                        Some(known) => overrides.listeners.push((known.clone(), value.to_owned())),
                        None => faults.push(self.stranger(variable, name)),
                    }
                }
            }
        }
        (overrides, faults)
    }

    fn stranger(&self, variable: &str, name: &str) -> Fault {
        let name = name.to_lowercase();
        let known: Vec<&str> = self.listeners.keys().map(String::as_str).collect();
        let error = BuildError::new("W0505", format!("there is no listener `{name}`"));
        let error = error.help(did_you_mean(&name, &known, "listeners"));
        told(&format!("environment variable {variable}"), error)
    }
}

/// The variable that overrides the address of the listener `name`.
fn variable_of(name: &str) -> String {
    format!("WEIR_LISTENER_{}_ADDRESS", name.to_uppercase().replace('-', "_"))
}

fn told(origin: &str, error: BuildError) -> Fault {
    whole(Path::new(origin), error)
}
