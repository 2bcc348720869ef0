//! The dry run: prints what would be sent, in ZMap's words, and sends nothing. Needs no privileges.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Port, PortCounts, RxBatch, Stream};
use crate::packet::{MacAddr, PatchBatch, Template};

const SEPARATOR: &str = "------------------------------------------------------";

/// A port that prints each probe: what "sent" means here is "printed".
pub struct DryRunPort<W> {
    out: W,
    ethernet: String,
    counts: PortCounts,
    failure: Option<io::Error>,
}

impl<W: Write + Send> DryRunPort<W> {
    /// A dry run of probes made from `template`, printed to `out`.
    pub fn new(out: W, template: &Template) -> Self {
        let mac = |at: usize| MacAddr(std::array::from_fn(|i| template.bytes()[at + i]));
        let ethernet = format!("eth {{ shost: {} | dhost: {} }}", mac(6), mac(0));
        Self { out, ethernet, counts: PortCounts::default(), failure: None }
    }

    fn print(&mut self, patches: &PatchBatch, i: usize) -> io::Result<()> {
        let patch = patches.get(i);
        let (source, destination) = (patch.ports >> 16, patch.ports & 0xffff);
        writeln!(
            self.out,
            "tcp {{ source: {source} | dest: {destination} | seq: {} | checksum: {} }}",
            patch.sequence,
            hex(patch.l4_checksum)
        )?;
        writeln!(
            self.out,
            "ip {{ saddr: {} | daddr: {} | checksum: {} }}",
            Ipv4Addr::from(patch.source),
            Ipv4Addr::from(patch.destination),
            hex(patch.ip_checksum)
        )?;
        writeln!(self.out, "{}", self.ethernet)?;
        writeln!(self.out, "{SEPARATOR}")
    }
}

/// As C's `%#04X` prints it: `0X` and at least two digits, but a bare `0000` for zero.
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

    fn receive(&mut self, _batch: &mut RxBatch) {}

    fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(timeout);
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }
}
