//! What a component may ask for while it is built: names, hubs, routes, things that outlive it.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::budget::Budget;
use crate::component::{BuildError, ComponentId, Health, did_you_mean};
use crate::dead::Office;
use crate::edge::Outlet;
use crate::live::{App, Apps, Hub, Hubs};
use crate::net::{Endpoint, Mount};
use crate::tasks::{Stopper, Tasks};

/// The listener that components use unless they name another.
pub const DEFAULT_LISTENER: &str = "public";

/// What outlives every generation and is lent to components.
#[derive(Debug, Default)]
pub struct Host {
    /// Where journals are kept.
    pub data_dir: PathBuf,
    /// The memory that events may take.
    pub budget: Arc<Budget>,
    /// What components refused for good.
    pub dead: Office,
    /// The live hubs.
    pub hubs: Hubs,
    /// The Pusher-style applications on them.
    pub apps: Arc<Apps>,
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
    leavings: RefCell<Leavings>,
    is_spooled: bool,
}

/// What building a component leaves beside the component.
#[derive(Debug, Default)]
pub struct Leavings {
    /// What it serves.
    pub mounts: Vec<Mount>,
    /// What its author may not want.
    pub warnings: Vec<BuildError>,
}

impl<'a> BuildContext<'a> {
    /// A context for a sink.
    pub fn for_sink(id: &'a ComponentId, host: &'a Arc<Host>) -> Self {
        Self { id, host, outlet: None, leavings: RefCell::default(), is_spooled: false }
    }

    /// A context for a source that publishes through `outlet`.
    pub fn for_source(id: &'a ComponentId, host: &'a Arc<Host>, outlet: Outlet) -> Self {
        let outlet = Some(outlet);
        Self { id, host, outlet, leavings: RefCell::default(), is_spooled: false }
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

    /// The app `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn app(&self, name: &str) -> Result<Arc<App>, BuildError> {
        self.host.apps.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.host.apps.iter().map(|(name, _)| name).collect();
            let known = did_you_mean(name, &names, "apps");
            BuildError::new("W0305", format!("there is no app `{name}`"))
                .help(format!("{known} (`[app.{name}]` in weir.toml adds one)"))
                .about("app")
        })
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
        self.leavings.borrow_mut().mounts.push(mount);
        Ok(())
    }

    /// Tells the author of the file about a setting that is allowed and deserves a second look.
    pub fn warn(&self, warning: BuildError) {
        self.leavings.borrow_mut().warnings.push(warning);
    }

    /// What the component mounted and warned about.
    pub fn into_leavings(self) -> Leavings {
        self.leavings.into_inner()
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
    /// Everything of type `T` that somebody holds, with its identity, in that order.
    pub fn all<T: Any + Send + Sync>(&self) -> Vec<(String, Arc<T>)> {
        let things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let of_type = things.iter().filter(|((kind, _), _)| *kind == TypeId::of::<T>());
        let held = of_type.filter_map(|((_, key), thing)| {
            Some((key.clone(), thing.upgrade()?.downcast::<T>().ok()?))
        });
        let mut held: Vec<_> = held.collect();
        held.sort_by(|(one, _), (other, _)| one.cmp(other));
        held
    }

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
