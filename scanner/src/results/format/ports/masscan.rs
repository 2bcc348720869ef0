//! masscan's list (`src/out-text.c` of masscan) and its JSON (`src/out-json.c`), as version 1.3.2 writes them. In both,
//! a host without a port has port 0.

use std::io::{self, Write as _};

use super::OpenPort;

pub(super) const LIST_BEGINS: &[u8] = b"open ";
pub(super) const LIST_HEAD: &[u8] = b"#masscan\n";
pub(super) const LIST_TAIL: &[u8] = b"# end\n";

pub(super) const JSON_BEGINS: &[u8] = b"{";
pub(super) const JSON_HEAD: &[u8] = b"[\n";
pub(super) const JSON_TAIL: &[u8] = b"]\n";

/// Whatever answers is open, as masscan has no other word for what it lists.
pub(super) fn list_record(found: &OpenPort, out: &mut Vec<u8>) -> io::Result<()> {
    let OpenPort { target, port, protocol, time_s, .. } = found;
    writeln!(out, "open {protocol} {} {target} {time_s}", port.unwrap_or_default())
}

/// The comma is on a line of its own before each record but the first, so that every other line is an object.
pub(super) fn json_record(found: &OpenPort, is_first: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let OpenPort { target, port, protocol, reason, ttl, time_s, .. } = found;
    if !is_first {
        out.write_all(b",\n")?;
    }
    writeln!(
        out,
        "{{   \"ip\": \"{target}\",   \"timestamp\": \"{time_s}\", \"ports\": [ {{\"port\": {}, \"proto\": \
         \"{protocol}\", \"status\": \"open\", \"reason\": \"{reason}\", \"ttl\": {ttl}}} ] }}",
        port.unwrap_or_default()
    )
}
