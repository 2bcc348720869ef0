//! The fast dry run: writes only the targets, in binary, for tests of coverage and order. It needs no privileges.
//!
//! Six bytes per probe, as ZMap writes them: the address, then the port, both in network order, with no separator.

use std::io::{self, Write};
use std::time::Duration;

use wire::packet::{IPV4_LEN, PROTOCOL_IPIP, PatchBatch, RxBatch, Template};

use super::{Port, PortCounts, PortStatistics, Stream};

/// A port that writes each probe's target and counts it as sent.
pub struct FastDryRunPort<W> {
    out: W,
    template: Template,
    frame: Vec<u8>,
    counts: PortCounts,
    failure: Option<io::Error>,
}

impl<W: Write + Send> FastDryRunPort<W> {
    /// A fast dry run of probes made from `template`, whose packets have ports, to `out`.
    pub fn new(out: W, template: &Template) -> Self {
        Self {
            out,
            template: template.clone(),
            frame: Vec::new(),
            counts: PortCounts::default(),
            failure: None,
        }
    }
}

/// Destination address and port of an IPv4 packet of ours, of the inner one where there are two.
fn target(ip: &[u8]) -> [u8; 6] {
    let l4 = &ip[IPV4_LEN..];
    if ip[9] == PROTOCOL_IPIP { target(l4) } else { [ip[16], ip[17], ip[18], ip[19], l4[2], l4[3]] }
}

impl<W: Write + Send> Port for FastDryRunPort<W> {
    fn room(&mut self, _stream: Stream, wanted: usize) -> usize {
        wanted
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        debug_assert!(stream == Stream::Probe, "nothing answers a dry run");
        for i in 0..patches.len {
            self.frame.clear();
            self.frame.extend(self.template.bytes());
            let layout = self.template.layout();
            let len = layout.finish(&mut self.frame, patches, i);
            if let Err(failure) = self.out.write_all(&target(&self.frame[layout.ip..len])) {
                self.failure.get_or_insert(failure);
                return;
            }
            self.counts.probes_sent += 1;
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
