//! Changes that scans with `--steer` have left behind: reported, and restored on request.

use std::io;

use super::finding::Finding;
use crate::cli;
use crate::exit::Exit;
use crate::nic::Interface;
use crate::report::log;
use crate::steering::{FoundJournal, JournalState, journals};

const TOPIC: &str = "steering";

/// A finding for each journal.
pub(super) fn examine() -> Vec<Finding> {
    match journals() {
        Ok(found) => found.iter().map(finding).collect(),
        Err(error) => {
            vec![Finding::note(TOPIC, format!("it is not known what killed scans have left: {error}"))]
        }
    }
}

fn finding(found: &FoundJournal) -> Finding {
    let name = found.interface();
    let pid = found.journal.as_ref().map_or(0, |journal| journal.pid);
    let repair = format!("xdpmap doctor --repair -i {name}");
    match &found.state {
        JournalState::InUse => Finding::ok(
            TOPIC,
            format!(
                "{name}: replies are steered to queues {} by process {pid}, which restores the table at its end",
                found.queues()
            ),
        ),
        JournalState::LeftOver => Finding::warn(
            TOPIC,
            format!("{name}: still steered to queues {} by process {pid}, which was killed", found.queues()),
        )
        .means("its other queues receive nothing; the next scan of the interface also restores its RSS table")
        .remedy(repair),
        JournalState::Stale(why) => {
            Finding::note(TOPIC, format!("{name}: {} is stale: {why}", found.path)).remedy(repair)
        }
        JournalState::Elsewhere => Finding::note(
            TOPIC,
            format!(
                "{name}: process {pid}, which was killed, has steered replies in another network namespace"
            ),
        )
        .means("its table can be restored from there"),
        JournalState::Nonsense(what) => {
            Finding::warn(TOPIC, format!("{}: not a journal of xdpmap: {what}", found.path))
                .remedy(format!("rm '{}'", found.path))
        }
    }
}

/// Restores the tables of all interfaces, or of those named (comma separated), and returns the exit code.
pub(super) fn repair(interfaces: Option<&str>) -> Exit {
    let found = match journals() {
        Ok(found) => found,
        Err(error) => {
            log::fatal("doctor", &format!("--repair: reading the journals: {error}; run it as root"));
            let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
            return if is_denied { Exit::Privilege } else { Exit::Failed };
        }
    };
    // Journals use the kernel's names. An interface that is gone has no other name.
    let kernels = |name: &str| Interface::by_name(name).map_or_else(|_| name.to_owned(), |found| found.name);
    let named: Option<Vec<String>> =
        interfaces.map(|names| names.split(',').map(|name| kernels(name.trim())).collect());
    let is_named = |found: &&FoundJournal| {
        named.as_ref().is_none_or(|names| names.iter().any(|name| name == found.interface()))
    };
    let mut exit_code = Exit::Done;
    let mut lines = String::new();
    for found in found.iter().filter(is_named) {
        let said = found.repair().unwrap_or_else(|why| {
            // The journal of a running scan needs no repair.
            exit_code = if matches!(found.state, JournalState::InUse) { exit_code } else { Exit::Failed };
            why
        });
        lines.push_str(&format!("{said}\n"));
    }
    if lines.is_empty() {
        "nothing to restore\n".clone_into(&mut lines);
    }
    cli::print(&lines);
    exit_code
}
