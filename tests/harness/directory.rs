//! A directory of a test's own, removed with it.

use std::ffi::OsStr;
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
        skipped("a small file system cannot be mounted here");
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

/// A file system of 64 MB that may be frozen, as a disk that hangs is; gone with the test.
#[derive(Debug)]
pub struct Freezer {
    image: Directory,
    mounted: Directory,
}

/// A frozen file system, until dropped: whoever writes to it waits.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Path);

impl Freezer {
    /// Mounts one, or says that the calling test is skipped.
    ///
    /// # Panics
    /// In CI, where nothing may be skipped that the kernel is able to do.
    pub fn mount() -> Option<Self> {
        if !Path::new("/dev/loop-control").exists() {
            writeln!(io::stderr(), "SKIPPED: this kernel has no loop devices").ok();
            return None;
        }
        let freezer = Self { image: Directory::fresh(), mounted: Directory::fresh() };
        let image = freezer.image.path().join("image");
        let file = fs::File::create(&image).expect("a fresh folder takes files");
        file.set_len(64 << 20).expect("a file may be sparse");
        let steps: [&[&OsStr]; 2] = [
            &["mkfs.ext4".as_ref(), "-q".as_ref(), image.as_ref()],
            &[
                "mount".as_ref(),
                "-o".as_ref(),
                "loop".as_ref(),
                image.as_ref(),
                freezer.path().as_ref(),
            ],
        ];
        let works = |step: &&[&OsStr]| {
            let output = Command::new(step[0]).args(&step[1..]).output();
            output.is_ok_and(|output| output.status.success())
        };
        if steps.iter().all(works) {
            return Some(freezer);
        }
        skipped("a file system in a file cannot be mounted here");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// Freezes it. Drop what this returns before whatever may be writing, or that never ends.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn freeze(&self) -> Frozen<'_> {
        let frozen = Command::new("fsfreeze").arg("-f").arg(self.path()).status();
        assert!(frozen.is_ok_and(|status| status.success()), "the file system does not freeze");
        Frozen(self.path())
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.path()).output().ok();
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        Command::new("fsfreeze").arg("-u").arg(self.0).output().ok();
    }
}

/// Says loudly why a test is skipped.
fn skipped(message: &str) {
    assert!(env::var_os("CI").is_none(), "{message}");
    // The test runner hides what a passing test prints; this goes past it.
    writeln!(io::stderr(), "SKIPPED: {message}").ok();
}
