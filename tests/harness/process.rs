//! What the kernel says about a running process, from `/proc`.

use std::fs;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The unit of CPU time in `/proc/PID/stat`, the same on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that the process has used so far, in user and kernel mode together.
pub fn cpu(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The command's name may hold spaces; the fields are counted from its closing parenthesis.
    let fields = stat.rsplit_once(')').expect("stat names the command").1;
    let ticks = |index| number(fields.split_whitespace().nth(index));
    TICK * u32::try_from(ticks(11) + ticks(12)).expect("a short run")
}

/// Resident memory in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a live process");
    number(line.split_whitespace().next())
}

/// Threads of the process.
pub fn threads(pid: u32) -> usize {
    entries(pid, "task")
}

/// Open file descriptors of the process.
pub fn open_files(pid: u32) -> usize {
    entries(pid, "fd")
}

/// Sends a signal such as `TERM` to the process.
pub fn signal(pid: u32, name: &str) -> ExitStatus {
    // The shell's own `kill` is there on every machine; the program of that name is not.
    Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("a shell can be started")
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a live process")
}

fn entries(pid: u32, directory: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{directory}")).expect("a live process").count()
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).expect("a number of the kernel")
}
