//! The dry run: prints the probes in ZMap's format and sends nothing. It needs no privileges.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use wire::packet::{
    IPV4_LEN, LinkHeader, MacAddr, PROTOCOL_ICMP, PROTOCOL_IPIP, PROTOCOL_TCP, PatchBatch, RxBatch, Template,
};

use super::{Port, PortCounts, PortStatistics, Stream};

const SEPARATOR: &str = "------------------------------------------------------";

/// A port that prints each probe and counts it as sent.
pub struct DryRunPort<W> {
    out: W,
    template: Template,
    frame: Vec<u8>,
    /// The line about the template's Ethernet header, where there is one.
    ethernet: Option<String>,
    counts: PortCounts,
    failure: Option<io::Error>,
}

impl<W: Write + Send> DryRunPort<W> {
    /// A dry run of probes made from `template`, printed to `out`.
    pub fn new(out: W, template: &Template) -> Self {
        let ethernet = (template.link() == LinkHeader::Ethernet).then(|| ethernet_header(template.bytes()));
        let counts = PortCounts::default();
        Self { out, template: template.clone(), frame: Vec::new(), ethernet, counts, failure: None }
    }

    fn print(&mut self, patches: &PatchBatch, i: usize) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend(self.template.bytes());
        let len = self.template.layout().finish(&mut self.frame, patches, i);
        let ip = &self.frame[self.template.layout().ip..len];
        print_packet(&mut self.out, ip)?;
        match &self.ethernet {
            Some(ethernet) if patches.next_hops.is_empty() => writeln!(self.out, "{ethernet}")?,
            Some(_) => writeln!(self.out, "{}", ethernet_header(&self.frame))?,
            None => {}
        }
        writeln!(self.out, "{SEPARATOR}")
    }
}

/// The line about the Ethernet header that `frame` begins with.
fn ethernet_header(frame: &[u8]) -> String {
    let mac = |at: usize| MacAddr(std::array::from_fn(|i| frame[at + i]));
    format!("eth {{ shost: {} | dhost: {} }}", mac(6), mac(0))
}

/// Prints an IPv4 packet of ours, its payload's header first.
fn print_packet(out: &mut impl Write, ip: &[u8]) -> io::Result<()> {
    let be16 = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let be32 = |bytes: &[u8], at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
    let l4 = &ip[IPV4_LEN..];
    match ip[9] {
        PROTOCOL_TCP => writeln!(
            out,
            "tcp {{ source: {} | dest: {} | seq: {} | checksum: {} }}",
            be16(l4, 0),
            be16(l4, 2),
            be32(l4, 4),
            hex(be16(l4, 16))
        )?,
        PROTOCOL_ICMP => writeln!(
            out,
            "icmp {{ type: {} | code: {} | checksum: {} | id: {} | seq: {} }}",
            l4[0],
            l4[1],
            hex(be16(l4, 2)),
            be16(l4, 4),
            be16(l4, 6)
        )?,
        PROTOCOL_IPIP => print_packet(out, l4)?,
        _ => writeln!(
            out,
            "udp {{ source: {} | dest: {} | checksum: {} }}",
            be16(l4, 0),
            be16(l4, 2),
            hex(be16(l4, 6))
        )?,
    }
    writeln!(
        out,
        "ip {{ saddr: {} | daddr: {} | checksum: {} }}",
        Ipv4Addr::from(be32(ip, 12)),
        Ipv4Addr::from(be32(ip, 16)),
        hex(be16(ip, 10))
    )
}

/// Formats a number as C's `%#04X` does: `0X` and at least two digits, but a bare `0000` for zero.
fn hex(value: u16) -> String {
    if value == 0 { "0000".to_owned() } else { format!("0X{value:02X}") }
}

impl<W: Write + Send> Port for DryRunPort<W> {
    fn room(&mut self, _stream: Stream, wanted: usize) -> usize {
        wanted
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        debug_assert!(stream == Stream::Probe, "nothing answers a dry run");
        for i in 0..patches.len {
            match self.print(patches, i) {
                Ok(()) => self.counts.probes_sent += 1,
                Err(failure) => {
                    self.failure.get_or_insert(failure);
                    return;
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.out.flush(),
        }
    }

    fn outstanding(&self) -> u64 {
        0
    }

    fn left_in_order(&self) -> u64 {
        self.counts.probes_over()
    }

    fn give_up(&mut self) -> u64 {
        0
    }

    fn receive(&mut self, _batch: &mut RxBatch) {}

    fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(timeout);
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }

    fn socket_drops(&self) -> u64 {
        0
    }

    fn statistics(&self) -> PortStatistics {
        PortStatistics::default()
    }
}
