//! A worker's port in live mode: probes go into the ring of the live-frame program, everything else goes through
//! AF_XDP.

use std::io;
use std::time::Duration;

use wire::packet::{PatchBatch, RxBatch};

use super::abi::LiveEntry;
use super::ring::Feed;
use super::sender::Sender;
use crate::io::xsk::XskPort;
use crate::io::{Port, PortCounts, PortStatistics, Stream};

/// A worker's sockets, and the ring of its sender.
#[derive(Debug)]
pub struct LivePort {
    sockets: XskPort,
    feed: Feed,
    sender: Sender,
    sent: u64,
    refused: u64,
    lost: u64,
}

impl LivePort {
    /// A port that sends probes through `sender` and everything else through `sockets`.
    pub fn new(sockets: XskPort, sender: Sender) -> Self {
        Self { sockets, feed: sender.feed(), sender, sent: 0, refused: 0, lost: 0 }
    }
}

impl Port for LivePort {
    fn room(&mut self, stream: Stream, wanted: usize) -> usize {
        match stream {
            Stream::Probe => self.feed.room(),
            Stream::Reset => self.sockets.room(stream, wanted),
        }
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        if stream == Stream::Reset {
            return self.sockets.transmit(stream, patches);
        }
        for i in 0..patches.len {
            let patch = patches.get(i);
            self.feed.push(LiveEntry {
                addresses: patches.addresses[i],
                l4_start: patches.l4_words[i],
                timestamp: 0,
                ip_id: patch.ip_id().to_be(),
                ip_checksum: patch.ip_checksum().to_be(),
                l4_checksum: patch.l4_checksum.to_be(),
                flags: 0,
                reserved: [0; 2],
            });
        }
        self.feed.publish();
        self.sender.wake();
    }

    fn flush(&mut self) -> io::Result<()> {
        let totals = self.feed.account();
        if totals.refused != self.refused {
            self.sender.wake(); // they are in the ring again
        }
        (self.sent, self.refused, self.lost) = (totals.sent, totals.refused, totals.lost);
        self.sender.check()?;
        self.sockets.flush()
    }

    /// The port does not wait for lost probes.
    fn outstanding(&self) -> u64 {
        self.feed.outstanding() + self.sockets.outstanding()
    }

    fn left_in_order(&self) -> u64 {
        self.feed.left_in_order()
    }

    fn give_up(&mut self) -> u64 {
        self.sockets.give_up()
    }

    fn receive(&mut self, batch: &mut RxBatch) {
        self.sockets.receive(batch);
    }

    fn wait(&mut self, timeout: Duration) {
        self.sockets.wait(timeout);
    }

    fn counts(&self) -> PortCounts {
        PortCounts {
            probes_sent: self.sent,
            probes_refused: self.refused,
            probes_lost: self.lost,
            ..self.sockets.counts()
        }
    }

    fn socket_drops(&self) -> u64 {
        self.sockets.socket_drops()
    }

    fn statistics(&self) -> PortStatistics {
        self.sockets.statistics()
    }
}
