//! nmap's form for grep (`-oG`, "Grepable Output" in nmap's guide): one line per port, its parts separated by tabs. A
//! port has seven parts, each with a slash behind it, of which only number, state and protocol are known.

use std::io::{self, Write as _};

use super::OpenPort;

pub(super) const BEGINS: &[u8] = b"Host: ";

pub(super) const HEAD: &[u8] =
    concat!("# xdpmap version ", env!("CARGO_PKG_VERSION"), ", in the form of nmap -oG\n").as_bytes();

pub(super) fn record(found: &OpenPort, out: &mut Vec<u8>) -> io::Result<()> {
    let OpenPort { target, port, protocol, state, .. } = found;
    match port {
        Some(port) => writeln!(out, "Host: {target} ()\tPorts: {port}/{state}/{protocol}/////"),
        None => writeln!(out, "Host: {target} ()\tStatus: Up"),
    }
}
