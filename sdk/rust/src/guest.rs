//! What `register!` expands to needs: the plugin in its place, and the calls of the host.
//!
//! Not for authors: anything here may change in any version.

use std::any::type_name;
use std::cell::RefCell;
use std::fmt;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::bindings::weir::plugin::types;
use crate::event::Batch;
use crate::log;
use crate::plugin::{Plugin, Snapshot, Step, Timer};
use crate::verdicts::{Verdicts, emitted};

/// Holds the one plugin of an instance, from `configure` on.
pub struct Slot<P>(RefCell<Option<Configured<P>>>);

/// A plugin and the fields that it reads.
struct Configured<P> {
    plugin: P,
    fields: Vec<String>,
}

impl<P> Slot<P> {
    /// A place without a plugin.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }
}

impl<P: Plugin> Slot<P> {
    /// The same as [`empty`](Self::empty), for nothing but a plugin.
    pub fn for_plugin() -> Self {
        Self::empty()
    }

    /// Answers the host's `configure`.
    ///
    /// # Errors
    /// What is wrong with the config.
    pub fn configure(&self, config: &str, step: types::Step) -> Result<types::Needs, String> {
        log_panics();
        let config = read_config(config)?;
        let plugin = P::configure(config, &step.into())?;
        let fields = plugin.fields();
        let needs = types::Needs { fields: fields.clone(), data: plugin.needs_data() };
        self.0.replace(Some(Configured { plugin, fields }));
        Ok(needs)
    }

    /// Answers the host's `process`.
    ///
    /// # Errors
    /// If the batch as a whole could not be judged.
    pub fn process(&self, columns: &types::Batch) -> Result<types::Outcome, String> {
        let mut configured = self.0.borrow_mut();
        let Configured { plugin, fields } =
            configured.as_mut().ok_or("the plugin was not configured")?;
        let batch = Batch::new(columns, fields);
        let mut verdicts = Verdicts::new(batch);
        plugin.transform_batch(batch, &mut verdicts)?;
        verdicts.finish()
    }
}

impl<P: Timer> Slot<P> {
    /// Answers the host's `tick`.
    ///
    /// # Errors
    /// If the plugin failed.
    pub fn tick(&self, now: u64) -> Result<types::Outcome, String> {
        let mut configured = self.0.borrow_mut();
        let configured = configured.as_mut().ok_or("the plugin was not configured")?;
        emitted(configured.plugin.tick(now).map_err(|failure| failure.message)?)
    }
}

impl<P: Snapshot> Slot<P> {
    /// Answers the host's `save`.
    pub fn save(&self) -> Vec<u8> {
        let mut configured = self.0.borrow_mut();
        configured.as_mut().map(|configured| configured.plugin.save()).unwrap_or_default()
    }

    /// Answers the host's `restore`.
    ///
    /// # Errors
    /// If the plugin cannot take the state over.
    pub fn restore(&self, state: &[u8]) -> Result<(), String> {
        let mut configured = self.0.borrow_mut();
        configured.as_mut().ok_or("the plugin was not configured")?.plugin.restore(state)
    }
}

impl<P> fmt::Debug for Slot<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&type_name::<P>()).finish()
    }
}

impl From<types::Step> for Step {
    fn from(step: types::Step) -> Self {
        let types::Step { pipeline, name, instance, host_version } = step;
        Self { pipeline, name, instance, host_version }
    }
}

/// Reads a config without the line and column of the JSON, which nobody wrote.
fn read_config<C: serde::de::DeserializeOwned>(config: &str) -> Result<C, String> {
    let config = if config.is_empty() { "{}" } else { config };
    serde_json::from_str(config).map_err(|error| {
        let message = error.to_string();
        message.rsplit_once(" at line ").map_or(message.clone(), |(what, _)| what.to_owned())
    })
}

/// Makes a panic say what it is before it becomes a trap, which says nothing.
fn log_panics() {
    static ONCE: Once = Once::new();
    if cfg!(target_arch = "wasm32") {
        ONCE.call_once(|| panic::set_hook(Box::new(log_panic)));
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    match info.location() {
        Some(place) => log::error(format_args!("plugin panicked at {place}: {message}")),
        None => log::error(format_args!("plugin panicked: {message}")),
    }
}
