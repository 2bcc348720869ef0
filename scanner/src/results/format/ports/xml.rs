//! nmap's XML (`docs/nmap.dtd` of nmap), as masscan writes it (`src/out-xml.c` of masscan): one `host` for each port.
//!
//! The scanner is called masscan, since importers tell by that name that a host may come several times. The DTD knows
//! no other name than nmap; in all else the file is valid by it.

use std::io::{self, Write as _};
use std::net::IpAddr;

use jiff::Timestamp;

use super::OpenPort;

pub(super) const BEGINS: &[u8] = b"<host ";

const BEFORE_START: &str = concat!(
    "<?xml version=\"1.0\"?>\n",
    "<!-- xdpmap version ",
    env!("CARGO_PKG_VERSION"),
    " -->\n",
    "<nmaprun scanner=\"masscan\" start=\"",
);
const AFTER_START: &str = concat!(
    "\" version=\"",
    env!("CARGO_PKG_VERSION"),
    "\" xmloutputversion=\"1.03\">\n",
    "<verbose level=\"0\"/>\n",
    "<debugging level=\"0\"/>\n",
);

/// The first lines. Their length is the same for each time until the year 2286.
pub(super) fn head(start_s: u64) -> Vec<u8> {
    format!("{BEFORE_START}{start_s:010}{AFTER_START}").into_bytes()
}

/// When a file with this head was begun.
pub(super) fn start_of(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(BEFORE_START.as_bytes())?;
    str::from_utf8(rest.get(..10)?).ok()?.parse().ok()
}

pub(super) fn record(found: &OpenPort, out: &mut Vec<u8>) -> io::Result<()> {
    let OpenPort { target, port, protocol, state, reason, ttl, time_s } = found;
    let family = match target {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    write!(
        out,
        "<host endtime=\"{time_s}\"><status state=\"up\" reason=\"{reason}\" reason_ttl=\"{ttl}\"/>\
         <address addr=\"{target}\" addrtype=\"{family}\"/>"
    )?;
    if let Some(port) = port {
        write!(
            out,
            "<ports><port protocol=\"{protocol}\" portid=\"{port}\"><state state=\"{state}\" reason=\"{reason}\" \
             reason_ttl=\"{ttl}\"/></port></ports>"
        )?;
    }
    out.write_all(b"</host>\n")
}

/// The last lines. They never become shorter: the time has ten digits, and the other numbers only grow.
pub(super) fn tail(end_s: u64, elapsed_s: u64, hosts: u64) -> Vec<u8> {
    let time = i64::try_from(end_s).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = time.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S");
    format!(
        "<runstats>\n<finished time=\"{end_s:010}\" timestr=\"{time}\" elapsed=\"{elapsed_s}\"/>\n\
         <hosts up=\"{hosts}\" down=\"0\" total=\"{hosts}\"/>\n</runstats>\n</nmaprun>\n"
    )
    .into_bytes()
}
