//! Which files are watched, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Files up to this size are read on every look; larger ones if their metadata changed.
const SMALL: u64 = 1 << 20;

/// The most files that one directory may have watched.
const FILES_MAX: usize = 10_000;

/// What is watched.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Directories, each with the extension of the files in it that matter.
    pub dirs: Vec<(PathBuf, &'static str)>,
    /// Single files, which need not exist.
    pub files: Vec<PathBuf>,
}

/// The files as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    files: BTreeMap<PathBuf, Seen>,
}

/// One file as it was at one moment.
#[derive(Debug, Clone)]
struct Seen {
    /// Device, number, size, time of change: enough to know that a large file is the same.
    stamp: (u64, u64, u64, i64, i64),
    hash: Vec<u8>,
}

/// Only content counts.
impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Seen {}

impl Watched {
    /// The directories in which something must happen before a file can change.
    pub(super) fn directories(&self, also: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut directories = BTreeSet::new();
        for (directory, _) in &self.dirs {
            let directory = absolute(directory);
            // A directory that is replaced as a whole is seen from the one above it.
            directories.extend(nearest(directory.parent()));
            directories.extend(nearest(Some(&directory)));
        }
        for file in self.files(also) {
            let file = absolute(&file);
            directories.extend(nearest(file.parent()));
            // Where a link leads to.
            let target = fs::canonicalize(&file).ok();
            directories.extend(nearest(target.as_deref().and_then(Path::parent)));
        }
        directories
    }

    /// All files that matter now.
    fn files(&self, also: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut files: BTreeSet<PathBuf> = also.iter().chain(&self.files).cloned().collect();
        for (directory, extension) in &self.dirs {
            let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
            let entries = entries.map(|entry| entry.path());
            let matching = entries.filter(|path| path.extension().is_some_and(|e| e == *extension));
            files.extend(matching.take(FILES_MAX));
        }
        files
    }
}

impl Look {
    /// The files as they are now; what is known to be the same is not read again.
    pub(super) fn again(&self, watched: &Watched, also: &BTreeSet<PathBuf>) -> Self {
        let files = watched.files(also).into_iter();
        let seen = files.filter_map(|path| {
            let seen = Seen::of(&path, self.files.get(&path))?;
            Some((path, seen))
        });
        Self { files: seen.collect() }
    }

    /// Takes in what `new` files hold now, and forgets the `old` ones.
    pub(super) fn expect(&mut self, old: &BTreeSet<PathBuf>, new: &BTreeSet<PathBuf>) {
        self.files.retain(|path, _| new.contains(path) || !old.contains(path));
        for path in new.difference(old) {
            if let Some(seen) = Seen::of(path, None) {
                self.files.entry(path.clone()).or_insert(seen);
            }
        }
    }
}

impl Seen {
    /// The file at `path`, if there is one that can be read.
    fn of(path: &Path, before: Option<&Self>) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
        let stamp = (
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        );
        let same = before.filter(|before| metadata.len() > SMALL && before.stamp == stamp);
        if let Some(same) = same {
            return Some(same.clone());
        }
        let hash = Sha256::digest(fs::read(path).ok()?).to_vec();
        Some(Self { stamp, hash })
    }
}

/// `path` or the nearest directory above it that exists.
fn nearest(path: Option<&Path>) -> Option<PathBuf> {
    path?.ancestors().find(|path| path.is_dir()).map(Path::to_owned)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
