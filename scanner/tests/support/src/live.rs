//! Labs for live frames.

use lab::Lab;

use crate::Scanned;

/// A lab whose far side takes redirected frames.
pub fn live_lab(queues: u32) -> Lab {
    let lab = Lab::new(queues);
    lab.in_ns(&lab.net, "ethtool", ["-K", "net0", "gro", "on"]);
    lab
}

/// Every probe that was handed over was sent or is named as lost.
pub fn check_probes(scanned: &Scanned) {
    assert_eq!(scanned.metadata["io_mode"], "live", "{}", scanned.stderr());
    let number = |name: &str| scanned.number(&format!("/counters/{name}"));
    assert_eq!(number("tx_submitted"), number("tx_sent") + number("tx_lost"));
    assert_eq!(scanned.number("/packets_sent"), number("tx_sent"));
}
