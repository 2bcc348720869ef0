//! How hard a reply is to forge: the bits that a forger has to guess without seeing its probe.
//!
//! It follows from the fields that the check compares. A form has as many bits as its fields hold, less where several
//! values are accepted: several copies of a probe, the two numbers that a RST may acknowledge. The copy numbers of
//! canaries do not count, because their answers are never results.

use std::fmt;

use super::{Check, Echo, ProbeForm};

/// With fewer bits than this, the user is warned: one in some thousand packets to the scan's ports then passes for an
/// answer. Lower would not warn of scans with many false results; higher would warn of harmless ones.
const ENOUGH_BITS: f64 = 12.0;

/// The bits that prove a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// The bits of an answer from the target itself, of the kind that is easiest to forge.
    pub answer_bits: f64,
    /// The bits of an ICMP error that quotes the probe.
    pub error_bits: f64,
}

impl Proof {
    /// The strength of this check.
    pub fn of(check: &Check) -> Self {
        let copies = f64::from(check.copies.probes()).log2();
        let ports = f64::from(check.sources.ports.count).log2() - copies;
        let (answer_bits, error_bits) = match (check.form, check.echo) {
            // A RST may also acknowledge the sequence number.
            (ProbeForm::TcpSyn, _) => (ports + 31.0, ports + 32.0),
            // A RST may acknowledge it, or have one of two sequence numbers.
            (ProbeForm::TcpSynAck, _) => (ports + 32.0 - 3f64.log2(), ports + 32.0),
            (ProbeForm::IcmpEcho, _) => (32.0 - copies, 32.0 - copies),
            (ProbeForm::Udp, Echo::Nothing) => (ports, ports),
            (ProbeForm::Udp, Echo::DnsId) => (ports + 16.0, ports),
            // The whole cookie, including the bits in the port.
            (ProbeForm::Udp, Echo::NtpOrigin) => (64.0, ports),
            (ProbeForm::IpIp, _) => (ports, 16.0),
        };
        Self { answer_bits, error_bits }
    }

    /// Whether forged answers pass often.
    pub fn is_weak(self) -> bool {
        self.answer_bits < ENOUGH_BITS
    }

    /// One in how many packets to the scan's ports passes for an answer.
    pub fn one_in(self) -> u64 {
        self.answer_bits.exp2() as u64
    }
}

/// `45.8 bits, 14.8 bits in an ICMP error`
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} bits, {:.1} bits in an ICMP error", self.answer_bits, self.error_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::LinkHeader;
    use crate::proof::{Copies, Key, PortRange, SourcePool};

    /// The share of all ports to which an answer passes is as the bits say.
    #[test]
    fn the_bits_of_udp_are_the_share_of_its_ports() {
        let (first, count, copies) = (40_000, 1_000, 3);
        let check = Check {
            key: Key::from_bytes(*b"an example key!!"),
            form: ProbeForm::Udp,
            link: LinkHeader::Ethernet,
            sources: SourcePool { addresses: vec![1], ports: PortRange { first, count } },
            other_sources: vec![],
            copies: Copies::of(copies),
            echo: Echo::Nothing,
            port_in_cookie: true,
        };
        let cookie = check.cookie(1, 2, 3);
        let passing =
            (0..=u16::MAX).filter(|&port| check.sources.ports.probe_number(cookie, port, copies).is_some());
        let guessed = f64::from(count) / passing.count() as f64;
        assert!((Proof::of(&check).answer_bits - guessed.log2()).abs() < 1e-9);
    }
}
