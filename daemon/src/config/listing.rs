//! Which files are pipeline files, and what they say.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::interpolate::plain;
use super::{Fault, SourceFile};
use crate::component::BuildError;

/// The largest configuration file that is read.
pub(super) const FILE_MAX: u64 = 1 << 20;

/// The extension of configuration files.
const EXTENSION: &str = "toml";

/// The pipeline files that `paths` name, directories standing for the files in them.
///
/// A directory is not searched deeper; what editors leave behind (dotfiles, backups, locks) is
/// passed over.
pub(super) fn pipeline_files(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Fault>) {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match files_in(path) {
            Ok(found) => files.extend(found),
            Err(error) => {
                let message = format!("cannot read the directory: {}", plain(&error));
                faults.push(whole(path, BuildError::new("W0001", message)));
            }
        }
    }
    files.dedup();
    faults.extend(namesakes(&mut files));
    (files, faults)
}

/// Reads a configuration file whole.
///
/// # Errors
/// A fault of the file as a whole.
pub(super) fn read_text(path: &Path) -> Result<String, Fault> {
    let cannot = |why: String| {
        let error = BuildError::new("W0002", format!("cannot read the file: {why}"));
        let is_dangling = path.is_symlink() && !path.exists();
        let error = if is_dangling { error.help("it is a link to nothing") } else { error };
        whole(path, error)
    };
    let metadata = fs::metadata(path).map_err(|error| cannot(plain(&error)))?;
    if !metadata.is_file() {
        let error = BuildError::new("W0006", "this is not a file");
        return Err(whole(path, error.help("rename it, or remove it from the directory")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| cannot(plain(&error)))?;
    let read = file.take(FILE_MAX + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| cannot(plain(&error)))?;
    if read as u64 > FILE_MAX {
        let message = format!("the file is larger than {} MiB", FILE_MAX >> 20);
        return Err(whole(path, BuildError::new("W0004", message)));
    }
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(path, error))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// A fault of the file at `path` as a whole.
pub(super) fn whole(path: &Path, error: BuildError) -> Fault {
    Arc::new(SourceFile::new(path, String::new())).fault_of_all(error)
}

fn files_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_pipeline = path.extension().is_some_and(|extension| extension == EXTENSION)
            && !name.starts_with(['.', '#', '~']);
        if is_pipeline {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Takes out the files whose pipeline another file declares already.
fn namesakes(files: &mut Vec<PathBuf>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut kept: Vec<PathBuf> = Vec::new();
    for file in files.drain(..) {
        match kept.iter().find(|known| known.file_stem() == file.file_stem()) {
            None => kept.push(file),
            Some(known) => {
                let name = file.file_stem().unwrap_or_default().display();
                let message = format!("there is a pipeline `{name}` already");
                let help = format!("{} declares it; rename one of the files", known.display());
                faults.push(whole(&file, BuildError::new("W0007", message).help(help)));
            }
        }
    }
    *files = kept;
    faults
}

/// Points at the first byte that is not UTF-8.
fn not_utf8(path: &Path, error: std::string::FromUtf8Error) -> Fault {
    let at = error.utf8_error().valid_up_to();
    let bytes = error.into_bytes();
    let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let help = if is_utf16 { "it is UTF-16; save it as UTF-8" } else { "save it as UTF-8" };
    let fault = BuildError::new("W0003", "the file is not UTF-8").help(help);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let file = Arc::new(SourceFile::new(path, text));
    // Up to the first bad byte, the text in replacement characters has the same length.
    file.fault(fault, at..at + '\u{fffd}'.len_utf8())
}
