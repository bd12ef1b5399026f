//! Files that are read and written as a whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// What is in the file at `path`; `None` if there is none.
///
/// # Errors
/// If it cannot be read, or is larger than `max` bytes.
pub fn read_whole(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(Some(bytes))
}

/// Writes the file at `path`, and the folder that it is in, as a whole or not at all.
///
/// # Errors
/// If the disk does not take it; what was there stays.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}
