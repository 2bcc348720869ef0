//! Why a scan cannot be planned or started, and with which exit code.

use targets::list::{ListError, Problem};
use targets::permutation::PermutationError;
use targets::ports::PortError;
use targets::reserved::ReservedError;

use crate::engine::cores::CoresError;
use crate::exit::Exit;
use crate::nic::NicError;
use crate::probe::ModuleError;
use crate::reply::fields::FieldSetError;
use crate::results::filter::FilterError;

/// What goes on after the text of an error where another program or socket has XDP.
pub const PACKET_MAY_HELP: &str = "; --io-mode packet scans without removing it";

/// Why no plan could be made. Every text is one line that names the flag and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A flag's value, or its combination with others, makes no sense.
    #[error("{flag}: {what}")]
    Usage {
        /// The flag.
        flag: &'static str,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A list of targets cannot be used.
    #[error("{}{}", .0, list_remedy(.0))]
    List(#[from] ListError),
    /// A target may never be probed, or not without a flag.
    #[error("{}{}", .0, lifted_by(.0))]
    Reserved(#[from] ReservedError),
    /// `--target-ports` is wrong.
    #[error("--target-ports: {0}")]
    Ports(#[from] PortError),
    /// There are no targets, or too many.
    #[error("{0}: give fewer addresses or --target-ports")]
    Permutation(#[from] PermutationError),
    /// `--output-fields` is wrong.
    #[error("--output-fields: {0}{hint}", hint = list_of_fields(matches!(.0, FieldSetError::Unknown { .. })))]
    Fields(#[from] FieldSetError),
    /// `--output-filter` is wrong.
    #[error("--output-filter: {0}{hint}", hint = list_of_fields(.0.needs_list))]
    Filter(#[from] FilterError),
    /// The probe module, its arguments or the number of probes is wrong.
    #[error("{flag}: {0}{hint}", flag = flag_of(.0), hint = list_of_modules(.0))]
    Module(#[from] ModuleError),
    /// `--cores` is wrong.
    #[error("--cores: {0}")]
    Cores(#[from] CoresError),
    /// The interface or its route cannot be used.
    #[error("{}", network_text(.0))]
    Nic(#[from] NicError),
    /// The interface exists but cannot carry the scan.
    #[error("{interface}: {what}")]
    Interface {
        /// Its name.
        interface: String,
        /// Why, and what to do.
        what: String,
    },
}

/// What goes on after the text of `error` where a flag is the remedy.
pub fn list_remedy(error: &ListError) -> &'static str {
    match error {
        ListError::BadEntry { problem: Problem::NoSystems, .. } => ": name one with --asn-file",
        _ => "",
    }
}

/// What goes on after the text of `error`: the flag, if one lifts the block.
fn lifted_by(error: &ReservedError) -> &'static str {
    match error {
        ReservedError::Soft { .. } => ": give --allow-reserved to probe it, or remove it",
        _ => "",
    }
}

impl PlanError {
    pub(super) fn usage(flag: &'static str, what: impl Into<String>) -> Self {
        Self::Usage { flag, what: what.into() }
    }

    /// The exit code of a scan that ends by it.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::Nic(error) => error.exit_code(),
            Self::Interface { .. } => Exit::Interface,
            _ => Exit::Usage,
        }
    }
}

/// The end of the sentence where a name stands for no field.
fn list_of_fields(is_unknown: bool) -> &'static str {
    if is_unknown { "; --list-output-fields lists them all" } else { "" }
}

/// The end of the sentence where a name stands for no module.
fn list_of_modules(error: &ModuleError) -> &'static str {
    match error {
        ModuleError::Unknown(_) => "; --list-probe-modules lists them all",
        ModuleError::Args(_) | ModuleError::Copies { .. } | ModuleError::NoRoom => "",
    }
}

/// The flag that a probe module's error is about.
fn flag_of(error: &ModuleError) -> &'static str {
    match error {
        ModuleError::Unknown(_) => "--probe-module",
        ModuleError::Args(_) => "--probe-args",
        ModuleError::Copies { .. } => "--probes",
        ModuleError::NoRoom => "--attribution",
    }
}

/// An error of the network, with the flag that it is about, or the flag that gives what the network does not.
pub fn network_text(error: &NicError) -> String {
    match error {
        NicError::Unknown { .. } => format!("--interface: {error}"),
        NicError::NoDefaultRoute => format!("{error}; name one with --interface"),
        NicError::Unresolved { .. } | NicError::Nobody { .. } | NicError::MayNotResolve { .. } => {
            format!("{error}; or give the MAC address with --gateway-mac")
        }
        NicError::Netlink { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use targets::list::List;
    use targets::reserved::check_targets;
    use targets::{Permutation, PortList};

    use super::*;

    #[test]
    fn flags_are_named() {
        let soft = check_targets(&List::from_arguments(&["10.1.2.3"]).unwrap(), false).unwrap_err();
        assert_eq!(
            PlanError::from(soft).to_string(),
            "command line, target 1: 10.1.2.3 is private use (RFC 1918): give --allow-reserved to probe it, or remove it"
        );
        let hard = check_targets(&List::from_arguments(&["127.0.0.1"]).unwrap(), true).unwrap_err();
        assert!(PlanError::from(hard).to_string().ends_with("is never probed: remove it"));
        let ports = PlanError::from(PortList::parse("htp").unwrap_err()).to_string();
        assert!(ports.starts_with("--target-ports: item 1, \"htp\", is not a port: "), "{ports}");
        let many = PlanError::from(Permutation::new(u64::MAX, 0).unwrap_err()).to_string();
        assert!(many.ends_with("that one scan can order: give fewer addresses or --target-ports"), "{many}");
    }
}
