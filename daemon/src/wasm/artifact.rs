//! A plugin's file: read, checked, compiled, and kept by the digest of its bytes.
//!
//! A path comes in; an [`Artifact`] that steps can be made of goes out, or a [`LoadError`] whose
//! words and help become a fault of the pipeline file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};
use thiserror::Error;
use tracing::warn;
use wasmtime::component::{Component, ComponentExportIndex};

use super::cache::Cache;
use super::compiler::Compiler;
use super::engine::{Sandbox, WasmError, Watch};
use super::host;

/// Largest file that is read: a plugin in Python, which brings its interpreter, has 19 MB.
pub(super) const FILE_MAX: u64 = 32 << 20;

/// What every Wasm binary starts with.
const MAGIC: &[u8; 4] = b"\0asm";

/// Version and layer of a component; a core module has `[1, 0, 0, 0]`.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

const LIFECYCLE: &str = "weir:plugin/lifecycle@1.0.0";
const TRANSFORM: &str = "weir:plugin/transform@1.0.0";
const TIMER: &str = "weir:plugin/timer@1.0.0";
const SNAPSHOT: &str = "weir:plugin/snapshot@1.0.0";

/// The Wasm engine and everything it has compiled; one per daemon.
#[derive(Debug)]
pub struct Wasm {
    sandbox: Arc<Sandbox>,
    compiler: Compiler,
    disk: Option<Cache>,
    /// By digest. Touched briefly while a plugin is loaded, hence a std mutex.
    known: Mutex<HashMap<String, Weak<Artifact>>>,
}

/// A compiled plugin, shared by all steps that use it.
#[derive(Debug)]
pub struct Artifact {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) component: Component,
    pub(super) exports: Exports,
    /// The interfaces it imports, with their versions.
    pub(super) imports: Vec<String>,
    digest: String,
}

/// What a component is, also one that does not fit this host.
#[derive(Debug)]
pub struct Inspection {
    /// The size of its file.
    pub bytes: usize,
    /// The SHA-256 of its file, in hexadecimal.
    pub digest: String,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// What a step must grant it.
    pub grants: Vec<String>,
    /// Why this host cannot run it.
    pub problem: Option<LoadError>,
}

/// Where the functions are that the host calls.
#[derive(Debug)]
pub(super) struct Exports {
    pub(super) configure: ComponentExportIndex,
    pub(super) process: ComponentExportIndex,
    /// Of plugins that are told the time.
    pub(super) tick: Option<ComponentExportIndex>,
    /// Of plugins that hand their state over.
    pub(super) save: Option<ComponentExportIndex>,
    pub(super) restore: Option<ComponentExportIndex>,
}

/// Why a file is no plugin, or a plugin does not fit a step.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the plugin cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file is too large.
    #[error("the plugin is larger than {} MiB", FILE_MAX >> 20)]
    TooLarge,
    /// The file is something else.
    #[error("the file is not WebAssembly")]
    NotWasm,
    /// The file holds a module without the wrapping that gives it types.
    #[error("the file is a core Wasm module, not a component")]
    CoreModule,
    /// The file is damaged or uses what the engine does not offer.
    #[error("the plugin does not compile: {0}")]
    Compile(String),
    /// The compiler did not survive the file.
    #[error("the plugin cannot be compiled: the compiler {0}")]
    Compiler(String),
    /// The plugin does not export the world.
    #[error("the plugin does not export `{0}`")]
    MissingExport(&'static str),
    /// An import or export has another shape than the contract says.
    #[error("the plugin does not fit this version of the contract: {0}")]
    Shape(String),
    /// The plugin asks for something that this host does not have.
    #[error("the plugin imports `{0}`, which this version of weir does not offer")]
    NotOffered(String),
    /// The plugin asks for something that the step does not grant.
    #[error("the plugin imports `{interface}`, which the step does not grant")]
    NotGranted {
        /// The interface with its version.
        interface: String,
        /// The step's grants with the missing one, as a TOML list.
        grants: String,
    },
    /// The step grants what does not exist.
    #[error("there is no capability `{0}`")]
    UnknownGrant(String),
    /// The step grants a server that nobody can ask.
    #[error("`{grant}` grants nothing: {why}")]
    BadGrant {
        /// The grant.
        grant: String,
        /// What is wrong with it.
        why: String,
    },
    /// No instance could be made.
    #[error("the plugin does not start: {0}")]
    Start(String),
    /// The plugin refuses its settings.
    #[error("the plugin refuses its `config`: {0}")]
    Refused(String),
    /// `configure` broke a limit or trapped.
    #[error("the plugin failed in `configure` ({reason}): {message}")]
    Configure {
        /// `trap`, `timeout`, `memory`, `output` or `bad_answer`.
        reason: &'static str,
        /// What happened.
        message: String,
    },
    /// The plugin names fields of JSON data in a way that nothing can be found by.
    #[error("the plugin cannot have the fields that it asks for: {0}")]
    Fields(String),
}

impl LoadError {
    /// Whether the step's `config` is to blame, not the file.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Configure { .. })
    }

    /// What its author or the operator can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::CoreModule => {
                "build with `-C linker=wasm-component-ld`, which makes a component".to_owned()
            }
            Self::NotOffered(interface) if interface.starts_with("wasi:") => {
                "build for `wasm32-unknown-unknown`, which needs no WASI".to_owned()
            }
            Self::NotOffered(_) => {
                format!("this version offers `{}`", host::names().join("`, `"))
            }
            Self::NotGranted { grants, .. } => format!("add `grants = {grants}` to the step"),
            Self::UnknownGrant(_) => {
                format!("a step can grant `{}`", host::grants().join("`, `"))
            }
            Self::BadGrant { .. } => {
                "write `http:api.example.com` or `http:api.example.com:8443` for https, \
                 `http:http://10.0.0.5:8080` for http"
                    .to_owned()
            }
            Self::Compiler(_) => {
                "compilation is limited in time and memory; make the plugin smaller".to_owned()
            }
            Self::MissingExport(_) => {
                "a plugin exports the world `weir:plugin/plugin@1.0.0`".to_owned()
            }
            _ => return None,
        })
    }
}

