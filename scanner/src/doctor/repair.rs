//! What scans that steered replies have left behind: told, and on demand put back.

use std::io;

use super::finding::Finding;
use crate::cli;
use crate::nic::Interface;
use crate::plan::EXIT_PRIVILEGES;
use crate::report::log;
use crate::steering::{Found, State, journals};

const TOPIC: &str = "steering";

/// A finding for each journal, if there is any.
pub(super) fn examine() -> Vec<Finding> {
    match journals() {
        Ok(found) => found.iter().map(finding).collect(),
        Err(error) => vec![Finding::note(TOPIC, format!("what scans may have left is not known: {error}"))],
    }
}

fn finding(found: &Found) -> Finding {
    let name = found.interface();
    let pid = found.journal.as_ref().map_or(0, |journal| journal.pid);
    let repair = format!("xdpmap doctor --repair -i {name}");
    match &found.state {
        State::InUse => Finding::ok(
            TOPIC,
            format!(
                "{name}: replies are steered to queues {} by process {pid}, which puts that back",
                found.queues()
            ),
        ),
        State::LeftOver => Finding::warn(
            TOPIC,
            format!("{name}: still steered to queues {} by process {pid}, which was killed", found.queues()),
        )
        .means(
            "its other queues receive nothing; the next scan of the interface puts its RSS table back, too",
        )
        .remedy(repair),
        State::Stale(why) => {
            Finding::note(TOPIC, format!("{name}: {} is of no use: {why}", found.path)).remedy(repair)
        }
        State::Elsewhere => Finding::note(
            TOPIC,
            format!(
                "{name}: process {pid}, which was killed, has steered replies in another network namespace"
            ),
        )
        .means("it can be put back from there"),
        State::Nonsense(what) => {
            Finding::warn(TOPIC, format!("{}: no journal of xdpmap's: {what}", found.path))
                .remedy(format!("rm '{}'", found.path))
        }
    }
}

/// Puts back what is left, of all interfaces or of those named (comma separated), and returns the exit code.
pub(super) fn repair(interfaces: Option<&str>) -> u8 {
    let found = match journals() {
        Ok(found) => found,
        Err(error) => {
            log::fatal("doctor", &format!("--repair: reading the journals: {error}; run it as root"));
            return if error.kind() == io::ErrorKind::PermissionDenied { EXIT_PRIVILEGES } else { 1 };
        }
    };
    // Journals have the kernel's names. One that is gone has no other.
    let kernels = |name: &str| Interface::by_name(name).map_or_else(|_| name.to_owned(), |found| found.name);
    let named: Option<Vec<String>> =
        interfaces.map(|names| names.split(',').map(|name| kernels(name.trim())).collect());
    let is_named = |found: &&Found| {
        named.as_ref().is_none_or(|names| names.iter().any(|name| name == found.interface()))
    };
    let mut exit_code = 0;
    let mut lines = String::new();
    for found in found.iter().filter(is_named) {
        let said = found.repair().unwrap_or_else(|why| {
            // What belongs to a running scan needs no repair.
            exit_code = if matches!(found.state, State::InUse) { exit_code } else { 1 };
            why
        });
        lines.push_str(&format!("{said}\n"));
    }
    if lines.is_empty() {
        "nothing to put back\n".clone_into(&mut lines);
    }
    cli::print(&lines);
    exit_code
}
