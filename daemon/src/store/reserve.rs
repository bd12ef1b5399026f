//! Room on the disk that a journal keeps for the day when there is none.
//!
//! Taking out what was sent takes a little room as well, which a full disk has not. So each journal
//! has a file of no use beside its own, and gives it up for that.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes kept. Taking out records rewrites some pages of 4 KiB, and so does opening the file.
const LEN: usize = 1 << 20;

/// Sees to it that the room beside the journal `file` is there, with `headroom` as much again free.
///
/// # Errors
/// If the disk does not have it; then nothing is kept.
pub(super) fn hold(file: &Path, headroom: bool) -> io::Result<()> {
    let path = beside(file);
    let is_there = fs::metadata(&path).is_ok_and(|held| held.len() == LEN as u64);
    if is_there && !headroom {
        return Ok(());
    }
    let filled = fill(&path, if headroom { 2 * LEN } else { LEN });
    if filled.is_err() {
        give_up(file);
    }
    filled
}

/// Gives the room back to the disk; answers whether there was any.
pub(super) fn give_up(file: &Path) -> bool {
    fs::remove_file(beside(file)).is_ok()
}

fn beside(file: &Path) -> PathBuf {
    file.with_extension("reserve")
}

fn fill(path: &Path, len: usize) -> io::Result<()> {
    // Zeros would be stored as nothing by file systems that compress.
    let mut bytes = vec![0; len];
    fastrand::fill(&mut bytes);
    let mut file = File::create(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    file.set_len(LEN as u64)
}