impl Wasm {
    /// Starts the engine; compiled plugins are kept in `cache_dir` if it can be written.
    ///
    /// # Errors
    /// If the system refuses the address space or the thread that the engine needs.
    pub fn new(cache_dir: Option<PathBuf>) -> Result<Self, WasmError> {
        Self::watching(Watch::default(), cache_dir)
    }

    /// The same with an engine for measurements.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn watching(watch: Watch, cache_dir: Option<PathBuf>) -> Result<Self, WasmError> {
        let disk = cache_dir.and_then(|dir| {
            Cache::open(dir.clone())
                .inspect_err(|error| {
                    warn!(%error, dir = %dir.display(), "no cache of compiled plugins");
                })
                .ok()
        });
        let (sandbox, compiler) = (Arc::new(Sandbox::new(watch)?), Compiler::default());
        Ok(Self { sandbox, compiler, disk, known: Mutex::default() })
    }

    /// The same, but plugins are compiled in a child process. Only for the program `weir`, which
    /// the child runs too.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { compiler: Compiler::Apart, ..self }
    }

    /// Reads and checks the plugin at `path`, compiling it unless that was done before. Blocks.
    ///
    /// # Errors
    /// If the file is no plugin of this host.
    pub fn load(&self, path: &Path) -> Result<Arc<Artifact>, LoadError> {
        let binary = read(path)?;
        let digest = digest(&binary);
        if let Some(artifact) = self.known(&digest) {
            return Ok(artifact);
        }
        let component = self.component(&binary, &digest)?;
        let artifact = Arc::new(Artifact::new(&self.sandbox, component, digest.clone())?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, artifact| artifact.strong_count() > 0);
        known.insert(digest, Arc::downgrade(&artifact));
        Ok(artifact)
    }

    /// Reads and compiles the file at `path`, and says what it is. Blocks.
    ///
    /// # Errors
    /// If the file is no component. One that does not fit this host is no error, see
    /// [`Inspection::problem`].
    pub fn inspect(&self, path: &Path) -> Result<Inspection, LoadError> {
        let binary = read(path)?;
        let digest = digest(&binary);
        let component = self.component(&binary, &digest)?;
        let ty = component.component_type();
        let engine = &self.sandbox.engine;
        let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
        let free = |import: &String| host::missing_grant(import, &[]).map(str::to_owned);
        let grants = imports.iter().filter_map(free).collect();
        let bytes = binary.len();
        let problem = Artifact::new(&self.sandbox, component, digest.clone()).err();
        Ok(Inspection { bytes, digest, imports, exports, grants, problem })
    }

    fn known(&self, digest: &str) -> Option<Arc<Artifact>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest)?.upgrade()
    }

    fn component(&self, binary: &[u8], digest: &str) -> Result<Component, LoadError> {
        let engine = &self.sandbox.engine;
        let stored = self.disk.as_ref().and_then(|disk| disk.load(engine, digest));
        if let Some(component) = stored {
            return Ok(component);
        }
        let watch = self.sandbox.watch;
        let component = self.compiler.compile(engine, watch, binary)?;
        if let Some(disk) = &self.disk {
            disk.store(digest, &component);
        }
        Ok(component)
    }
}

impl Artifact {
    fn new(
        sandbox: &Arc<Sandbox>,
        component: Component,
        digest: String,
    ) -> Result<Self, LoadError> {
        let ty = component.component_type();
        let imports: Vec<String> =
            ty.imports(&sandbox.engine).map(|(name, _)| name.to_owned()).collect();
        if let Some(alien) = imports.iter().find(|import| !host::is_offered(import)) {
            return Err(LoadError::NotOffered(alien.clone()));
        }
        let exports = Exports::of(&component)?;
        Ok(Self { sandbox: Arc::clone(sandbox), component, exports, imports, digest })
    }

    /// The SHA-256 of its file, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the plugin is told the time.
    pub fn has_timer(&self) -> bool {
        self.exports.tick.is_some()
    }
}

impl Exports {
    fn of(component: &Component) -> Result<Self, LoadError> {
        let optional = |interface: &'static str, function: &str| {
            let Some(instance) = component.get_export_index(None, interface) else {
                return Ok(None);
            };
            let found = component.get_export_index(Some(&instance), function);
            found.map(Some).ok_or(LoadError::MissingExport(interface))
        };
        let export = |interface: &'static str, function: &str| {
            optional(interface, function)?.ok_or(LoadError::MissingExport(interface))
        };
        Ok(Self {
            configure: export(LIFECYCLE, "configure")?,
            process: export(TRANSFORM, "process")?,
            tick: optional(TIMER, "tick")?,
            save: optional(SNAPSHOT, "save")?,
            restore: optional(SNAPSHOT, "restore")?,
        })
    }
}

fn digest(binary: &[u8]) -> String {
    format!("{:x}", Sha256::digest(binary))
}

/// Reads the file, at most as much as a plugin may be, and looks at its first bytes.
fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut binary = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut binary)?;
    if binary.len() as u64 > FILE_MAX {
        return Err(LoadError::TooLarge);
    }
    match binary.split_first_chunk::<4>() {
        Some((MAGIC, rest)) if rest.starts_with(&COMPONENT) => Ok(binary),
        Some((MAGIC, [1, 0, 0, 0, ..])) => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}
