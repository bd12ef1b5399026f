//! Compiled plugins on disk: `<dir>/<sha256 of the file>-<engine and settings>.cwasm`.
//!
//! A hit saves the compile time of 50 ms to seconds. Each file starts with a checksum of the
//! rest, so that a damaged one is compiled again instead of being executed.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tracing::{debug, warn};
use wasmtime::Engine;
use wasmtime::component::Component;

/// How many compiled plugins are kept; the oldest go first.
const FILES_MAX: usize = 128;

/// Bytes of the checksum in front of the code.
const CHECKSUM: usize = 32;

/// The directory of compiled plugins.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens or makes the directory, which only this user may enter.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    /// The compiled plugin of that digest, if an engine with the same settings stored it.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        let file = fs::read(&path).ok()?;
        let Some(code) = intact(&file) else {
            warn!(path = %path.display(), "compiled plugin is damaged; compiling again");
            return None;
        };
        // SAFETY: `code` is what `store` wrote: the directory lets nobody else in (mode 0700,
        // set by its owner on opening), the checksum shows that it is whole and unchanged, and
        // its name and the engine's own header check tie it to this build of the engine.
        #[expect(unsafe_code, reason = "compiled code is executed; see the argument above")]
        let component = unsafe { Component::deserialize(engine, code) };
        component.inspect_err(|error| debug!(%error, "compiled plugin does not fit")).ok()
    }

    /// Stores a compiled plugin. A failure costs only the next start's time.
    pub(super) fn store(&self, digest: &str, component: &Component) {
        let path = self.path(component.engine(), digest);
        if let Err(error) = self.write(&path, component) {
            warn!(%error, path = %path.display(), "compiled plugin cannot be stored");
        }
        self.prune();
    }

    fn write(&self, path: &Path, component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let partial = self.dir.join(format!(".{}-{}.tmp", process::id(), fastrand::u64(..)));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        let written = file
            .write_all(&Sha256::digest(&code))
            .and_then(|()| file.write_all(&code))
            .and_then(|()| fs::rename(&partial, path));
        if written.is_err() {
            drop(fs::remove_file(&partial));
        }
        written
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.dir.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        for (_, path) in &files[..surplus] {
            drop(fs::remove_file(path));
        }
    }
}

/// The code in `file`, if its checksum holds.
fn intact(file: &[u8]) -> Option<&[u8]> {
    let (checksum, code) = file.split_at_checked(CHECKSUM)?;
    (Sha256::digest(code).as_slice() == checksum).then_some(code)
}
