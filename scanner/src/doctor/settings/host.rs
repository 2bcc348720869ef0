//! Settings of the host.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The governor that keeps a core's clock up.
pub(in crate::doctor) const GOVERNOR: &str = "performance";
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// A daemon that distributes interrupts.
const IRQBALANCE: &str = "irqbalance";
pub(super) const RUNNING: &str = "running";
pub(super) const STOPPED: &str = "stopped";
/// It runs and is no service.
pub(super) const BY_HAND: &str = "run by hand";

/// The governor of a core; `None` where its clock is not this system's to set.
pub(in crate::doctor) fn governor(core: &str) -> Option<String> {
    fs::read_to_string(governor_file(core)).ok().map(|text| text.trim().to_owned())
}

pub(super) fn set_governor(core: &str, governor: &str) -> io::Result<()> {
    fs::write(governor_file(core), format!("{governor}\n"))
}

fn governor_file(core: &str) -> PathBuf {
    PathBuf::from(format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
}

/// Which programs get huge pages.
pub(super) fn huge_pages() -> Option<String> {
    let text = fs::read_to_string(HUGE_PAGES).ok()?;
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    Some(chosen.to_owned())
}

pub(super) fn set_huge_pages(value: &str) -> io::Result<()> {
    fs::write(HUGE_PAGES, format!("{value}\n"))
}

/// Whether irqbalance runs, and how.
pub(super) fn irqbalance() -> String {
    let is = match (systemctl(&["is-active", "--quiet"]), is_a_process(IRQBALANCE)) {
        (Ok(()), _) => RUNNING,
        (Err(_), true) => BY_HAND,
        (Err(_), false) => STOPPED,
    };
    is.to_owned()
}

pub(super) fn set_irqbalance(value: &str) -> io::Result<()> {
    systemctl(&[if value == RUNNING { "start" } else { "stop" }])
}

/// Has the service manager do something with irqbalance.
fn systemctl(words: &[&str]) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    command.args(words).arg(IRQBALANCE).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("systemctl: {status}"))),
    }
}

/// Whether there is a process of this name.
fn is_a_process(name: &str) -> bool {
    let is_it = |entry: fs::DirEntry| {
        fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    fs::read_dir("/proc").is_ok_and(|processes| processes.flatten().any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(is_a_process(own.trim_end()) && !is_a_process("no such process"));
    }
}
