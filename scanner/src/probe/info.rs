//! The description of a probe module.

use crate::reply::fields::Table;

/// The description of a probe module, for lists and help texts.
#[derive(Clone, Copy, Debug)]
pub struct ModuleInfo {
    /// Its name in `--probe-module`, ZMap's.
    pub name: &'static str,
    /// What it sends, which answers count, and its arguments.
    pub help: &'static str,
    /// The fields of its replies.
    pub fields: Table,
    /// Which ports it probes.
    pub ports: Ports,
    /// Whether it checks the application's answer; the status line then shows the number of successes.
    pub has_app_success: bool,
}

impl ModuleInfo {
    /// Whether it probes ports.
    pub fn has_ports(&self) -> bool {
        self.ports != Ports::None
    }
}

/// Which ports a module probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Its probes have none.
    None,
    /// Those that are named.
    Named,
    /// Those that are named, or else this one, which its service has.
    Or(u16),
}
