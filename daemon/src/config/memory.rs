//! How much memory the daemon may take: the smallest limit of its control groups, or what the
//! machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What is assumed where nobody can say how much there is.
const MEMORY_ASSUMED: usize = 1 << 30;

/// The bytes that the system lets the daemon take.
pub(super) fn memory_limit() -> usize {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files(&groups).into_iter().filter_map(|file| limit(&read(&file)?));
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total(&text));
    limits.chain(machine).min().unwrap_or(MEMORY_ASSUMED)
}

/// The files that may hold a limit: those of the groups in `/proc/self/cgroup` and of all above.
pub(super) fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, name) = if controllers.is_empty() {
            (PathBuf::from(CGROUPS), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A container may see its own group as the root, whatever its path is.
        let inside = Path::new(path.trim_start_matches('/'));
        files.extend(inside.ancestors().map(|group| root.join(group).join(name)));
    }
    files
}

/// A limit as a control group's file says it; `None` for none.
pub(super) fn limit(text: &str) -> Option<usize> {
    // Version 1 says a number near the largest for none, which the machine's own outdoes.
    text.trim().parse().ok()
}

/// The machine's memory as `/proc/meminfo` says it.
pub(super) fn total(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
