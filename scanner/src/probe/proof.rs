//! How hard a reply is to forge: the bits that whoever has not seen its probe has to guess.
//!
//! It follows from what the check compares. A form has as many bits as its fields hold, less where several values do:
//! several copies of a probe, the two numbers that a RST may acknowledge.

use std::fmt;

use super::{Check, Echo, Form, Module, Probe, Settings, SourcePool, Visitor};
use crate::cookie::{Key, PortRange};
use crate::packet::{Link, MacAddr, VlanTags};

/// Of fewer bits it is told: one in some thousand packets to the scan's ports then passes for an answer.
const ENOUGH_BITS: f64 = 12.0;

/// The bits that prove a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// Of an answer of the target itself, that kind of which is the easiest to forge.
    pub answer_bits: f64,
    /// Of an ICMP error that quotes the probe.
    pub error_bits: f64,
}

impl Proof {
    /// What this check makes of the cookie.
    pub fn of(check: &Check) -> Self {
        let copies = f64::from(check.copies).log2();
        let ports = f64::from(check.sources.ports.count).log2() - copies;
        let (answer_bits, error_bits) = match (check.form, check.echo) {
            // A RST may acknowledge the sequence number, too.
            (Form::TcpSyn, _) => (ports + 31.0, ports + 32.0),
            // A RST may acknowledge it, or have one of two sequence numbers.
            (Form::TcpSynAck, _) => (ports + 32.0 - 3f64.log2(), ports + 32.0),
            (Form::IcmpEcho, _) => (32.0 - copies, 32.0 - copies),
            (Form::Udp, Echo::Nothing) => (ports, ports),
            (Form::Udp, Echo::DnsId) => (ports + 16.0, ports),
            // All of the cookie, that of the port included.
            (Form::Udp, Echo::NtpOrigin) => (64.0, ports),
            (Form::IpIp, _) => (ports, 16.0),
        };
        Self { answer_bits, error_bits }
    }

    /// Whether forged answers pass often.
    pub fn is_weak(self) -> bool {
        self.answer_bits < ENOUGH_BITS
    }

    /// Of how many packets to the scan's ports one passes for an answer.
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

impl Module {
    /// The proof of its replies, with these source ports and so many copies of each probe.
    pub fn proof(&self, ports: PortRange, copies: u32) -> Proof {
        Proof::of(&self.check(ports, copies))
    }

    /// What is sent, and what an answer repeats.
    pub fn replies(&self) -> (Form, Echo) {
        let check = self.check(PortRange { first: 1, count: 1 }, 1);
        (check.form, check.echo)
    }

    /// The check of its replies, but for what a scan alone knows.
    fn check(&self, ports: PortRange, copies: u32) -> Check {
        struct OfProbe;
        impl Visitor for OfProbe {
            type Output = Option<Check>;
            fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
                probes.first().map(|probe| probe.check().clone())
            }
        }
        let settings = Settings {
            key: Key::from_bytes([0; 16]),
            sources: SourcePool { addresses: vec![0], ports },
            other_sources: vec![],
            copies,
            link: Link::Ethernet,
            source_mac: MacAddr::default(),
            gateway_mac: MacAddr::default(),
            tags: VlanTags::default(),
            ttl: 0,
            timestamp: 0,
            reset: false,
            port_in_cookie: true,
        };
        let check = self.visit(&[settings], OfProbe);
        check.unwrap_or_else(|| unreachable!("one probe was asked for"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(module: &str, count: u32, copies: u32) -> [String; 2] {
        let args = (module == "udp").then_some("text:x");
        let proof = Module::parse(module, args).unwrap().proof(PortRange { first: 1, count }, copies);
        [proof.answer_bits, proof.error_bits].map(|bits| format!("{bits:.1}"))
    }

    #[test]
    fn bits_of_each_module() {
        for (module, all, one) in [
            ("tcp_synscan", ["45.8", "46.8"], ["31.0", "32.0"]),
            ("tcp_synackscan", ["45.2", "46.8"], ["30.4", "32.0"]),
            ("icmp_echoscan", ["32.0", "32.0"], ["32.0", "32.0"]),
            ("icmp_echo_time", ["32.0", "32.0"], ["32.0", "32.0"]),
            ("udp", ["14.8", "14.8"], ["0.0", "0.0"]),
            ("upnp", ["14.8", "14.8"], ["0.0", "0.0"]),
            ("bacnet", ["14.8", "14.8"], ["0.0", "0.0"]),
            ("dns", ["30.8", "14.8"], ["16.0", "0.0"]),
            ("ntp", ["64.0", "14.8"], ["64.0", "0.0"]),
            ("ipip", ["14.8", "16.0"], ["0.0", "16.0"]),
        ] {
            assert_eq!(bits(module, 28_233, 1), all, "{module}");
            assert_eq!(bits(module, 1, 1), one, "{module}");
        }
        assert_eq!(bits("udp", 28_233, 8), ["11.8", "11.8"]);
        assert_eq!(bits("udp", 8, 8), ["0.0", "0.0"]);
    }

    /// The share of all ports to which an answer passes is what the bits say.
    #[test]
    fn the_bits_of_udp_are_the_share_of_its_ports() {
        let (first, count, copies) = (40_000, 1_000, 3);
        let check = crate::probe::testing::settings(copies).check(Form::Udp);
        let check =
            Check { sources: SourcePool { ports: PortRange { first, count }, ..check.sources }, ..check };
        let cookie = check.cookie(1, 2, 3);
        let passing =
            (0..=u16::MAX).filter(|&port| check.sources.ports.probe_number(cookie, port, copies).is_some());
        let guessed = f64::from(count) / passing.count() as f64;
        assert!((Proof::of(&check).answer_bits - guessed.log2()).abs() < 1e-9);
    }
}
