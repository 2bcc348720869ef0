//! The ports of `--top-ports N:FILE`: the most frequent ones of a table that the user has.
//!
//! xdpmap has no such table, and looks for none. The best known one is nmap's file `nmap-services`. Its licence, the
//! NPSL, counts a program that includes nmap's data files as derived from nmap (section 3), to be distributed under the
//! NPSL alone. So the user names that file, or another one.

use std::path::Path;

use targets::PortList;
use targets::ports::ranked::{self, Transport};
use wire::proof::ProbeForm;

use super::PlanError;
use crate::cli::Args;
use crate::lists::{self, STANDARD_INPUT};
use crate::printable::printable;
use crate::probe::Module;

pub(super) const FLAG: &str = "--top-ports";

/// The file that a command line names.
pub(super) fn file(args: &Args) -> Option<&Path> {
    let (_, file) = args.basic.top_ports.as_deref()?.split_once(':')?;
    Some(Path::new(file))
}

/// The ports of a value of the flag, for this module.
///
/// # Errors
/// The module probes no ports, the value is not a number and a file, or the file has not so many ports.
pub(super) fn read(text: &str, module: &Module) -> Result<PortList, PlanError> {
    let refuse = |what: String| Err(PlanError::usage(FLAG, what));
    if !module.info().has_ports() {
        return refuse(format!("{} probes no ports; leave it out", module.info().name));
    }
    let count = |text: &str| text.parse::<usize>().ok().filter(|&count| count > 0);
    let (Some(count), file) =
        text.split_once(':').map_or((count(text), ""), |(number, file)| (count(number), file))
    else {
        return refuse(format!(
            "'{text}' is not a number of ports and a file; give for example 100:ports.txt"
        ));
    };
    if file.is_empty() {
        return refuse(format!(
            "also give a table of ports and how often each is open, as {count}:FILE: xdpmap has none of its own; where \
             nmap is installed, its file nmap-services is one"
        ));
    }
    if file == STANDARD_INPUT {
        return refuse("the table has to be a file, and not standard input; name one".to_owned());
    }
    let path = Path::new(file);
    let named = |what: &dyn std::fmt::Display| PlanError::usage(FLAG, format!("{}: {what}", printable(path)));
    let table = lists::text(path).map_err(|error| named(&error))?;
    let transport = match module.replies().0 {
        ProbeForm::TcpSyn | ProbeForm::TcpSynAck => Transport::Tcp,
        ProbeForm::IcmpEcho | ProbeForm::Udp | ProbeForm::IpIp => Transport::Udp,
    };
    ranked::most_frequent(&table, transport, count).map_err(|error| named(&error))
}
