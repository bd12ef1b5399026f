//! A directory of a test's own, removed with it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// A fresh directory below the system's temporary one, removed on drop.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// An empty directory that nobody else uses.
    pub fn fresh() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("weir-test-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("the temporary directory takes files");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces `file` (a path inside) in one step, as editors do.
    pub fn put(&self, file: &str, content: impl AsRef<[u8]>) {
        let target = self.path.join(file);
        let folder = target.parent().expect("a file has a folder");
        fs::create_dir_all(folder).expect("the temporary directory takes folders");
        let name = target.file_name().expect("a file has a name").to_string_lossy();
        let draft = folder.join(format!(".{name}.new"));
        fs::write(&draft, content).expect("the temporary directory takes files");
        fs::rename(&draft, &target).expect("a rename inside a folder");
    }

    /// Removes `file` (a path inside).
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path.join(file)).expect("the file is there");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A leftover is no reason to fail a test.
        fs::remove_dir_all(&self.path).ok();
    }
}

/// A file system of 12 MB, gone with the test.
#[derive(Debug)]
pub struct Small(Directory);

impl Small {
    /// Mounts one, or says that the calling test is skipped.
    ///
    /// # Panics
    /// In CI, where nothing may be skipped.
    pub fn mount() -> Option<Self> {
        let small = Self(Directory::fresh());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m", "weir"]).arg(small.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(small);
        }
        let message = "a small file system cannot be mounted here";
        assert!(env::var_os("CI").is_none(), "{message}");
        // The test runner hides what a passing test prints; this goes past it.
        writeln!(io::stderr(), "SKIPPED: {message}").ok();
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A leftover is no reason to fail a test.
        Command::new("umount").arg("-l").arg(self.path()).output().ok();
    }
}
