//! What a component may ask for while it is built: names, hubs, routes, things that outlive it.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::component::{BuildError, ComponentId, Health, did_you_mean};
use crate::edge::Outlet;
use crate::live::{Hub, Hubs};
use crate::net::{Endpoint, Mount};
use crate::tasks::{Stopper, Tasks};

/// The listener that components use unless they name another.
pub const DEFAULT_LISTENER: &str = "public";

/// What outlives every generation and is lent to components.
#[derive(Debug, Default)]
pub struct Host {
    /// Where spools are kept.
    pub data_dir: PathBuf,
    /// The live hubs.
    pub hubs: Hubs,
    /// The names of the listeners.
    pub listeners: Vec<String>,
    /// Things that components of several generations share.
    pub lent: Lent,
    /// Tasks that outlive a generation: sessions, broker connections.
    pub tasks: Tasks,
    /// Asked first of all when the daemon goes away.
    pub draining: Stopper,
    /// Asked when everything has settled and live sessions shall say goodbye.
    pub goodbye: Stopper,
}

impl Host {
    /// How the component `id` fares. Kept for as long as somebody holds it.
    pub fn health(&self, id: &ComponentId) -> Arc<Health> {
        self.lent.borrow(&id.to_string(), Health::default)
    }
}

/// What one component is built in. Nothing here does I/O.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// The component.
    pub id: &'a ComponentId,
    /// What it may borrow.
    pub host: &'a Arc<Host>,
    outlet: Option<Outlet>,
    mounts: RefCell<Vec<Mount>>,
    is_spooled: bool,
}

impl<'a> BuildContext<'a> {
    /// A context for a sink.
    pub fn for_sink(id: &'a ComponentId, host: &'a Arc<Host>) -> Self {
        Self { id, host, outlet: None, mounts: RefCell::default(), is_spooled: false }
    }

    /// A context for a source that publishes through `outlet`.
    pub fn for_source(id: &'a ComponentId, host: &'a Arc<Host>, outlet: Outlet) -> Self {
        let outlet = Some(outlet);
        Self { id, host, outlet, mounts: RefCell::default(), is_spooled: false }
    }

    /// The same context, for a sink whose events wait on disk if `is_spooled`.
    #[must_use]
    pub fn spooled(self, is_spooled: bool) -> Self {
        Self { is_spooled, ..self }
    }

    /// Whether what this sink gives back waits on disk, so that it may do so early.
    pub fn is_spooled(&self) -> bool {
        self.is_spooled
    }

    /// Where this source puts its events.
    ///
    /// # Panics
    /// If the component is not a source.
    pub fn outlet(&self) -> Outlet {
        self.outlet.clone().expect("only sources ask for an outlet")
    }

    /// The hub `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn hub(&self, name: &str) -> Result<Arc<Hub>, BuildError> {
        self.host.hubs.get(name).ok_or_else(|| {
            let known = did_you_mean(name, &self.host.hubs.names(), "hubs");
            BuildError::new("W0301", format!("there is no hub `{name}`"))
                .help(format!("{known} (`[hub.{name}]` in weir.toml adds one)"))
                .about("hub")
        })
    }

    /// Where this component says how it fares.
    pub fn health(&self) -> Arc<Health> {
        self.host.health(self.id)
    }

    /// Serves `path` with `endpoint` while this component is part of the generation.
    ///
    /// # Errors
    /// If there is no such listener, or `path` is not absolute.
    pub fn mount(
        &self,
        listener: Option<&str>,
        path: &str,
        endpoint: Arc<dyn Endpoint>,
    ) -> Result<(), BuildError> {
        let listener = listener.unwrap_or(DEFAULT_LISTENER);
        if !self.host.listeners.iter().any(|known| known == listener) {
            let known: Vec<&str> = self.host.listeners.iter().map(String::as_str).collect();
            let known = did_you_mean(listener, &known, "listeners");
            let message = format!("there is no listener `{listener}`");
            let help = format!("{known} (`[listener.{listener}]` in weir.toml adds one)");
            return Err(BuildError::new("W0302", message).help(help).about("listener"));
        }
        let is_plain = path.starts_with('/') && !path.contains(['?', '#', '*', ' ']);
        if !is_plain {
            let message = format!("`{path}` is not a path to serve");
            let help = "a path starts with `/` and has no `?`, `#`, `*` or space";
            return Err(BuildError::new("W0303", message).help(help).about("path"));
        }
        let mount = Mount { listener: listener.to_owned(), path: path.to_owned(), endpoint };
        self.mounts.borrow_mut().push(mount);
        Ok(())
    }

    /// What the component mounted.
    pub fn into_mounts(self) -> Vec<Mount> {
        self.mounts.into_inner()
    }
}

/// Things that outlive a reload, each known by its type and its identity in the files.
///
/// Whoever borrowed one keeps it alive; when the last borrower is gone it is dropped. A new
/// generation borrows before the old one gives back, so what both name is never dropped between.
#[derive(Debug, Default)]
pub struct Lent {
    /// Touched only while a generation is built, hence a std mutex.
    things: Mutex<HashMap<(TypeId, String), Weak<dyn Any + Send + Sync>>>,
}

impl Lent {
    /// The thing of type `T` with the identity `key`, made if nobody holds it.
    ///
    /// `make` must do no I/O and spawn nothing: a thing starts to work when a running component
    /// asks it to.
    pub fn borrow<T: Any + Send + Sync>(&self, key: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        things.retain(|_, thing| thing.strong_count() > 0);
        let key = (TypeId::of::<T>(), key.to_owned());
        let known = things.get(&key).and_then(Weak::upgrade);
        if let Some(thing) = known.and_then(|thing| thing.downcast::<T>().ok()) {
            return thing;
        }
        let made = Arc::new(make());
        let weak: Weak<T> = Arc::downgrade(&made);
        things.insert(key, weak);
        made
    }
}
