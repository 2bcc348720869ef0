//! Whether replies can be told apart from other packets: by how many bits, and next to which sockets of the host.

use std::net::Ipv4Addr;

use wire::proof::{Echo, PortRange, ProbeForm};

use super::{PlanError, ProbePlan};
use crate::cli::{Args, IoMode};
use crate::nic;

const FLAG: &str = "--source-port";

/// A scan is refused if more than one target in this many would have its answer go to a socket of the host. Lower:
/// scans with larger losses are started. Higher: scans are refused for a few ports that other programs use.
const TARGETS_PER_LOSS: u32 = 100;

/// Warns if replies are easy to forge, and if sockets of this host use some of the source ports. Refuses if such
/// sockets would get too many of the replies.
pub(super) fn check(
    probe: &ProbePlan,
    sources: &[Ipv4Addr],
    args: &Args,
    warnings: &mut Vec<String>,
) -> Result<(), PlanError> {
    let (module, proof, ports) = (probe.module.info().name, probe.proof(), probe.source_ports);
    if proof.is_weak() {
        let from = match (ports.count, probe.copies.probes()) {
            (1, _) => "from one source port".to_owned(),
            (count, 1) => format!("from {count} source ports"),
            (count, copies) => format!("from {count} source ports, {copies} probes to each target,"),
        };
        warnings.push(format!(
            "{FLAG}: {from} an answer to {module} proves itself by {:.1} bits only: one in {} packets from a target is \
             taken for an answer, requested or not; more ports make this less likely",
            proof.answer_bits,
            proof.one_in()
        ));
    }
    if args.scan.is_dry() || !takes_from_sockets(probe) {
        return Ok(());
    }
    let own: Vec<Ipv4Addr> = sources.iter().copied().filter(|source| nic::is_local(*source)).collect();
    let owned = nic::udp_owners(ports, &own);
    let Some(first) = owned.first() else { return Ok(()) };
    // A packet socket and the host's sockets both receive every packet.
    let both_hear = args.engine.io_mode == IoMode::Packet;
    if proof.is_weak() || !both_hear && is_too_many(owned.len(), ports) {
        let what = format!(
            "a socket of this host has UDP port {first}, so answers to it and to the scan cannot be told apart; end its \
             program (`ss -lup` names it), or give other ports"
        );
        return Err(PlanError::usage(FLAG, what));
    }
    if !both_hear {
        warnings.push(format!(
            "{FLAG}: sockets of this host have {} of the {} ports ({first} is the first); they keep what arrives there, \
             including answers to probes",
            owned.len(),
            ports.count
        ));
    }
    Ok(())
}

/// Whether packets to the scan's ports may be for a socket of the host, to which the XDP program then leaves them. TCP
/// and echo replies prove themselves by 30 bits or more, NTP answers by 64.
fn takes_from_sockets(probe: &ProbePlan) -> bool {
    matches!(probe.module.replies(), (ProbeForm::Udp, Echo::Nothing | Echo::DnsId) | (ProbeForm::IpIp, _))
}

fn is_too_many(owned: usize, ports: PortRange) -> bool {
    owned as u64 * u64::from(TARGETS_PER_LOSS) >= u64::from(ports.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_of_many_is_no_reason() {
        let ports = |count| PortRange { first: 1_000, count };
        assert!(is_too_many(1, ports(1)) && is_too_many(1, ports(100)) && is_too_many(300, ports(28_233)));
        assert!(!is_too_many(1, ports(101)) && !is_too_many(282, ports(28_233)));
    }
}
